using System.Buffers.Binary;
using System.Runtime.InteropServices;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Engine.Trees;

/// <summary>Says what a <see cref="TreeSearch"/> looks for. It is told of the folders on the way and knows the path by that.</summary>
public interface ISearchTest
{
    /// <summary>Goes down into a folder.</summary>
    void Enter(ReadOnlySpan<byte> name);

    /// <summary>Goes up again.</summary>
    void Leave();

    /// <summary>Whether the entry of this name in the current folder is looked for.</summary>
    bool Matches(ReadOnlySpan<byte> name);

    /// <summary>Whether something in the folder of this name in the current folder may be.</summary>
    bool MayMatchBelow(ReadOnlySpan<byte> name);
}

/// <summary>
/// Looks for entries in many trees that are mostly the same. A folder in which nothing was found is not entered again where another
/// snapshot has it, with the same content, at the same path. Not thread-safe.
/// </summary>
/// <param name="read">Reads metadata chunks.</param>
/// <param name="test">Says what is looked for; the same for all trees.</param>
/// <param name="damaged">Told of each folder of which a part cannot be read, and why.</param>
public sealed class TreeSearch(ReadMetadata read, ISearchTest test, Action<byte[], BackupIQException> damaged)
{
    private readonly TreeReader _trees = new(read);
    private readonly HashSet<(ChunkId Tree, UInt128 Path)> _barren = [];
    private readonly List<Level> _levels = [];
    private byte[] _path = new byte[512];

    /// <summary>Whether every folder was looked into: false once one was passed by, because nothing could match in it, or was damaged.</summary>
    public bool SawEverything { get; private set; } = true;

    /// <summary>The entries of a tree that match, in the order of the paths. To be read to its end, or not at all.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="path">The path at which it stands, without a slash at its end: paths begin with it. Empty for a snapshot's root.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    public IEnumerable<(byte[] Path, Node Node)> Find(ChunkId tree, byte[] path, CancellationToken cancellationToken)
    {
        _path = [.. path, .. new byte[512]];
        Start(tree, path.Length);
        while (_levels.Count > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Step(_levels[^1]) is { } found)
            {
                yield return found;
            }
        }
    }

    private void Start(ChunkId tree, int pathLength)
    {
        for (; _levels.Count > 0; _levels.RemoveAt(_levels.Count - 1))
        {
            LeaveTest();
        }

        if (IsBarren(tree, pathLength, out UInt128 path))
        {
            return;
        }

        _levels.Add(new Level(tree, path, pathLength));
    }

    // Goes on by one entry; returns it when it matches.
    private (byte[] Path, Node Node)? Step(Level level)
    {
        try
        {
            if (!level.Load(_trees, read))
            {
                Leave(level);
                return null;
            }

            ReadOnlySpan<byte> raw = level.Next();
            NodePeek.ReadHead(raw, out ReadOnlySpan<byte> name, out NodeType type);
            bool isFound = test.Matches(name);
            if (!isFound && type != NodeType.Directory)
            {
                return null;
            }

            int length = Append(level.PathLength, name);
            (byte[], Node)? found = isFound ? (_path.AsSpan(0, length).ToArray(), NodeFormat.Read(raw)) : null;
            level.IsFruitful |= isFound;
            if (type == NodeType.Directory)
            {
                Visit(name, NodePeek.Read(raw).SubtreeBytes, length);
            }

            return found;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            // Not barren: the next tree that has it tells of it again.
            SawEverything = false;
            level.IsFruitful = true;
            Leave(level);
            damaged(_path.AsSpan(0, level.PathLength).ToArray(), e);
            return null;
        }
    }

    private void Visit(ReadOnlySpan<byte> name, ReadOnlySpan<byte> subtree, int pathLength)
    {
        if (subtree.Length != ChunkId.Size)
        {
            throw TlvReader.Malformed("an entry lacks its content");
        }

        if (!test.MayMatchBelow(name))
        {
            SawEverything = false;
            return;
        }

        ChunkId tree = ChunkId.Read(subtree);
        if (!IsBarren(tree, pathLength, out UInt128 path))
        {
            test.Enter(name);
            _levels.Add(new Level(tree, path, pathLength));
        }
    }

    private bool IsBarren(ChunkId tree, int pathLength, out UInt128 path)
    {
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.Hash(_path.AsSpan(0, pathLength), digest);
        path = BinaryPrimitives.ReadUInt128BigEndian(digest);
        return _barren.Contains((tree, path));
    }

    // The root was not entered by a name.
    private void LeaveTest()
    {
        if (_levels.Count > 1)
        {
            test.Leave();
        }
    }

    private void Leave(Level level)
    {
        LeaveTest();
        _levels.RemoveAt(_levels.Count - 1);
        if (!level.IsFruitful)
        {
            _barren.Add((level.Tree, level.Path));
        }
        else if (_levels.Count > 0)
        {
            _levels[^1].IsFruitful = true;
        }
    }

    private int Append(int at, ReadOnlySpan<byte> name)
    {
        int length = at + 1 + name.Length;
        if (length > _path.Length)
        {
            Array.Resize(ref _path, length * 2);
        }

        _path[at] = (byte)'/';
        name.CopyTo(_path.AsSpan(at + 1));
        return length;
    }

    /// <summary>A folder that is being looked into, page by page.</summary>
    private sealed class Level(ChunkId tree, UInt128 path, int pathLength)
    {
        private IReadOnlyList<ChunkId>? _pages;
        private int _page = -1;
        private int _left;
        private ReadOnlyMemory<byte> _bytes;

        public ChunkId Tree { get; } = tree;

        public UInt128 Path { get; } = path;

        public int PathLength { get; } = pathLength;

        public bool IsFruitful { get; set; }

        /// <summary>Makes the next node ready; false when there is none.</summary>
        public bool Load(TreeReader trees, ReadMetadata read)
        {
            _pages ??= trees.PagesOf(Tree);
            while (_left == 0)
            {
                if (++_page >= _pages.Count)
                {
                    return false;
                }

                _bytes = Own(read(_pages[_page]));
                TlvReader reader = new(_bytes.Span);
                if (TreePage.ReadHead(ref reader, out _left) != TreePage.Nodes)
                {
                    throw TlvReader.Malformed("a list of pages stands where a page should");
                }

                _bytes = _bytes[^reader.Rest.Length..];
            }

            return true;
        }

        public ReadOnlySpan<byte> Next()
        {
            TlvReader reader = new(_bytes.Span);
            ReadOnlySpan<byte> node = reader.ReadBlock();
            _bytes = _bytes[^reader.Rest.Length..];
            _left--;
            return node;
        }

        // A copy, unless it has its array for itself: else a page would keep a whole frame alive.
        private static ReadOnlyMemory<byte> Own(ReadOnlyMemory<byte> bytes) =>
            MemoryMarshal.TryGetArray(bytes, out ArraySegment<byte> segment) && segment.Count == segment.Array!.Length ? bytes : bytes.ToArray();
    }
}
