using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Retention;

/// <summary>Backups of databases that are kept because those after them hold damaged pages: from them alone can be mended what was damaged.</summary>
public static class SoundBases
{
    /// <summary>Why such a backup is kept, for people.</summary>
    public const string Reason = "newest of its server without damaged pages";

    /// <summary>Of each server whose newest backup has damaged pages: the newest one that has none. A backup of any machine counts, for a server may be read from several.</summary>
    public static IEnumerable<Snapshot> LastOf(IEnumerable<Snapshot> snapshots) => snapshots
        .Where(static snapshot => snapshot.Db is not null && !snapshot.Partial)
        .GroupBy(static snapshot => (snapshot.Kind, string.Join('\0', snapshot.Paths)))
        .Select(static server => server.OrderByDescending(static snapshot => snapshot.Time).ToList())
        .Where(static server => server[0].DamagedPages > 0)
        .Select(static server => server.Find(static snapshot => snapshot.DamagedPages == 0))
        .OfType<Snapshot>();
}
