using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using BackupIQ.Storage.Remote.Azure;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>Who asks a cloud's service, as the storages of that cloud know it too: tokens that are fetched and renewed. Thread-safe.</summary>
public sealed class ServiceIdentity : IDisposable
{
    private readonly TokenCache _tokens;
    private string? _last;

    private ServiceIdentity(TokenCache tokens) => _tokens = tokens;

    /// <summary>
    /// Microsoft Entra: the application of AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret or a federated token, else the managed identity; the URL's
    /// options <c>auth</c> (<c>environment</c>, <c>identity</c>) and <c>client-id</c> say otherwise.
    /// </summary>
    /// <param name="resource">What the tokens are for: <c>https://vault.azure.net/</c>.</param>
    /// <param name="cure">What to do when there is no token.</param>
    /// <param name="url">The URL.</param>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="time">Tells when tokens end.</param>
    public static ServiceIdentity OfEntra(string resource, string cure, StorageUrl url, Func<string, string?> environment, TimeProvider time)
    {
        string way = url.Choice("auth", ["environment", "identity"]) ?? (environment("AZURE_TENANT_ID") is { Length: > 0 } ? "environment" : "identity");
        EntraTokens source = way == "environment" ? EntraTokens.FromEnvironment(environment, resource, cure)
            : EntraTokens.FromManagedIdentity(environment, url.Text("client-id") ?? environment("AZURE_CLIENT_ID"), resource, cure);
        return new ServiceIdentity(new TokenCache(source.FetchAsync, time));
    }

    /// <summary>Google: a file of credentials (the URL's option <c>credentials</c>, or GOOGLE_APPLICATION_CREDENTIALS), who signed in with gcloud, or the machine.</summary>
    /// <param name="scope">What the tokens are for.</param>
    /// <param name="cure">What to do when they are refused.</param>
    /// <param name="url">The URL.</param>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="time">Tells when tokens end.</param>
    public static ServiceIdentity OfGoogle(string scope, string cure, StorageUrl url, Func<string, string?> environment, TimeProvider time) =>
        new(new TokenCache(GoogleTokens.Find(url, environment, scope, cure, cure).FetchAsync, time));

    /// <summary>Sends a request with the token, and once more with a new one where that is not accepted. The caller disposes the answer, whatever its status.</summary>
    /// <param name="service">The service.</param>
    /// <param name="method">The method.</param>
    /// <param name="target">The address.</param>
    /// <param name="body">Writes the members of the body, once for each attempt; null: there is none.</param>
    /// <param name="what">What fails if it does, as the beginning of a sentence.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQ.Primitives.BackupIQException">There is no token, or the service cannot be reached (<see cref="JsonService.SendAsync"/>).</exception>
    public async Task<JsonAnswer> SendAsync(
        JsonService service, HttpMethod method, Uri target, Action<Utf8JsonWriter>? body, string what, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            JsonAnswer answer = await service.SendAsync(what, ComposeAsync, cancellationToken).ConfigureAwait(false);
            if (answer.Status != HttpStatusCode.Unauthorized || attempt == 2)
            {
                return answer;
            }

            answer.Dispose();
            _tokens.Refuse(_last ?? "");
        }

        async ValueTask<HttpRequestMessage> ComposeAsync(HttpClient http, CancellationToken stop)
        {
            HttpRequestMessage request = new(method, target) { Content = body is null ? null : JsonService.Body(body) };
            _last = await _tokens.GetAsync(http, stop).ConfigureAwait(false);
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _last);
            return request;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _tokens.Dispose();
}
