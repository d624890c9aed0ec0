namespace BackupIQ.Storage.Mirroring;

/// <summary>How objects rely on each other, by the beginnings of their names: a mirror gets what is relied on before what relies on it.</summary>
public sealed record MirrorLayout
{
    /// <summary>Relies on nothing, and its name is its content's: it may be on a mirror before anything knows of it, and is the same wherever it is read.</summary>
    public required IReadOnlyList<string> Contents { get; init; }

    /// <summary>Vouches for parts of the index.</summary>
    public required string Announcements { get; init; }

    /// <summary>Says where contents lie, and which of them do not count any more.</summary>
    public required string Index { get; init; }

    /// <summary>Needs contents, and the index to find them: what is there for somebody to come back to.</summary>
    public required string Roots { get; init; }

    /// <summary>What speaks of one storage alone, or of those who work there now: each has its own. Contents are never that.</summary>
    public required Func<StorageKey, bool> IsOwn { get; init; }

    /// <summary>Whether bytes are those of a name, as far as the name tells.</summary>
    public Func<StorageKey, Stream, bool> IsWhole { get; init; } = static (_, _) => true;

    internal MirrorRank RankOf(StorageKey key) =>
        Begins(key, Contents) ? MirrorRank.Content
        : IsOwn(key) ? MirrorRank.Own
        : key.Value.StartsWith(Announcements, StringComparison.Ordinal) ? MirrorRank.Announcement
        : key.Value.StartsWith(Index, StringComparison.Ordinal) ? MirrorRank.Index
        : key.Value.StartsWith(Roots, StringComparison.Ordinal) ? MirrorRank.Root
        : MirrorRank.Free;

    private static bool Begins(StorageKey key, IReadOnlyList<string> prefixes)
    {
        foreach (string prefix in prefixes)
        {
            if (key.Value.StartsWith(prefix, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>What an object is to a mirror, in the order in which a mirror gets it.</summary>
internal enum MirrorRank
{
    /// <summary>See <see cref="MirrorLayout.Contents"/>.</summary>
    Content,

    /// <summary>See <see cref="MirrorLayout.Announcements"/>.</summary>
    Announcement,

    /// <summary>See <see cref="MirrorLayout.Index"/>.</summary>
    Index,

    /// <summary>None of the others: keys, configuration, what is said of snapshots, whatever a later version adds.</summary>
    Free,

    /// <summary>See <see cref="MirrorLayout.Roots"/>.</summary>
    Root,

    /// <summary>See <see cref="MirrorLayout.IsOwn"/>.</summary>
    Own,
}
