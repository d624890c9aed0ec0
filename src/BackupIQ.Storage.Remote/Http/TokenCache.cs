namespace BackupIQ.Storage.Remote.Http;

/// <summary>Holds a token: fetched when the one at hand is about to end, once for all who wait.</summary>
/// <param name="fetch">Asks for one.</param>
/// <param name="time">Tells when a token ends.</param>
internal sealed class TokenCache(Func<HttpClient, DateTimeOffset, CancellationToken, Task<AccessToken>> fetch, TimeProvider time) : IDisposable
{
    // Long enough for the longest request that may be under way with it.
    private static readonly TimeSpan Margin = TimeSpan.FromMinutes(5);

    private readonly SemaphoreSlim _gate = new(1);
    private AccessToken? _token;

    /// <summary>A token that holds for a while.</summary>
    /// <exception cref="StorageException">There is none.</exception>
    public async ValueTask<string> GetAsync(HttpClient http, CancellationToken cancellationToken) =>
        (_token is { } known && IsGood(known) ? known : await RenewAsync(http, cancellationToken).ConfigureAwait(false)).Value;

    /// <summary>Drops a token that a server did not accept, whatever it said of its end; another one that came meanwhile stays.</summary>
    public void Refuse(string token)
    {
        if (_token is { } known && known.Value == token)
        {
            _token = null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    private bool IsGood(AccessToken token) => token.Expires - time.GetUtcNow() > Margin;

    private async Task<AccessToken> RenewAsync(HttpClient http, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            AccessToken token = _token is { } known && IsGood(known) ? known : await fetch(http, time.GetUtcNow(), cancellationToken).ConfigureAwait(false);
            _token = token;
            return token;
        }
        finally
        {
            _gate.Release();
        }
    }
}
