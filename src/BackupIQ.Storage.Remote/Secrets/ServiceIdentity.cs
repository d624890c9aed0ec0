using System.Net.Http.Headers;
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

    /// <summary>Puts the token on a request.</summary>
    /// <exception cref="StorageException">There is none.</exception>
    public async ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken)
    {
        string token = await _tokens.GetAsync(http, cancellationToken).ConfigureAwait(false);
        _last = token;
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
    }

    /// <summary>The last token was refused: the next request gets a new one.</summary>
    public void Refuse() => _tokens.Refuse(_last ?? "");

    /// <inheritdoc/>
    public void Dispose() => _tokens.Dispose();
}
