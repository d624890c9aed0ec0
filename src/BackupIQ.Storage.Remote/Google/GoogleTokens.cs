using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>
/// Fetches access tokens: for a service account by a signed assertion (RFC 7523), for a person by the refresh token of a sign-in (RFC 6749, section 6), or from
/// the metadata server of a machine at Google.
/// </summary>
internal sealed class GoogleTokens
{
    // The service wants an assertion that holds for an hour at most, and allows its clock to differ by little.
    private static readonly TimeSpan AssertionHolds = TimeSpan.FromHours(1);
    private static readonly TimeSpan MostSkew = TimeSpan.FromMinutes(4);

    // It is on the machine itself, or it is not there at all.
    private static readonly TimeSpan MetadataPatience = TimeSpan.FromSeconds(5);

    private readonly Func<DateTimeOffset, HttpRequestMessage> _request;
    private readonly string _who;
    private readonly string _cure;

    private GoogleTokens(string who, string cure, Func<DateTimeOffset, HttpRequestMessage> request)
    {
        _who = who;
        _cure = cure;
        _request = request;
    }

    /// <summary>Whether nothing but a guess says that this is a machine at Google.</summary>
    private bool IsGuess { get; init; }

    private bool IsMetadata { get; init; }

    /// <summary>Whether this machine's time is part of what is asked.</summary>
    private bool TellsTheTime { get; init; }

    /// <summary>The service account, where its key is in our hands; null: somebody else signs.</summary>
    public GoogleSigner? Signer { get; private init; }

    /// <summary>
    /// Who asks, by a URL's options <c>credentials</c> and <c>auth</c> (<c>file</c>, <c>metadata</c>), else as Google's own tools find it: the file that
    /// GOOGLE_APPLICATION_CREDENTIALS names, what gcloud left behind, the machine's own account.
    /// </summary>
    /// <param name="url">The URL.</param>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="scope">What tokens are for.</param>
    /// <param name="cure">What to do when a file is not accepted any more.</param>
    /// <param name="secrets">Where credentials come from, as a sentence.</param>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: there is no such file, or it is none.</exception>
    public static GoogleTokens Find(StorageUrl url, Func<string, string?> environment, string scope, string cure, string secrets)
    {
        string? file = url.Text("credentials") ?? (environment("GOOGLE_APPLICATION_CREDENTIALS") is { Length: > 0 } named ? named : null);
        if (url.Choice("auth", ["file", "metadata"]) is { } way)
        {
            return way == "metadata" ? FromMetadata(environment, scope, isGuess: false)
                : FromFile(
                    GoogleCredentialFile.Read(file ?? WellKnownFile(environment) ?? throw new BackupIQException(ErrorCodes.SecretUnavailable, "There is no file with credentials for Google", secrets)),
                    scope,
                    cure);
        }

        file ??= WellKnownFile(environment) is { } known && File.Exists(known) ? known : null;
        return file is null ? FromMetadata(environment, scope, isGuess: true) : FromFile(GoogleCredentialFile.Read(file), scope, cure);
    }

    /// <summary>A service account or a person, by a file.</summary>
    /// <param name="file">What it says.</param>
    /// <param name="scope">What a service account's token is for; a person has agreed to a scope when they signed in.</param>
    /// <param name="cure">What to do when it is not accepted any more.</param>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: the key in it is none.</exception>
    public static GoogleTokens FromFile(GoogleCredentialFile file, string scope, string cure)
    {
        if (file.Account is null)
        {
            return new GoogleTokens("the person who signed in", cure, _ => Post(file.TokenServer, new Dictionary<string, string>(StringComparer.Ordinal)
            {
                ["grant_type"] = "refresh_token",
                ["client_id"] = file.ClientId,
                ["client_secret"] = file.ClientSecret,
                ["refresh_token"] = file.RefreshToken,
            }));
        }

        GoogleSigner signer = new(file.Account, ReadKey(file.PrivateKey));
        return new GoogleTokens($"the service account {file.Account}", cure, now => Post(file.TokenServer, new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["grant_type"] = "urn:ietf:params:oauth:grant-type:jwt-bearer",
            ["assertion"] = Assertion(file, signer, scope, now),
        }))
        {
            TellsTheTime = true,
            Signer = signer,
        };
    }

    /// <summary>The service account of the machine, or of the workload, at Google.</summary>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="scope">What the token is for.</param>
    /// <param name="isGuess">Nothing else was found, so it is tried.</param>
    public static GoogleTokens FromMetadata(Func<string, string?> environment, string scope, bool isGuess)
    {
        string host = environment("GCE_METADATA_HOST") is { Length: > 0 } given ? given : "metadata.google.internal";
        string address = $"http://{host}/computeMetadata/v1/instance/service-accounts/default/token?scopes={Uri.EscapeDataString(scope)}";
        return new GoogleTokens("the service account of this machine", "Attach a service account to the machine, with the scope cloud-platform.", _ =>
        {
            HttpRequestMessage request = new(HttpMethod.Get, address);
            request.Headers.Add("Metadata-Flavor", "Google");
            return request;
        })
        {
            IsMetadata = true,
            IsGuess = isGuess && environment("GCE_METADATA_HOST") is null,
        };
    }

    /// <summary>Asks for a token.</summary>
    /// <exception cref="StorageException"><c>StorageAuthentication</c>: there is none for us; or who gives them cannot be reached.</exception>
    public async Task<AccessToken> FetchAsync(HttpClient http, DateTimeOffset now, CancellationToken cancellationToken)
    {
        string what = $"No token was to be had for {_who}";
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (IsMetadata)
        {
            patience.CancelAfter(MetadataPatience);
        }

        try
        {
            using HttpRequestMessage request = _request(now);
            using HttpResponseMessage answer = await HttpCall.SendAsync(http, request, what, patience.Token).ConfigureAwait(false);
            ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(answer, AccessToken.LongestAnswer, what, patience.Token).ConfigureAwait(false);
            return answer.StatusCode == HttpStatusCode.OK && AccessToken.Read(body, now) is { } token ? token : throw Refusal(answer, ErrorOf(body), what, now);
        }
        catch (Exception e) when (IsGuess && !cancellationToken.IsCancellationRequested && e is OperationCanceledException or StorageException { IsTransient: true })
        {
            throw new StorageException(
                ErrorCodes.StorageAuthentication,
                "There are no credentials for Google, and this is no machine at Google",
                "Set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run 'gcloud auth application-default login'.",
                e);
        }
        catch (OperationCanceledException e) when (IsMetadata && !cancellationToken.IsCancellationRequested)
        {
            throw new StorageException(ErrorCodes.StorageTimeout, $"{what}: the metadata server does not answer", null, e);
        }
    }

    // Where gcloud leaves what a person agreed to.
    private static string? WellKnownFile(Func<string, string?> environment) =>
        environment("CLOUDSDK_CONFIG") is { Length: > 0 } folder ? Path.Combine(folder, "application_default_credentials.json")
        : environment("HOME") is { Length: > 0 } home ? Path.Combine(home, ".config", "gcloud", "application_default_credentials.json")
        : null;

    private StorageException Refusal(HttpResponseMessage answer, string? error, string what, DateTimeOffset now)
    {
        bool isTransient = answer.StatusCode is HttpStatusCode.TooManyRequests or HttpStatusCode.OK || (int)answer.StatusCode >= 500;
        (string why, string cure) = TellsTheTime && answer.Headers.Date is { } date && (date - now).Duration() > MostSkew
            ? ("this machine's clock is wrong", $"It differs from Google's by {(int)(date - now).Duration().TotalMinutes} minutes: set it.")
            : error switch
            {
                "invalid_grant" => ("it is not accepted: revoked, expired, deleted or disabled", _cure),
                "invalid_client" or "unauthorized_client" or "deleted_client" => ("the client's id or secret is not accepted", _cure),
                "invalid_scope" => ("it may not ask for this kind of access", _cure),
                _ => ($"the answer was {(int)answer.StatusCode}", _cure),
            };
        return new StorageException(isTransient ? ErrorCodes.StorageConnection : ErrorCodes.StorageAuthentication, $"{what}: {why}", cure)
        {
            RetryAfter = HttpFailure.RetryAfter(answer.Headers.TryGetValues("Retry-After", out IEnumerable<string>? values) ? values.First() : null, now),
        };
    }

    // OAuth's word for what is wrong (RFC 6749, section 5.2); a description that comes with it is for people and is not read.
    private static string? ErrorOf(ReadOnlyMemory<byte> body)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            return document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("error", out JsonElement error) && error.ValueKind == JsonValueKind.String
                ? error.GetString()
                : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static string Assertion(GoogleCredentialFile file, GoogleSigner signer, string scope, DateTimeOffset now)
    {
        byte[] header = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string?>(StringComparer.Ordinal) { ["alg"] = "RS256", ["typ"] = "JWT", ["kid"] = file.PrivateKeyId });
        byte[] claims = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, object?>(StringComparer.Ordinal)
        {
            ["iss"] = file.Account,
            ["scope"] = scope,
            ["aud"] = file.TokenServer.AbsoluteUri,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["exp"] = (now + AssertionHolds).ToUnixTimeSeconds(),
        });
        string signed = $"{Encode(header)}.{Encode(claims)}";
        return $"{signed}.{Encode(signer.Sign(Encoding.ASCII.GetBytes(signed)))}";
    }

    private static RSAParameters ReadKey(string pem)
    {
        using RSA rsa = RSA.Create();
        try
        {
            rsa.ImportFromPem(pem);
            return rsa.ExportParameters(includePrivateParameters: true);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            throw new BackupIQException(
                ErrorCodes.SecretUnavailable, "The private key in the service account's file is none", "Download the key again: gcloud iam service-accounts keys create FILE --iam-account ACCOUNT", e);
        }
    }

    private static string Encode(ReadOnlySpan<byte> bytes) => System.Buffers.Text.Base64Url.EncodeToString(bytes);

    private static HttpRequestMessage Post(Uri server, Dictionary<string, string> form) => new(HttpMethod.Post, server) { Content = new FormUrlEncodedContent(form) };
}
