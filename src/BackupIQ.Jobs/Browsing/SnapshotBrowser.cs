using BackupIQ.Engine.Diff;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Jobs.Browsing;

/// <summary>
/// Looks into the trees of snapshots: lists, searches, follows paths. What it read of them is kept in the local cache. Not thread-safe.
/// </summary>
/// <example>
/// <code>
/// SnapshotInfo snapshot = await repository.FindSnapshotAsync("latest", cancellationToken: cancellationToken);
/// using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken);
/// foreach (EntryInfo entry in browser.List(snapshot, "/home"u8.ToArray(), recursive: true, onFailure: null, cancellationToken))
/// {
///     Console.WriteLine($"{entry.Type} {entry.Size} {System.Text.Encoding.UTF8.GetString(entry.Path)}");
/// }
/// </code>
/// </example>
public sealed class SnapshotBrowser : IDisposable
{
    private readonly ChunkIndex _index;
    private readonly ChunkReader _reader;
    private readonly TreeCache? _cache;
    private readonly TreeReader _trees;

    internal SnapshotBrowser(BackupRepository repository, IndexLoad load, string? cacheFolder)
    {
        _index = load.Index;
        _reader = new ChunkReader(repository, _index);
        _cache = cacheFolder is null ? null : TreeCache.Open(Path.Combine(cacheFolder, repository.Id.ToString(), "trees"), repository.Keys);
        _trees = new TreeReader(Read);
    }

    /// <summary>
    /// The entry at <paramref name="path"/> and, unless it is no folder, what is in it: with <paramref name="recursive"/> all, depth first. The
    /// root itself (<c>/</c>) is no entry. Folders that are damaged are told to <paramref name="onFailure"/>; the rest is listed.
    /// </summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>, or damage on the way to the path.</exception>
    public IEnumerable<EntryInfo> List(
        SnapshotInfo snapshot, byte[] path, bool recursive, Action<ItemFailure>? onFailure, CancellationToken cancellationToken)
    {
        ChunkId tree = TreeOf(snapshot);
        byte[] at = [];
        IReadOnlyList<byte[]> names = BytePath.Names(path);
        for (int i = 0; i < names.Count; i++)
        {
            Node node = _trees.Find(tree, names[i]) ?? throw NotFound(snapshot, path);
            at = [.. at, (byte)'/', .. names[i]];
            if (node.Subtree is { } subtree)
            {
                tree = subtree;
                continue;
            }

            return i == names.Count - 1 ? [EntryInfo.From(at, node)] : throw NotFound(snapshot, path);
        }

        TreeSearch all = new(Read, new EverythingTest(recursive), (folder, damage) => onFailure?.Invoke(new ItemFailure(damage.Code, folder, damage.Message)));
        return all.Find(tree, at, cancellationToken).Select(static found => EntryInfo.From(found.Path, found.Node));
    }

    /// <summary>
    /// Opens a search for all entries whose path matches one of the patterns, as <c>--exclude</c> understands them. Folders that are damaged
    /// are told to <paramref name="onFailure"/>, in each snapshot again.
    /// </summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: a pattern is malformed.</exception>
    public SnapshotSearch Search(IReadOnlyList<byte[]> patterns, bool ignoreCase, Action<ItemFailure>? onFailure = null) =>
        new(Read, new PatternList(patterns, ignoreCase, "find"), onFailure);

    /// <summary>
    /// Says that a search went through all snapshots of the repository as it is: what the local cache has besides belongs to snapshots that
    /// were forgotten, and goes.
    /// </summary>
    public void SearchedAll(SnapshotSearch search)
    {
        if (search.SawEverything)
        {
            _cache?.KeepUsedOnly();
        }
    }

    /// <summary>
    /// What <paramref name="path"/> was over these snapshots, series by series, in the order of their first snapshots. Snapshots in which it
    /// cannot be followed because of damage are told to <paramref name="onFailure"/>.
    /// </summary>
    public IReadOnlyList<PathHistoryInfo> History(IReadOnlyList<SnapshotInfo> snapshots, byte[] path, Action<ItemFailure>? onFailure = null)
    {
        IReadOnlyList<byte[]> names = BytePath.Names(path);
        PathHistory history = new(_trees);
        return
        [
            .. snapshots.GroupBy(static snapshot => Series(snapshot), StringComparer.Ordinal).Select(series =>
            {
                SnapshotInfo[] all = [.. series];
                PathVersionInfo[] versions =
                [
                    .. history.Read(
                        [.. all.Select(static snapshot => (snapshot, TreeOf(snapshot)))],
                        names,
                        (snapshot, damage) => onFailure?.Invoke(new ItemFailure(damage.Code, path, $"in snapshot {snapshot.ShortId}: {damage.Message}")))
                        .Select(version => PathVersionInfo.From(path, version)),
                ];
                return new PathHistoryInfo(all[0].Hostname, all[0].Paths, all[0].Kind, versions);
            }),
        ];
    }

    /// <summary>Counts what the repository and these snapshots hold; with <paramref name="compression"/> by codec and category, too.</summary>
    public RepositoryStatistics Count(IReadOnlyList<SnapshotInfo> snapshots, bool compression, CancellationToken cancellationToken) =>
        new StatisticsReader(_index, _trees).Read(snapshots, compression, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        _cache?.Dispose();
        _reader.Dispose();
        _index.Dispose();
    }

    internal static ChunkId TreeOf(SnapshotInfo snapshot) =>
        ChunkId.TryParse(snapshot.Tree, out ChunkId id) ? id : throw new CorruptDataException($"Snapshot {snapshot.ShortId} names no tree.");

    private static BackupIQException NotFound(SnapshotInfo snapshot, byte[] path) =>
        new BackupIQException(ErrorCodes.PathNotFound, $"Snapshot {snapshot.ShortId} has no such path").With("path", PathText.Show(path));

    private static string Series(SnapshotInfo snapshot) =>
        string.Join('\0', [snapshot.Kind, snapshot.Hostname, .. snapshot.Paths.Select(Convert.ToHexString)]);

    private ReadOnlyMemory<byte> Read(ChunkId id)
    {
        if (_cache is null)
        {
            return _reader.Read(PackKind.Metadata, id);
        }

        if (!_cache.TryRead(id, out ReadOnlyMemory<byte> page))
        {
            page = _reader.Read(PackKind.Metadata, id);
            _cache.Add(id, page.Span);
        }

        return page;
    }

    /// <summary>Looks for all there is, in folders below only when asked.</summary>
    private sealed class EverythingTest(bool recursive) : ISearchTest
    {
        public void Enter(ReadOnlySpan<byte> name)
        {
        }

        public void Leave()
        {
        }

        public bool Matches(ReadOnlySpan<byte> name) => true;

        public bool MayMatchBelow(ReadOnlySpan<byte> name) => recursive;
    }
}
