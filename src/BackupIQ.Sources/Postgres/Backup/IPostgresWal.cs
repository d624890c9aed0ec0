namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>Where WAL of a server is beside its <c>pg_wal</c>: in its archive. Called by one thread.</summary>
public interface IPostgresWal
{
    /// <summary>Brings a segment into a file of this machine, which its owner removes; null: the archive does not have it.</summary>
    string? Fetch(string segment, CancellationToken cancellationToken);

    /// <summary>Waits until the archive has all of these segments. False: it did not get them in time.</summary>
    bool WaitFor(IReadOnlyList<string> segments, CancellationToken cancellationToken);
}
