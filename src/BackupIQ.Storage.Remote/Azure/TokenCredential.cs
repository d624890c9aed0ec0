using System.Net.Http.Headers;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>A token and until when it holds.</summary>
internal sealed record AzureToken(string Value, DateTimeOffset Expires);

/// <summary>Tokens of Microsoft Entra: fetched when the one at hand is about to end, once for all who wait.</summary>
internal sealed class TokenCredential(EntraTokens source, TimeProvider time) : IAzureCredential, IDisposable
{
    // Long enough for the longest request that may be under way with it.
    private static readonly TimeSpan Margin = TimeSpan.FromMinutes(5);

    private readonly SemaphoreSlim _gate = new(1);
    private AzureToken? _token;

    /// <inheritdoc/>
    public async ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken)
    {
        AzureToken token = _token is { } known && known.Expires - time.GetUtcNow() > Margin ? known : await RenewAsync(http, cancellationToken);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token.Value);
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    private async Task<AzureToken> RenewAsync(HttpClient http, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            if (_token is not { } known || known.Expires - time.GetUtcNow() <= Margin)
            {
                _token = await source.FetchAsync(http, time.GetUtcNow(), cancellationToken);
            }

            return _token;
        }
        finally
        {
            _gate.Release();
        }
    }
}
