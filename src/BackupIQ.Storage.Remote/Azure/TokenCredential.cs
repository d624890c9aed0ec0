using System.Net.Http.Headers;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>Tokens of Microsoft Entra.</summary>
internal sealed class TokenCredential(EntraTokens source, TimeProvider time) : IAzureCredential, IDisposable
{
    private readonly TokenCache _tokens = new(source.FetchAsync, time);

    /// <inheritdoc/>
    public bool IsIdentity => true;

    /// <inheritdoc/>
    public async ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken) =>
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", await _tokens.GetAsync(http, cancellationToken));

    /// <inheritdoc/>
    public void Dispose() => _tokens.Dispose();
}
