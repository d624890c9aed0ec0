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

    private readonly string _folder;
    private readonly bool _ownsFolder;
    private readonly Lock _changes = new();
    private readonly HashSet<PackId> _marked = [];

    // Runs are only ever appended, and disposed with the index, so that handles stay valid; _active says which of them are searched.
    private volatile IndexRun[] _runs = [];
    private volatile int[] _active = [];

    internal ChunkIndex(string? cacheFolder)
    {
        _ownsFolder = cacheFolder is null;
        _folder = cacheFolder ?? Directory.CreateTempSubdirectory("backupiq-index-").FullName;
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(_folder);
        }
        else
        {
            Directory.CreateDirectory(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    /// <summary>Entries in all runs; a chunk that stands in two packs counts twice.</summary>
    public long EntryCount => _active.Sum(i => _runs[i].EntryCount);

    /// <summary>Names of the segments whose entries are here.</summary>
    public IEnumerable<string> Covered => _active.SelectMany(i => _runs[i].Covers);

    /// <summary>The packs that no new snapshot may rely on: marked for collection, or known to be damaged.</summary>
    public IReadOnlySet<PackId> MarkedPacks => _marked;

    internal string Folder => _folder;

    /// <summary>Finds a chunk for reading: in a pack that is not marked if possible, else in a marked one.</summary>
    public bool TryFind(PackKind kind, in ChunkId id, out ChunkLocation location) =>
        TryFind(kind, id, onlyUnmarked: true, out location) || (_marked.Count > 0 && TryFind(kind, id, onlyUnmarked: false, out location));

    /// <summary>Whether a new snapshot may rely on the chunk: it stands in a pack that is not marked.</summary>
    public bool IsPresent(PackKind kind, in ChunkId id) => TryFind(kind, id, onlyUnmarked: true, out _);

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
                    places.Insert(_marked.Contains(pack.Id) ? places.Count : unmarked++, new ChunkLocation(new FrameHandle((ushort)i, entry.Frame), entry.Offset, entry.Length));
                }
            }
        }

        return places;
    }

    /// <summary>How to fetch and open a frame.</summary>
    public FrameReference GetFrame(FrameHandle handle)
    {
        IndexRun run = _runs[handle.Run];
        FrameEntry frame = run.FrameAt(handle.Frame, out uint packNumber);
        PackEntry pack = run.PackAt(packNumber);
        return new FrameReference
        {
            Pack = pack.Id,
            Kind = pack.Kind,
            Offset = frame.Offset,
            StoredLength = frame.StoredLength,
            PlainLength = frame.PlainLength,
            Codec = frame.Codec,
            Counter = frame.Counter,
            Salt = run.SaltAt(pack.FirstSalt + frame.SaltRow),
        };
    }

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
                yield return GetFrame(new FrameHandle((ushort)i, f));
            }
        }
    }

    internal void Mark(PackId pack)
    {
        lock (_changes)
        {
            _marked.Add(pack);
        }
    }

    /// <summary>Takes over runs that an earlier process left in the cache, as far as they cover only segments that are still there.</summary>
    internal void AdoptCached(IReadOnlySet<string> segments)
    {
        List<IndexRun> found = [];
        foreach (string path in Directory.EnumerateFiles(_folder, "*.run"))
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

    /// <summary>Adds a segment's plain bytes, which are checked first, as a run.</summary>
    internal void Add(IReadOnlyList<string> covers, ReadOnlySpan<byte> plain)
    {
        IndexRun.Validate(plain);
        string path = Path.Combine(_folder, $"{SessionId.New()}.run");
        IndexRun.Write(path, plain, covers);
        lock (_changes)
        {
            Activate(IndexRun.Open(path));
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
        if (_ownsFolder)
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private bool TryFind(PackKind kind, in ChunkId id, bool onlyUnmarked, out ChunkLocation location)
    {
        IndexRun[] runs = _runs;
        foreach (int i in _active)
        {
            IndexRun run = runs[i];
            for (long at = run.Find(id.High); at >= 0 && at < run.EntryCount; at++)
            {
                IndexEntry entry = run.EntryAt((ulong)at);
                if (entry.Prefix != id.High)
                {
                    break;
                }

                run.FrameAt(entry.Frame, out uint packNumber);
                PackEntry pack = run.PackAt(packNumber);
                if (pack.Kind == kind && !(onlyUnmarked && _marked.Count > 0 && _marked.Contains(pack.Id)))
                {
                    location = new ChunkLocation(new FrameHandle((ushort)i, entry.Frame), entry.Offset, entry.Length);
                    return true;
                }
            }
        }

        location = default;
        return false;
    }

    private void Activate(IndexRun run)
    {
        for (uint i = 0; i < run.Layout.Tombstones; i++)
        {
            _marked.Add(run.TombstoneAt(i));
        }

        _runs = [.. _runs, run];
        _active = [.. _active, _runs.Length - 1];
    }

    // Merges the smallest runs, so that each entry is rewritten a logarithmic number of times.
    private void MergeIfMany()
    {
        if (_active.Length <= MaxRuns)
        {
            return;
        }

        int[] bySize = [.. _active.OrderBy(i => _runs[i].EntryCount)];
        int count = 2;
        long sum = _runs[bySize[0]].EntryCount + _runs[bySize[1]].EntryCount;
        while (count < bySize.Length && _runs[bySize[count]].EntryCount <= sum * 2)
        {
            sum += _runs[bySize[count++]].EntryCount;
        }

        IndexRun[] merged = [.. bySize.Take(count).Select(i => _runs[i])];
        string path = Path.Combine(_folder, $"{SessionId.New()}.run");
        IndexMerge.Write(path, merged);
        IndexRun run = IndexRun.Open(path);
        _runs = [.. _runs, run];
        _active = [.. _active.Except(bySize.Take(count)), _runs.Length - 1];
        foreach (IndexRun old in merged)
        {
            DeleteQuietly(old.Path);
        }
    }

    private static void DeleteQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another process may use the same cache; what stays is looked at again next time.
        }
    }
}
