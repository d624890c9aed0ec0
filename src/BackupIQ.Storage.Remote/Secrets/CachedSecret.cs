using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>
/// A secret that is named by reference, as a long run uses it: read when it is needed, kept for five minutes, and read again when whoever it was
/// shown to does not know it any more. So it may be rotated while the program runs. Thread-safe.
/// </summary>
public sealed class CachedSecret : RenewedSecret
{
    /// <summary>Long enough that a run asks a store of secrets seldom, short enough that what is rotated there is followed soon.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    private readonly SecretReference _reference;
    private readonly Func<string, string?> _environment;
    private readonly TimeProvider _time;

    /// <summary>Nothing is read yet.</summary>
    public CachedSecret(SecretReference reference, Func<string, string?> environment, TimeProvider time)
        : base(time)
    {
        _reference = reference;
        _environment = environment;
        _time = time;
    }

    /// <inheritdoc/>
    public override string Origin => _reference.ToString();

    /// <inheritdoc/>
    protected override Task<Secret> ReadAsync(CancellationToken cancellationToken) => SecretStores.ReadAsync(_reference, _environment, _time, cancellationToken);

    /// <inheritdoc/>
    protected override bool IsStale(TimeSpan age) => age > Lifetime;
}
