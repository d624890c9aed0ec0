using System.Buffers.Binary;
using System.Runtime.InteropServices;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Engine.Diff;

/// <summary>
/// Finds what vanished at one path and appeared at another: files by their content, directories by their whole subtree. Of several with
/// one content, those that kept their own name belong together first, then the others in the order of their paths. Empty files and empty
/// directories are equal to too many others to say where they came from.
/// </summary>
/// <remarks>
/// Three looks keep memory bounded: the first keeps 8 bytes of every added and removed entry, the second the paths of those only that are
/// on both sides by these bytes, the third asks, in the same order, what became of each entry.
/// </remarks>
internal sealed class RenameFinder
{
    /// <summary>So many entries are looked at on each side: 32 MiB of fingerprints.</summary>
    private const int MaxFingerprints = 4 << 20;

    /// <summary>So many bytes of paths of candidates are held.</summary>
    private const long MaxCandidateBytes = 128 << 20;

    private const int CandidateCost = 160;

    private readonly ChunkId _emptyTree;
    private readonly List<ulong>[] _fingerprints = [[], []];
    private readonly HashSet<ulong> _shared = [];
    private readonly List<Candidate>[] _candidates = [[], []];
    private readonly int[] _next = [0, 0];
    private long _candidateBytes;

    public RenameFinder(RepositoryKeys keys)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(keys.MetadataIdKey, [TreePage.Version, TreePage.Nodes, 0], digest);
        _emptyTree = ChunkId.Read(digest);
    }

    /// <summary>There was too much to look at; nothing will be found.</summary>
    public bool IsOverwhelmed { get; private set; }

    /// <summary>First look: an entry that is on one side only.</summary>
    public void Note(Sides side, in NodePeek node)
    {
        List<ulong> seen = _fingerprints[Index(side)];
        if (TryIdentify(node, out ChunkId identity))
        {
            IsOverwhelmed |= seen.Count >= MaxFingerprints;
            if (!IsOverwhelmed)
            {
                seen.Add((ulong)identity.High);
            }
        }
    }

    /// <summary>After the first look; false when there is nothing to find.</summary>
    public bool Intersect()
    {
        if (!IsOverwhelmed && _fingerprints[0].Count > 0 && _fingerprints[1].Count > 0)
        {
            _fingerprints[0].Sort();
            Span<ulong> sorted = CollectionsMarshal.AsSpan(_fingerprints[0]);
            foreach (ulong fingerprint in _fingerprints[1])
            {
                if (sorted.BinarySearch(fingerprint) >= 0)
                {
                    _shared.Add(fingerprint);
                }
            }
        }

        _fingerprints[0] = _fingerprints[1] = [];
        return _shared.Count > 0;
    }

    /// <summary>Second look, in the same order; returns whether a directory is to be entered: not one that may have been renamed whole.</summary>
    public bool Collect(Sides side, ReadOnlySpan<byte> path, in NodePeek node)
    {
        if (IsOverwhelmed || !TryIdentify(node, out ChunkId identity) || !_shared.Contains((ulong)identity.High))
        {
            return true;
        }

        _candidateBytes += path.Length + CandidateCost;
        IsOverwhelmed = _candidateBytes > MaxCandidateBytes;
        _candidates[Index(side)].Add(new Candidate { Identity = identity, Path = path.ToArray() });
        return false;
    }

    /// <summary>After the second look.</summary>
    public void Match()
    {
        if (IsOverwhelmed)
        {
            _candidates[0] = _candidates[1] = [];
            return;
        }

        Dictionary<(ChunkId, UInt128), Queue<Candidate>> byName = [];
        Dictionary<ChunkId, Queue<Candidate>> byContent = [];
        foreach (Candidate removed in _candidates[Index(Sides.Before)])
        {
            Put(byName, (removed.Identity, NameOf(removed)), removed);
        }

        foreach (Candidate added in _candidates[Index(Sides.After)])
        {
            if (byName.TryGetValue((added.Identity, NameOf(added)), out Queue<Candidate>? same) && same.TryDequeue(out Candidate? removed))
            {
                Pair(removed, added);
            }
        }

        foreach (Candidate removed in _candidates[Index(Sides.Before)].Where(static removed => removed.Other is null))
        {
            Put(byContent, removed.Identity, removed);
        }

        foreach (Candidate added in _candidates[Index(Sides.After)].Where(static added => added.Other is null))
        {
            if (byContent.TryGetValue(added.Identity, out Queue<Candidate>? rest) && rest.TryDequeue(out Candidate? removed))
            {
                Pair(removed, added);
            }
        }
    }

    /// <summary>Third look, in the same order: the other path of an entry that was renamed, or null.</summary>
    public byte[]? OtherPath(Sides side, ReadOnlySpan<byte> path)
    {
        List<Candidate> candidates = _candidates[Index(side)];
        ref int next = ref _next[Index(side)];
        if (next >= candidates.Count || !candidates[next].Path.AsSpan().SequenceEqual(path))
        {
            return null;
        }

        return candidates[next++].Other?.Path;
    }

    private static int Index(Sides side) => side == Sides.Before ? 0 : 1;

    private static void Put<TKey>(Dictionary<TKey, Queue<Candidate>> queues, TKey key, Candidate candidate)
        where TKey : notnull
    {
        if (!queues.TryGetValue(key, out Queue<Candidate>? queue))
        {
            queues.Add(key, queue = new Queue<Candidate>());
        }

        queue.Enqueue(candidate);
    }

    private static void Pair(Candidate removed, Candidate added)
    {
        removed.Other = added;
        added.Other = removed;
    }

    private static UInt128 NameOf(Candidate candidate)
    {
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.Hash(candidate.Path.AsSpan(candidate.Path.AsSpan().LastIndexOf((byte)'/') + 1), digest);
        return BinaryPrimitives.ReadUInt128BigEndian(digest);
    }

    // What a file or directory is, wherever it stands. A file's stream names its chunks by their content.
    private bool TryIdentify(in NodePeek node, out ChunkId identity)
    {
        identity = default;
        if (node.Type == NodeType.Directory)
        {
            identity = ChunkId.Read(node.SubtreeBytes);
            return identity != _emptyTree;
        }

        if (node.Type != NodeType.File || node.Size == 0)
        {
            return false;
        }

        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.Hash(node.Stream, digest);
        identity = ChunkId.Read(digest);
        return true;
    }

    private sealed class Candidate
    {
        public required ChunkId Identity { get; init; }

        public required byte[] Path { get; init; }

        public Candidate? Other { get; set; }
    }
}
