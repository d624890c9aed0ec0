namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>Where an entry of a <see cref="PostgresSource"/> comes from.</summary>
/// <param name="Path">Its path on this machine.</param>
/// <param name="Relative">Its path below the data directory, for people.</param>
internal sealed record PostgresPlace(byte[] Path, string Relative)
{
    /// <summary>Of a relation's file: which.</summary>
    public RelationName? Relation { get; init; }

    /// <summary>What it holds, where it is no file of this machine.</summary>
    public byte[]? Content { get; init; }

    /// <summary>It is a segment of WAL, which the server may take away or use again.</summary>
    public bool IsWal { get; init; }

    /// <summary>It is made up: a folder that only the snapshot has.</summary>
    public bool IsVirtual { get; init; }

    /// <summary>A link is not kept but what it points to.</summary>
    public bool IsFollowed { get; init; }
}
