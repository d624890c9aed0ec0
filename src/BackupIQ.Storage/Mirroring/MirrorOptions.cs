namespace BackupIQ.Storage.Mirroring;

/// <summary>How a storage and its mirrors are used together.</summary>
public sealed record MirrorOptions
{
    /// <summary>What relies on what.</summary>
    public required MirrorLayout Layout { get; init; }

    /// <summary>What a storage holds, as a name that no other has; null where it holds nothing that has one.</summary>
    public required Func<IStorageBackend, CancellationToken, Task<string?>> Identify { get; init; }

    /// <summary>Something is being made: the mirrors have to be empty.</summary>
    public bool IsNew { get; init; }

    /// <summary>Whether anything may be removed from a mirror, as of now.</summary>
    public Func<bool> MayRemove { get; init; } = static () => true;

    /// <summary>Hears, once of each kind and mirror, what somebody should know. On any thread.</summary>
    public Action<MirrorNotice>? OnNotice { get; init; }
}

/// <summary>Where a mirror is, and how it is connected to when it is needed.</summary>
/// <param name="Name">Where it is, without secrets.</param>
/// <param name="ConnectAsync">Connects to it; what comes of that is owned by who asked.</param>
public sealed record MirrorSource(string Name, Func<CancellationToken, Task<IStorageBackend>> ConnectAsync);

/// <summary>Something about a mirror that somebody should know.</summary>
/// <param name="Mirror">Which.</param>
/// <param name="Message">A sentence.</param>
/// <param name="IsBehind">True: it lacks something now, or has something that the storage has no more. False: it is in step again. Null: this says nothing of that.</param>
public sealed record MirrorNotice(string Mirror, string Message, bool? IsBehind);
