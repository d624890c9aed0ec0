using System.Net;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>What a person has to do to let this machine use their Drive.</summary>
/// <param name="Address">Where, in a browser on any machine.</param>
/// <param name="Code">What they type there.</param>
/// <param name="Until">When it is too late.</param>
public sealed record DriveConsent(string Address, string Code, DateTimeOffset Until);

/// <summary>
/// Signs in to Drive from a machine without a browser (RFC 8628, Google's "limited-input device"): a person types a code on another one. What comes of it, a
/// refresh token, lies in a file of its owner alone.
/// </summary>
public static class DriveSignIn
{
    /// <summary>The variable with the id of the OAuth client, of type "TVs and Limited Input devices".</summary>
    public const string ClientIdVariable = "BACKUPIQ_GOOGLE_CLIENT_ID";

    /// <summary>The variable with its secret.</summary>
    public const string ClientSecretVariable = "BACKUPIQ_GOOGLE_CLIENT_SECRET";

    // As RFC 8628 says where the server does not.
    private static readonly TimeSpan DefaultInterval = TimeSpan.FromSeconds(5);

    /// <summary>Asks for a code, tells it, waits until the person has answered, and writes the file.</summary>
    /// <param name="url">The storage.</param>
    /// <param name="tell">Shows the person what to do.</param>
    /// <param name="time">Waits.</param>
    /// <param name="cancellationToken">Stops waiting; nothing is written then.</param>
    /// <returns>The file.</returns>
    /// <exception cref="BackupIQException"><c>Usage</c>, <c>SecretUnavailable</c>: there is no client; <c>StorageAuthentication</c>: the person said no, or nothing in time.</exception>
    public static Task<string> RunAsync(StorageUrl url, Action<DriveConsent> tell, TimeProvider time, CancellationToken cancellationToken) =>
        RunAsync(url, tell, Environment.GetEnvironmentVariable, time, cancellationToken);

    /// <summary>The same, with an environment of the caller's own.</summary>
    internal static async Task<string> RunAsync(
        StorageUrl url, Action<DriveConsent> tell, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        DriveOptions options = DriveOptions.Read(url, environment);
        if (!options.IsSignIn)
        {
            throw new BackupIQException(ErrorCodes.Usage, "The storage's URL names a file with credentials, so there is nobody to sign in", "Leave credentials= out of the URL.");
        }

        string client = Needed(ClientIdVariable);
        string secret = Needed(ClientSecretVariable);
        using HttpClient http = new(HttpTransport.Create(options.AccountsEndpoint, url)) { Timeout = Timeout.InfiniteTimeSpan };
        (JsonElement opened, _) = await AskAsync("/device/code", new Dictionary<string, string>(StringComparer.Ordinal) { ["client_id"] = client, ["scope"] = DriveOptions.Scope }).ConfigureAwait(false);
        string device = Text(opened, "device_code") ?? throw Refused(Text(opened, "error"));
        DateTimeOffset until = time.GetUtcNow() + Seconds(opened, "expires_in", TimeSpan.FromMinutes(30), TimeSpan.FromHours(1));
        TimeSpan interval = Seconds(opened, "interval", DefaultInterval, TimeSpan.FromMinutes(1));
        string address = Text(opened, "verification_url") ?? Text(opened, "verification_uri") ?? "";
        string code = Text(opened, "user_code") ?? "";
        tell(Uri.TryCreate(address, UriKind.Absolute, out Uri? page) && page.Scheme == Uri.UriSchemeHttps && code.Length is > 0 and <= 64 && code.All(static c => char.IsAsciiLetterOrDigit(c) || c == '-')
            ? new DriveConsent(page.AbsoluteUri, code, until)
            : throw GoogleApi.NoAnswer("Signing in failed", null));
        while (time.GetUtcNow() < until)
        {
            await Task.Delay(interval, time, cancellationToken).ConfigureAwait(false);
            (JsonElement answer, bool isGood) = await AskAsync("/token", new Dictionary<string, string>(StringComparer.Ordinal)
            {
                ["client_id"] = client,
                ["client_secret"] = secret,
                ["device_code"] = device,
                ["grant_type"] = "urn:ietf:params:oauth:grant-type:device_code",
            }).ConfigureAwait(false);
            switch (Text(answer, "error"))
            {
                case null when isGood && Text(answer, "refresh_token") is { } refresh:
                    return Write(options, client, secret, refresh);
                case "authorization_pending":
                    break;
                case "slow_down":
                    interval += DefaultInterval;
                    break;
                case var error:
                    throw Refused(error);
            }
        }

        throw new StorageException(ErrorCodes.StorageAuthentication, "Nobody typed the code in time", "Run it again.");

        string Needed(string name) => environment(name) is { Length: > 0 } value ? value
            : throw new BackupIQException(
                ErrorCodes.SecretUnavailable,
                $"{name} is not set",
                "Signing in needs an OAuth client of your own (console.cloud.google.com, type 'TVs and Limited Input devices'); docs/storage/google-drive.md says how to make one.");

        async Task<(JsonElement Answer, bool IsGood)> AskAsync(string path, Dictionary<string, string> form)
        {
            const string What = "Signing in failed";
            using HttpRequestMessage request = new(HttpMethod.Post, new Uri(options.AccountsEndpoint, path)) { Content = new FormUrlEncodedContent(form) };
            using HttpResponseMessage answer = await HttpCall.SendAsync(http, request, What, cancellationToken).ConfigureAwait(false);
            if ((int)answer.StatusCode >= 500)
            {
                throw HttpCall.Failure(answer, What, time.GetUtcNow());
            }

            using JsonDocument json = await GoogleApi.ReadAsync(answer, AccessToken.LongestAnswer, What, cancellationToken).ConfigureAwait(false);
            return (json.RootElement.Clone(), answer.StatusCode == HttpStatusCode.OK);
        }
    }

    private static string Write(DriveOptions options, string client, string secret, string refresh)
    {
        byte[] file = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["type"] = "authorized_user",
            ["client_id"] = client,
            ["client_secret"] = secret,
            ["refresh_token"] = refresh,
            ["token_uri"] = new Uri(options.AccountsEndpoint, "/token").AbsoluteUri,
        });
        try
        {
            string folder = Path.GetDirectoryName(options.CredentialFile)!;
            if (OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(folder);
            }
            else
            {
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            DurableFile.Replace(options.CredentialFile, file);
            return options.CredentialFile;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Configuration, $"The sign-in cannot be kept: {e.Message}", "Check the folder's permissions.", e).With("file", options.CredentialFile);
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(file);
        }
    }

    private static StorageException Refused(string? error) => error switch
    {
        "access_denied" => new StorageException(ErrorCodes.StorageAuthentication, "The sign-in was refused", "Run it again, and allow access when you are asked."),
        "expired_token" => new StorageException(ErrorCodes.StorageAuthentication, "Nobody typed the code in time", "Run it again."),
        "invalid_client" or "unauthorized_client" or "deleted_client" => new StorageException(
            ErrorCodes.StorageAuthentication, "Google does not know the OAuth client", $"Check {ClientIdVariable} and {ClientSecretVariable}; the client's type is 'TVs and Limited Input devices'."),
        "invalid_scope" => new StorageException(ErrorCodes.StorageAuthentication, "The OAuth client may not ask for files of Drive", "Add the scope drive.file to its consent screen, and enable the Drive API in its project."),
        { Length: > 0 and <= 60 } word when word.All(static c => char.IsAsciiLetterOrDigit(c) || c == '_') => new StorageException(ErrorCodes.StorageAuthentication, $"Signing in failed: {word}", "See docs/storage/google-drive.md."),
        _ => GoogleApi.NoAnswer("Signing in failed", null),
    };

    private static string? Text(JsonElement parent, string name) => GoogleJson.Text(parent, name);

    private static TimeSpan Seconds(JsonElement parent, string name, TimeSpan otherwise, TimeSpan most) =>
        GoogleJson.TryGet(parent, name, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double seconds) && seconds > 0
            ? TimeSpan.FromSeconds(Math.Min(seconds, most.TotalSeconds))
            : otherwise;
}
