using System.Text.Json;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Maintenance;

/// <summary>Where the graphs of snapshots begin, and which partial snapshots still count.</summary>
internal static class SnapshotRoots
{
    /// <summary>The roots of complete snapshots.</summary>
    /// <exception cref="CorruptDataException">A document is malformed, so nobody can tell what it needs.</exception>
    public static List<ReachedChunk> Of(IEnumerable<SnapshotObject> snapshots)
    {
        List<ReachedChunk> roots = [];
        foreach (SnapshotObject stored in snapshots)
        {
            try
            {
                Add(roots, Read(stored));
            }
            catch (Exception e) when (e is JsonException or CorruptDataException)
            {
                throw new CorruptDataException(
                    $"{stored.Name}: snapshot {stored.Session.ToString()[..8]} is malformed, so nobody can tell what it needs and nothing may be deleted.", e);
            }
        }

        return roots;
    }

    /// <summary>
    /// The roots of partial snapshots that somebody may take up, and the names of the others: those with a newer one of the same run, with a
    /// newer complete snapshot of the same series, older than <paramref name="maxAge"/>, or not readable. A wrong clock costs a run what an
    /// earlier one had read, no more.
    /// </summary>
    public static (List<ReachedChunk> Roots, List<string> Stale) OfPartials(
        IEnumerable<SnapshotObject> partials, IEnumerable<SnapshotObject> complete, TimeSpan maxAge, DateTimeOffset now)
    {
        Dictionary<string, DateTimeOffset> newest = new(StringComparer.Ordinal);
        foreach (SnapshotObject stored in complete)
        {
            if (TryRead(stored) is { } snapshot)
            {
                string series = SeriesOf(snapshot);
                newest[series] = newest.TryGetValue(series, out DateTimeOffset known) && known > snapshot.Time ? known : snapshot.Time;
            }
        }

        List<ReachedChunk> roots = [];
        List<string> stale = [];
        foreach (IGrouping<Primitives.SessionId, SnapshotObject> run in partials.GroupBy(static p => p.Session))
        {
            bool isCovered = false;
            foreach (SnapshotObject stored in run.OrderByDescending(static p => RepositoryLayout.PartialNumber(p.Name)))
            {
                Snapshot? partial = isCovered ? null : TryRead(stored);
                if (partial is null || now - stored.StoredAt > maxAge || (newest.TryGetValue(SeriesOf(partial), out DateTimeOffset since) && since >= partial.Time))
                {
                    stale.Add(stored.Name);
                    continue;
                }

                isCovered = true;
                Add(roots, partial);
            }
        }

        return (roots, stale);
    }

    private static Snapshot Read(SnapshotObject stored) =>
        JsonSerializer.Deserialize(stored.Document, SnapshotJson.Default.Snapshot) ?? throw new CorruptDataException($"{stored.Name} is empty.");

    private static Snapshot? TryRead(SnapshotObject stored)
    {
        try
        {
            return stored.Document is null ? null : Read(stored);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    // Given in the order of newest last, for the last given is taken first.
    private static void Add(List<ReachedChunk> roots, Snapshot snapshot)
    {
        if (snapshot.ScanId is { } scan)
        {
            roots.Add(new ReachedChunk(scan, GraphPart.Scan));
        }

        roots.Add(new ReachedChunk(snapshot.TreeId, GraphPart.Tree));
    }

    private static string SeriesOf(Snapshot snapshot) =>
        string.Join('\0', [snapshot.Hostname, snapshot.Kind, .. snapshot.RawPaths?.Select(Convert.ToHexString) ?? snapshot.Paths]);
}
