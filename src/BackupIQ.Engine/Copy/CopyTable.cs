using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>Which snapshots of the source the target has, whole or in part, and which of them the next copy can be compared with.</summary>
internal sealed class CopyTable
{
    private readonly Dictionary<string, Snapshot> _copies = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Snapshot> _originals = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Snapshot> _partials = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<Snapshot>> _series = new(StringComparer.Ordinal);
    private readonly HashSet<SessionId> _vouched = [];

    private CopyTable(IReadOnlyList<string> damage) => Damage = damage;

    /// <summary>Snapshots of either that cannot be read.</summary>
    public IReadOnlyList<string> Damage { get; }

    /// <summary>Lists both repositories.</summary>
    public static async Task<CopyTable> ReadAsync(BackupRepository from, BackupRepository to, CancellationToken cancellationToken)
    {
        SnapshotStore source = new(from);
        SnapshotStore target = new(to);
        IReadOnlyList<Snapshot> originals = await source.ListStoredAsync(cancellationToken);
        IReadOnlyList<Snapshot> copies = await target.ListAnnotatedAsync(cancellationToken);
        IReadOnlyList<Snapshot> partials = await target.ListPartialAsync(cancellationToken);
        CopyTable table = new(target.Damaged);
        foreach (Snapshot original in originals)
        {
            table._originals.TryAdd(original.SourceId, original);
        }

        foreach (Snapshot copy in copies)
        {
            table.Add(copy);
        }

        foreach (Snapshot partial in partials.Where(static partial => partial.Original is not null))
        {
            table._partials[partial.Original!] = partial;
        }

        return table;
    }

    /// <summary>Each series together, from its oldest on: what a series has in common is then read once.</summary>
    public static IEnumerable<Snapshot> InOrder(IEnumerable<Snapshot> chosen) =>
        chosen.OrderBy(static s => s.Time).GroupBy(SeriesOf).SelectMany(static series => series);

    /// <summary>The snapshot itself, or a copy of it or of what it is a copy of, in the target; one that is shown before one that is forgotten.</summary>
    public Snapshot? CopyOf(Snapshot snapshot) => _copies.GetValueOrDefault(snapshot.SourceId);

    /// <summary>
    /// What a snapshot is compared with: what an interrupted copy of it left, then the newest of its series that is not newer and was copied.
    /// </summary>
    public IReadOnlyList<CopiedTree> Known(Snapshot snapshot)
    {
        List<CopiedTree> known = [];
        if (_partials.TryGetValue(snapshot.SourceId, out Snapshot? partial))
        {
            known.Add(new CopiedTree(snapshot, partial, IsVouchedFor: false));
        }

        Snapshot? before = _series.GetValueOrDefault(SeriesOf(snapshot))?
            .Where(copy => copy.Time <= snapshot.Time && _originals.ContainsKey(copy.SourceId)).MaxBy(static copy => copy.Time);
        if (before is not null)
        {
            known.Add(new CopiedTree(_originals[before.SourceId], before, _vouched.Contains(before.Id)));
        }

        return known;
    }

    /// <summary>A snapshot was copied; what the copy needs is known to be there for the sessions that are open now.</summary>
    public void Add(Snapshot original, Snapshot copy)
    {
        _originals.TryAdd(original.SourceId, original);
        Add(copy);
        _vouched.Add(copy.Id);
    }

    /// <summary>Other sessions begin: what the earlier ones looked up must be looked up again.</summary>
    public void Distrust() => _vouched.Clear();

    private void Add(Snapshot copy)
    {
        if (!_copies.TryGetValue(copy.SourceId, out Snapshot? other) || other.Annotations.IsForgotten)
        {
            _copies[copy.SourceId] = copy;
        }

        string series = SeriesOf(copy);
        if (!_series.TryGetValue(series, out List<Snapshot>? list))
        {
            _series.Add(series, list = []);
        }

        list.Add(copy);
    }

    private static string SeriesOf(Snapshot snapshot) =>
        string.Join('\0', [snapshot.Hostname, snapshot.Kind, .. snapshot.RawPaths?.Select(Convert.ToHexString) ?? snapshot.Paths]);
}
