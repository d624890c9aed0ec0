using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>
/// What a key of a key service is used for. The service binds what it wraps to it and notes it in its own log, so a wrapped key that was
/// carried elsewhere does not unwrap there. None of it is secret. Services with an encryption context take the pairs as they are.
/// </summary>
/// <param name="Purpose">What is wrapped, a word: <c>slot</c>.</param>
/// <param name="Repository">The repository's id.</param>
/// <param name="Subject">Which one: a slot's id.</param>
public sealed record KeyContext(string Purpose, string Repository, string Subject)
{
    /// <summary>The same as names and values, in this order.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Pairs => [new("purpose", Purpose), new("repository", Repository), new("subject", Subject)];
}

/// <summary>A new key: as it is, and as the service wrapped it. Disposing wipes the former.</summary>
/// <param name="Plain">32 random bytes.</param>
/// <param name="Wrapped">What is stored; at most 8 KiB. Opaque: it tells the service which version of which key wrapped it.</param>
public sealed record GeneratedKey(Secret Plain, byte[] Wrapped) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose() => Plain.Dispose();
}

/// <summary>What a key service says of a key.</summary>
/// <param name="IsEnabled">Whether it may be used now.</param>
/// <param name="Rotated">When its newest version was made; null where the service does not tell.</param>
public sealed record KeyState(bool IsEnabled, DateTimeOffset? Rotated);

/// <summary>
/// One key of a key service (a local keystore, a cloud's KMS), which never leaves it: the service wraps and unwraps small keys under it. It may
/// have versions: what is wrapped is wrapped under the newest, and unwraps for as long as the version that wrapped it is there, so rotating it
/// there rewrites nothing here. Every use may cost a request and leaves a line in the service's log. Thread-safe.
/// </summary>
/// <remarks>
/// All of it throws <see cref="BackupIQException"/>: <c>KeyNotFound</c> (no such key or version), <c>KeyDisabled</c>, <c>KeyServiceAuthentication</c>
/// (who asks is not known), <c>Authorization</c> (known, but may not), <c>KeyDamaged</c> (what was given does not unwrap: damaged, of another key, or
/// of another context), <c>KeyService</c> (not reachable; may go through later).
/// </remarks>
public interface IKeyProvider : IAsyncDisposable
{
    /// <summary>Which service it is, without paths and secrets: stands in the clear in slots. Two places with the same keys say the same.</summary>
    string Service { get; }

    /// <summary>The key's name or id within the service; stands in the clear in slots.</summary>
    string Key { get; }

    /// <summary>The key's state.</summary>
    Task<KeyState> DescribeAsync(CancellationToken cancellationToken);

    /// <summary>A new random key of 32 bytes, and the same wrapped. The caller disposes it.</summary>
    Task<GeneratedKey> GenerateAsync(KeyContext context, CancellationToken cancellationToken);

    /// <summary>Wraps at most 4 KiB under the newest version.</summary>
    Task<byte[]> WrapAsync(Secret plain, KeyContext context, CancellationToken cancellationToken);

    /// <summary>Unwraps what was wrapped under any version. The caller disposes it.</summary>
    Task<Secret> UnwrapAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken);
}
