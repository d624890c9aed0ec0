using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Jobs.Browsing;

/// <summary>
/// Looks for entries by patterns in one snapshot after another; what several have in common is looked through once. Made by
/// <see cref="SnapshotBrowser.Search"/>. Not thread-safe.
/// </summary>
public sealed class SnapshotSearch
{
    private readonly TreeSearch _search;

    internal SnapshotSearch(ReadMetadata read, PatternList patterns, Action<ItemFailure>? onFailure) =>
        _search = new TreeSearch(
            read,
            new PatternTest(patterns),
            (path, damage) =>
            {
                Errors++;
                onFailure?.Invoke(new ItemFailure(damage.Code, path.Length == 0 ? [(byte)'/'] : path, damage.Message));
            });

    /// <summary>Folders that could not be looked into wholly; each was told.</summary>
    public long Errors { get; private set; }

    internal bool SawEverything => _search.SawEverything;

    /// <summary>All entries of a snapshot that match, in the order of their paths.</summary>
    public IEnumerable<EntryInfo> Find(SnapshotInfo snapshot, CancellationToken cancellationToken)
    {
        ChunkId tree = SnapshotBrowser.TreeOf(snapshot);
        return _search.Find(tree, [], cancellationToken).Select(static found => EntryInfo.From(found.Path, found.Node));
    }

    /// <summary>Patterns as a search asks them. What lies in a folder that matches does so, too.</summary>
    private sealed class PatternTest(PatternList patterns) : ISearchTest
    {
        private readonly PathCursor _path = new();
        private readonly Stack<bool> _matched = new();
        private bool _isInside;

        public void Enter(ReadOnlySpan<byte> name)
        {
            bool isMatch = Matches(name);
            Push(name);
            _matched.Push(_isInside);
            _isInside |= isMatch;
        }

        public void Leave()
        {
            _path.Pop();
            _isInside = _matched.Pop();
        }

        public bool Matches(ReadOnlySpan<byte> name)
        {
            Push(name);
            bool isMatch = _isInside ? patterns.Matches(_path) : patterns.MatchesLast(_path);
            _path.Pop();
            return isMatch;
        }

        public bool MayMatchBelow(ReadOnlySpan<byte> name)
        {
            if (_isInside)
            {
                return true;
            }

            Push(name);
            bool may = patterns.MayMatchBelow(_path) || patterns.MatchesLast(_path);
            _path.Pop();
            return may;
        }

        private void Push(ReadOnlySpan<byte> name)
        {
            if (patterns.IgnoresCase)
            {
                _path.Push(PatternList.LowerCase(name));
            }
            else
            {
                _path.Push(name);
            }
        }
    }
}
