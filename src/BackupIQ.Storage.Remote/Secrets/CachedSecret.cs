using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>
/// A secret that is named by reference, as a long run uses it: read when it is needed, kept for five minutes, and read again when whoever it was
/// shown to does not know it any more. So it may be rotated while the program runs. Thread-safe.
/// </summary>
public sealed class CachedSecret : IRenewedSecret
{
    /// <summary>Long enough that a run asks a store of secrets seldom, short enough that what is rotated there is followed soon.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    private readonly SecretReference _reference;
    private readonly Func<string, string?> _environment;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _gate = new(1);
    private Secret? _secret;
    private long _read;

    /// <summary>Nothing is read yet.</summary>
    public CachedSecret(SecretReference reference, Func<string, string?> environment, TimeProvider time)
    {
        _reference = reference;
        _environment = environment;
        _time = time;
    }

    /// <inheritdoc/>
    public string Origin => _reference.ToString();

    /// <inheritdoc/>
    public async Task<Secret> GetAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_secret is null || _time.GetElapsedTime(_read) > Lifetime)
            {
                await ReadAsync(cancellationToken).ConfigureAwait(false);
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
            // Somebody else may have read it meanwhile.
            if (_secret is null || CryptographicOperations.FixedTimeEquals(_secret.Bytes, rejected.Bytes))
            {
                await ReadAsync(cancellationToken).ConfigureAwait(false);
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
        _secret?.Dispose();
        _gate.Dispose();
    }

    private async Task ReadAsync(CancellationToken cancellationToken)
    {
        Secret read = await SecretStores.ReadAsync(_reference, _environment, _time, cancellationToken).ConfigureAwait(false);
        _secret?.Dispose();
        _secret = read;
        _read = _time.GetTimestamp();
    }
}
