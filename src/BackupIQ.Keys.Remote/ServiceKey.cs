using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Keys.Remote;

/// <summary>What all key services have in common: keys are drawn here, and what is wrapped is bound to its context (<see cref="BoundSecret"/>).</summary>
internal abstract class ServiceKey : IKeyProvider
{
    // A slot's is 32 bytes; the smallest RSA key that is of use wraps 190.
    private const int KeySize = 32;
    private const int MaxPlain = 4096;

    /// <inheritdoc/>
    public abstract string Service { get; }

    /// <inheritdoc/>
    public abstract string Key { get; }

    /// <inheritdoc/>
    public abstract Task<KeyState> DescribeAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public async Task<GeneratedKey> GenerateAsync(KeyContext context, CancellationToken cancellationToken)
    {
        Secret plain = Secret.Random(KeySize);
        try
        {
            return new GeneratedKey(plain, await WrapAsync(plain, context, cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            plain.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async Task<byte[]> WrapAsync(Secret plain, KeyContext context, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Bytes.Length, MaxPlain);
        byte[] bound = BoundSecret.Seal(plain.Bytes, context);
        try
        {
            return await WrapAsync(bound, context, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bound);
        }
    }

    /// <inheritdoc/>
    public async Task<Secret> UnwrapAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        byte[] bound = await UnwrapBytesAsync(wrapped, context, cancellationToken).ConfigureAwait(false);
        Secret? secret = BoundSecret.Open(bound, context);
        CryptographicOperations.ZeroMemory(bound);
        return secret ?? throw NotOurs();
    }

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();

    /// <summary>Wraps under the newest version.</summary>
    protected abstract Task<byte[]> WrapAsync(byte[] plain, KeyContext context, CancellationToken cancellationToken);

    /// <summary>Unwraps; the caller wipes what it gets.</summary>
    protected abstract Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken);

    /// <summary>The failure of what does not unwrap.</summary>
    protected BackupIQException NotOurs() => new(
        ErrorCodes.KeyDamaged, $"Key '{Key}' does not unwrap what it was given: it is damaged, or was wrapped by another key or for something else.");
}
