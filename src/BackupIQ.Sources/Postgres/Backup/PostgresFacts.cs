namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>What a server says of itself before a backup.</summary>
public sealed record PostgresFacts
{
    public required string Version { get; init; }

    /// <summary>150018 for 15.18.</summary>
    public required int VersionNumber { get; init; }

    public int Major => VersionNumber / 10_000;

    public required ulong SystemIdentifier { get; init; }

    public required bool IsInRecovery { get; init; }

    public required uint WalSegmentSize { get; init; }

    /// <summary>Where the server says its data is; null: the role may not know.</summary>
    public required string? DataDirectory { get; init; }

    /// <summary>Settings by their names, those of the configuration files among them; what the role may not read is not there.</summary>
    public required IReadOnlyDictionary<string, string> Settings { get; init; }

    /// <summary>Files that settings come from.</summary>
    public required IReadOnlyList<string> SettingFiles { get; init; }

    public required IReadOnlyList<PostgresTablespace> Tablespaces { get; init; }

    /// <summary>The role that <c>initdb</c> made; null: it cannot be told.</summary>
    public string? Superuser { get; init; }

    /// <summary>Databases that can be connected to, with their oids.</summary>
    public required IReadOnlyList<(long Oid, string Name, bool CanConnect)> Databases { get; init; }
}
