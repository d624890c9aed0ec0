using System.Net;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>
/// Fetches tokens for Azure Storage, or another of Azure's services: of a managed identity (from the machine's metadata service, or from the endpoint that App Service and Arc
/// name), of a workload identity (a file that Kubernetes renews), or of a client and its secret.
/// </summary>
internal sealed class EntraTokens
{
    private const string Storage = "https://storage.azure.com/";
    private const string StorageCure = "Check that the identity exists and has the role 'Storage Blob Data Contributor' on the container.";

    private readonly Func<HttpRequestMessage> _request;
    private readonly string _who;
    private readonly string _cure;

    private EntraTokens(string who, string cure, Func<HttpRequestMessage> request)
    {
        _who = who;
        _cure = cure;
        _request = request;
    }

    /// <summary>The identity of the machine, or of the service that this runs in.</summary>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="client">Which of several identities; null: the only one.</param>
    /// <param name="resource">What the tokens are for.</param>
    /// <param name="cure">What to do when there is none.</param>
    public static EntraTokens FromManagedIdentity(Func<string, string?> environment, string? client, string resource = Storage, string cure = StorageCure)
    {
        string which = client is null ? "" : "&client_id=" + Uri.EscapeDataString(client);
        if (environment("IDENTITY_ENDPOINT") is { Length: > 0 } endpoint && environment("IDENTITY_HEADER") is { Length: > 0 } header)
        {
            return new EntraTokens("the managed identity of this service", cure, () => Get(
                $"{endpoint}?api-version=2019-08-01&resource={Uri.EscapeDataString(resource)}{which}", "X-IDENTITY-HEADER", header));
        }

        // The address is fixed, and not to be reached through a proxy or from elsewhere.
        string metadata = environment("AZURE_POD_IDENTITY_AUTHORITY_HOST") ?? "http://169.254.169.254";
        return new EntraTokens("the managed identity of this machine", cure, () => Get(
            $"{metadata.TrimEnd('/')}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={Uri.EscapeDataString(resource)}{which}", "Metadata", "true"));
    }

    /// <summary>What AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE name.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: one of them is missing.</exception>
    public static EntraTokens FromEnvironment(Func<string, string?> environment, string resource = Storage, string cure = StorageCure)
    {
        string tenant = Needed("AZURE_TENANT_ID");
        string client = Needed("AZURE_CLIENT_ID");
        string authority = (environment("AZURE_AUTHORITY_HOST") ?? "https://login.microsoftonline.com").TrimEnd('/');
        string? file = environment("AZURE_FEDERATED_TOKEN_FILE");
        string? secret = file is null ? Needed("AZURE_CLIENT_SECRET") : null;
        return new EntraTokens($"the application {client}", cure, () =>
        {
            Dictionary<string, string> form = new(StringComparer.Ordinal)
            {
                ["grant_type"] = "client_credentials",
                ["client_id"] = client,
                ["scope"] = resource + ".default",
            };
            if (secret is not null)
            {
                form["client_secret"] = secret;
            }
            else
            {
                form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form["client_assertion"] = ReadFile(file!);
            }

            return new HttpRequestMessage(HttpMethod.Post, $"{authority}/{Uri.EscapeDataString(tenant)}/oauth2/v2.0/token") { Content = new FormUrlEncodedContent(form) };
        });

        string Needed(string name) => environment(name) is { Length: > 0 } value ? value
            : throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{name} is not set", "An application needs AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE.");
    }

    /// <summary>Asks for a token.</summary>
    /// <exception cref="StorageException"><c>StorageAuthentication</c>: there is none for us; or who gives them cannot be reached.</exception>
    public async Task<AccessToken> FetchAsync(HttpClient http, DateTimeOffset now, CancellationToken cancellationToken)
    {
        string what = $"No token was to be had for {_who}";
        using HttpRequestMessage request = _request();
        using HttpResponseMessage answer = await HttpCall.SendAsync(http, request, what, cancellationToken);
        ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(answer, AccessToken.LongestAnswer, what, cancellationToken);
        if (answer.StatusCode == HttpStatusCode.OK && AccessToken.Read(body, now) is { } token)
        {
            return token;
        }

        bool isTransient = answer.StatusCode is HttpStatusCode.TooManyRequests || (int)answer.StatusCode >= 500;
        throw new StorageException(
            isTransient ? ErrorCodes.StorageConnection : ErrorCodes.StorageAuthentication,
            $"{what}: the answer was {(int)answer.StatusCode}",
            _cure)
        {
            RetryAfter = HttpFailure.RetryAfter(answer.Headers.TryGetValues("Retry-After", out IEnumerable<string>? values) ? values.First() : null, now),
        };
    }

    private static HttpRequestMessage Get(string address, string header, string value)
    {
        HttpRequestMessage request = new(HttpMethod.Get, address);
        request.Headers.TryAddWithoutValidation(header, value);
        return request;
    }

    private static string ReadFile(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StorageException(ErrorCodes.StorageAuthentication, "The file that AZURE_FEDERATED_TOKEN_FILE names cannot be read", null, e);
        }
    }
}
