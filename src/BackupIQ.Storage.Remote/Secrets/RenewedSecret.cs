using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>A secret that is got when it is needed, kept while it holds, and got again when whoever it was shown to does not know it any more. Thread-safe.</summary>
public abstract class RenewedSecret : IRenewedSecret
{
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _gate = new(1);
    private Secret? _secret;
    private long _since;

    /// <summary>Nothing is read yet.</summary>
    /// <param name="time">This machine's clock.</param>
    protected RenewedSecret(TimeProvider time) => _time = time;

    /// <inheritdoc/>
    public abstract string Origin { get; }

    /// <inheritdoc/>
    public async Task<Secret> GetAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_secret is null || IsStale(_time.GetElapsedTime(_since)))
            {
                await RefreshAsync(cancellationToken).ConfigureAwait(false);
            }

            return new Secret(_secret!.Bytes);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc/>
    public async Task<Secret?> RenewAsync(Secret rejected, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            // Somebody else may have got it meanwhile.
            if (_secret is null || CryptographicOperations.FixedTimeEquals(_secret.Bytes, rejected.Bytes))
            {
                await RefreshAsync(cancellationToken).ConfigureAwait(false);
            }

            return CryptographicOperations.FixedTimeEquals(_secret!.Bytes, rejected.Bytes) ? null : new Secret(_secret.Bytes);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives up what is kept.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            _secret?.Dispose();
            _gate.Dispose();
        }
    }

    /// <summary>Gets it from where it comes from; the caller owns it. One call at a time.</summary>
    protected abstract Task<Secret> ReadAsync(CancellationToken cancellationToken);

    /// <summary>Whether one that was got so long ago is not to be used any more.</summary>
    protected abstract bool IsStale(TimeSpan age);

    private async Task RefreshAsync(CancellationToken cancellationToken)
    {
        Secret read = await ReadAsync(cancellationToken).ConfigureAwait(false);
        _secret?.Dispose();
        _secret = read;
        _since = _time.GetTimestamp();
    }
}
