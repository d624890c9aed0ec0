using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Index;

/// <summary>
/// Where every chunk is: the repository's index segments as memory-mapped runs of the local cache, merged like an LSM tree. Look-ups may
/// come from any thread; segments are added by one at a time. Resident memory is a filter of some 10 bits a chunk; the rest is page cache.
/// </summary>
public sealed class ChunkIndex : IDisposable
{
    /// <summary>More runs than this are merged: a look-up asks each run's filter.</summary>
    private const int MaxRuns = 8;

    /// <summary>A segment up to this size needs no file where there is no cache that it could serve later.</summary>
    private const int MaxInMemory = 256 << 10;

    private readonly Lazy<string> _folder;
    private readonly bool _ownsFolder;
    private readonly Lock _changes = new();

    // Runs are only ever appended, and disposed with the index, so that handles stay valid; _active says which of them are searched.
    private volatile IndexRun[] _runs = [];
    private volatile int[] _active = [];
    private volatile bool _hasUnvouched;

    // Replaced whole, never changed: look-ups take no lock.
    private volatile HashSet<PackId> _marked = [];

    internal ChunkIndex(string? cacheFolder)
    {
        _ownsFolder = cacheFolder is null;
        _folder = new Lazy<string>(() => MakeFolder(cacheFolder));
    }

    /// <summary>Entries in all runs; a chunk that stands in two packs counts twice.</summary>
    public long EntryCount => _active.Sum(i => _runs[i].EntryCount);

    /// <summary>Names of the segments whose entries are here.</summary>
    public IEnumerable<string> Covered => _active.SelectMany(i => _runs[i].Covers);

    /// <summary>The packs that no new snapshot may rely on: marked for collection, or known to be damaged.</summary>
    public IReadOnlySet<PackId> MarkedPacks => _marked;

    /// <summary>Finds a chunk for reading: in a pack that is not marked if possible, else in a marked one.</summary>
    public bool TryFind(PackKind kind, in ChunkId id, out ChunkLocation location) =>
        TryFind(kind, id, onlyUnmarked: true, out location) ||
        ((_marked.Count > 0 || _hasUnvouched) && TryFind(kind, id, onlyUnmarked: false, out location));

    /// <summary>Whether a new snapshot may rely on the chunk: it stands in a pack that is not marked.</summary>
    public bool IsPresent(PackKind kind, in ChunkId id) => TryFind(kind, id, onlyUnmarked: true, out _);

    /// <summary>The same, and where.</summary>
    internal bool IsPresent(PackKind kind, in ChunkId id, out ChunkLocation location) => TryFind(kind, id, onlyUnmarked: true, out location);

    /// <summary>Every place of a chunk, for when the first one turns out to be damaged; those in packs that are not marked come first.</summary>
    public IReadOnlyList<ChunkLocation> FindAll(PackKind kind, in ChunkId id)
    {
        List<ChunkLocation> places = [];
        int unmarked = 0;
        IndexRun[] runs = _runs;
        foreach (int i in _active)
        {
            for (long at = runs[i].Find(id.High); at >= 0 && at < runs[i].EntryCount; at++)
            {
                IndexEntry entry = runs[i].EntryAt((ulong)at);
                if (entry.Prefix != id.High)
                {
                    break;
                }

                runs[i].FrameAt(entry.Frame, out uint packNumber);
                PackEntry pack = runs[i].PackAt(packNumber);
                if (pack.Kind == kind)
                {
                    places.Insert(_marked.Contains(pack.Id) ? places.Count : unmarked++, new ChunkLocation(new FrameHandle(i, entry.Frame), entry.Offset, entry.Length));
                }
            }
        }

        return places;
    }

    /// <summary>How to fetch and open a frame.</summary>
    public FrameReference GetFrame(FrameHandle handle) => _runs[handle.Run].ReferenceAt(handle.Frame);

    /// <summary>Every pack that the index names, with its size; one that two segments name comes twice.</summary>
    public IEnumerable<(PackId Id, PackKind Kind, long Size)> Packs()
    {
        foreach (int i in _active)
        {
            IndexRun run = _runs[i];
            for (uint p = 0; p < run.Layout.Packs; p++)
            {
                PackEntry pack = run.PackAt(p);
                yield return (pack.Id, pack.Kind, (long)pack.Size);
            }
        }
    }

    /// <summary>Every entry as (pack, prefix, length, frame): for check and statistics, not for look-ups.</summary>
    internal IEnumerable<(PackEntry Pack, FrameEntry Frame, IndexEntry Entry)> Entries()
    {
        foreach (int i in _active)
        {
            IndexRun run = _runs[i];
            for (ulong e = 0; e < (ulong)run.EntryCount; e++)
            {
                IndexEntry entry = run.EntryAt(e);
                FrameEntry frame = run.FrameAt(entry.Frame, out uint pack);
                yield return (run.PackAt(pack), frame, entry);
            }
        }
    }

    /// <summary>Every frame of every pack that the index names.</summary>
    public IEnumerable<FrameReference> Frames()
    {
        foreach (int i in _active)
        {
            for (uint f = 0; f < _runs[i].Layout.Frames; f++)
            {
                yield return GetFrame(new FrameHandle(i, f));
            }
        }
    }

    /// <summary>How much is stored under each key epoch, the oldest first: stored bytes of frames, by the epoch of the master that seals them.</summary>
    public IReadOnlyList<EpochShare> SharesByEpoch()
    {
        SortedDictionary<ushort, EpochShare> shares = [];
        Dictionary<PackId, int> describedBy = [];
        foreach (int i in _active)
        {
            for (uint f = 0; f < _runs[i].Layout.Frames; f++)
            {
                FrameReference frame = GetFrame(new FrameHandle(i, f));
                if (!describedBy.TryAdd(frame.Pack, i) && describedBy[frame.Pack] != i)
                {
                    // Several segments may describe one pack, alike.
                    continue;
                }

                EpochShare share = shares.GetValueOrDefault(frame.Salt.Epoch) ?? new EpochShare(frame.Salt.Epoch, 0, 0);
                shares[frame.Salt.Epoch] = share with { Frames = share.Frames + 1, StoredBytes = share.StoredBytes + frame.StoredLength };
            }
        }

        return [.. shares.Values];
    }

    internal void Mark(IReadOnlyCollection<PackId> packs)
    {
        if (packs.Count > 0)
        {
            lock (_changes)
            {
                _marked = [.. _marked, .. packs];
            }
        }
    }

    // Without a cache a folder is only made for what is too large to be held in memory.
    private static string MakeFolder(string? cacheFolder)
    {
        if (cacheFolder is null)
        {
            return Directory.CreateTempSubdirectory("backupiq-index-").FullName;
        }

        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(cacheFolder);
        }
        else
        {
            Directory.CreateDirectory(cacheFolder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        return cacheFolder;
    }

    /// <summary>Takes over runs that an earlier process left in the cache, as far as they cover only segments that are still there.</summary>
    internal void AdoptCached(IReadOnlySet<string> segments)
    {
        if (_ownsFolder)
        {
            return;
        }

        List<IndexRun> found = [];
        foreach (string path in Directory.EnumerateFiles(_folder.Value, "*.run"))
        {
            try
            {
                IndexRun run = IndexRun.Open(path);
                if (run.Covers.Count > 0 && run.Covers.All(segments.Contains))
                {
                    found.Add(run);
                    continue;
                }

                run.Dispose();
            }
            catch (Exception e) when (e is CorruptDataException or IOException or UnauthorizedAccessException)
            {
                // The cache is only a cache: what cannot be used is fetched again.
            }

            DeleteQuietly(path);
        }

        HashSet<string> covered = [];
        foreach (IndexRun run in found.OrderByDescending(r => r.Covers.Count))
        {
            if (run.Covers.Any(covered.Contains))
            {
                run.Dispose();
                continue;
            }

            covered.UnionWith(run.Covers);
            Activate(run);
        }
    }

    /// <summary>
    /// Adds a segment's plain bytes, which are checked first, as a run. What nobody vouches for (<paramref name="isVouchedFor"/> false) can be
    /// read, but no new snapshot may rely on it.
    /// </summary>
    internal void Add(IReadOnlyList<string> covers, ReadOnlySpan<byte> plain, bool isVouchedFor = true)
    {
        IndexRun.Validate(plain);
        IndexRun run;
        if (_ownsFolder && plain.Length <= MaxInMemory)
        {
            run = IndexRun.InMemory(plain, covers);
        }
        else
        {
            string path = Path.Combine(_folder.Value, $"{SessionId.New()}.run");
            IndexRun.Write(path, plain, covers);
            run = IndexRun.Open(path);
        }

        run.IsVouchedFor = isVouchedFor;
        lock (_changes)
        {
            Activate(run);
            MergeIfMany();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IndexRun run in _runs)
        {
            run.Dispose();
        }

        _runs = [];
        _active = [];
        if (_ownsFolder && _folder.IsValueCreated)
        {
            Directory.Delete(_folder.Value, recursive: true);
        }
    }

    private bool TryFind(PackKind kind, in ChunkId id, bool onlyUnmarked, out ChunkLocation location)
    {
        IndexRun[] runs = _runs;
        HashSet<PackId> marked = _marked;
        foreach (int i in _active)
        {
            IndexRun run = runs[i];
            if (onlyUnmarked && !run.IsVouchedFor)
            {
                continue;
            }

            for (long at = run.Find(id.High); at >= 0 && at < run.EntryCount; at++)
            {
                IndexEntry entry = run.EntryAt((ulong)at);
                if (entry.Prefix != id.High)
                {
                    break;
                }

                run.FrameAt(entry.Frame, out uint packNumber);
                PackEntry pack = run.PackAt(packNumber);
                if (pack.Kind == kind && !(onlyUnmarked && marked.Count > 0 && marked.Contains(pack.Id)))
                {
                    location = new ChunkLocation(new FrameHandle(i, entry.Frame), entry.Offset, entry.Length);
                    return true;
                }
            }
        }

        location = default;
        return false;
    }

    private void Activate(IndexRun run)
    {
        PackId[] tombstones = new PackId[run.Layout.Tombstones];
        for (uint i = 0; i < tombstones.Length; i++)
        {
            tombstones[i] = run.TombstoneAt(i);
        }

        Mark(tombstones);
        _hasUnvouched |= !run.IsVouchedFor;
        _runs = [.. _runs, run];
        _active = [.. _active, _runs.Length - 1];
    }

    // Merges the smallest runs, so that each entry is rewritten a logarithmic number of times.
    private void MergeIfMany()
    {
        // What nobody vouches for stays apart: the cache must not lend it credit.
        int[] bySize = [.. _active.Where(i => _runs[i].IsVouchedFor).OrderBy(i => _runs[i].EntryCount)];
        if (bySize.Length <= MaxRuns)
        {
            return;
        }

        int count = 2;
        long sum = _runs[bySize[0]].EntryCount + _runs[bySize[1]].EntryCount;
        while (count < bySize.Length && _runs[bySize[count]].EntryCount <= sum * 2)
        {
            sum += _runs[bySize[count++]].EntryCount;
        }

        IndexRun[] merged = [.. bySize.Take(count).Select(i => _runs[i])];
        string path = Path.Combine(_folder.Value, $"{SessionId.New()}.run");
        IndexMerge.Write(path, merged);
        IndexRun run = IndexRun.Open(path);
        _runs = [.. _runs, run];
        _active = [.. _active.Except(bySize.Take(count)), _runs.Length - 1];
        foreach (IndexRun old in merged)
        {
            old.Rest();
            DeleteQuietly(old.Path);
        }
    }

    private static void DeleteQuietly(string? path)
    {
        try
        {
            if (path is not null)
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another process may use the same cache; what stays is looked at again next time.
        }
    }
}

/// <summary>What is stored under one key epoch.</summary>
/// <param name="Epoch">Its number.</param>
/// <param name="Frames">Frames.</param>
/// <param name="StoredBytes">Their bytes as stored.</param>
public sealed record EpochShare(ushort Epoch, long Frames, long StoredBytes);
