using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance;

/// <summary>What the index and the packs say of a chunk.</summary>
public enum ChunkFate
{
    /// <summary>A pack has it, as far as has been looked.</summary>
    Present,

    /// <summary>The index knows it, but no pack that has it is whole there.</summary>
    Lost,

    /// <summary>Nothing knows it.</summary>
    Missing,
}

/// <summary>
/// The whole index of a repository as one sorted, memory-mapped run of its own (never the cache's: that could hide a damaged segment), with
/// a bit for each entry and frame. Built once, then asked and marked from any thread.
/// </summary>
internal sealed class CheckIndex : IDisposable
{
    private const int MergeAt = 32;

    private readonly string _folder;
    private readonly List<IndexRun> _pending = [];
    private readonly Dictionary<PackId, CheckedPack> _packs = [];
    private readonly HashSet<PackId> _tombstones = [];
    private IndexRun? _run;
    private CheckedPack[] _byNumber = [];
    private uint[] _firstFrame = [];
    private uint[] _frameCount = [];
    private AtomicBits _listed = new(0);
    private AtomicBits _badFrames = new(0);
    private AtomicBits _badEntries = new(0);
    private AtomicBits _visited = new(0);

    public CheckIndex() => _folder = Directory.CreateTempSubdirectory("backupiq-check-").FullName;

    public IReadOnlyDictionary<PackId, CheckedPack> Packs => _packs;

    public long EntryCount => _run?.EntryCount ?? 0;

    /// <summary>
    /// Adds a segment's plain bytes. Segments that come later have higher pack numbers. <paramref name="isVouchedFor"/>: its session is announced.
    /// </summary>
    /// <exception cref="CorruptDataException">They are not an index segment.</exception>
    public void Add(ReadOnlySpan<byte> plain, bool isRecovered, bool isVouchedFor)
    {
        IndexRun.Validate(plain);
        string path = NewPath();
        IndexRun.Write(path, plain, []);
        IndexRun run = IndexRun.Open(path);
        _pending.Add(run);
        for (uint i = 0; i < run.Layout.Packs; i++)
        {
            PackEntry entry = run.PackAt(i);
            if (!_packs.TryGetValue(entry.Id, out CheckedPack? pack))
            {
                pack = new CheckedPack(entry.Id, entry.Kind) { IndexedSize = entry.Size, IsUnindexed = isRecovered };
                _packs.Add(entry.Id, pack);
            }
            else if (pack.IndexedSize != entry.Size || pack.Kind != entry.Kind)
            {
                pack.Report("two index segments disagree on its size or kind");
            }

            pack.IsVouchedFor |= isVouchedFor;
        }

        for (uint i = 0; i < run.Layout.Tombstones; i++)
        {
            _tombstones.Add(run.TombstoneAt(i));
        }

        // Neighbours of like size are merged, so that each entry is rewritten a logarithmic number of times and numbers keep their order.
        while (_pending.Count >= MergeAt && _pending[^MergeAt].EntryCount <= MergeAt * (_pending[^1].EntryCount + 1024))
        {
            MergeLast(MergeAt);
        }
    }

    /// <summary>Adds a pack that the storage lists and no segment names; its contents cannot be read either.</summary>
    public CheckedPack AddUnknown(PackId id, PackKind kind)
    {
        CheckedPack pack = new(id, kind) { IsUnindexed = true };
        _packs.Add(id, pack);
        return pack;
    }

    /// <summary>Makes one run of all that was added.</summary>
    public void Complete()
    {
        foreach (PackId tombstone in _tombstones)
        {
            if (_packs.TryGetValue(tombstone, out CheckedPack? pack))
            {
                pack.IsMarked = true;
            }
        }

        if (_pending.Count > 1)
        {
            MergeLast(_pending.Count);
        }

        if (_pending.Count == 0)
        {
            return;
        }

        _run = _pending[0];
        _pending.Clear();
        _byNumber = new CheckedPack[_run.Layout.Packs];
        _firstFrame = new uint[_run.Layout.Packs];
        _frameCount = new uint[_run.Layout.Packs];
        for (uint i = 0; i < _byNumber.Length; i++)
        {
            _byNumber[i] = _packs[_run.PackAt(i).Id];
            _byNumber[i].Numbers.Add(i);
        }

        _listed = new AtomicBits(_run.EntryCount);
        _badEntries = new AtomicBits(_run.EntryCount);
        _visited = new AtomicBits(_run.EntryCount);
        _badFrames = new AtomicBits(_run.Layout.Frames);
        for (uint f = 0; f < _run.Layout.Frames; f++)
        {
            _run.FrameAt(f, out uint pack);
            if (_frameCount[pack] == 0)
            {
                _firstFrame[pack] = f;
            }

            if (f == _firstFrame[pack] + _frameCount[pack])
            {
                _frameCount[pack]++;
            }
            else
            {
                _byNumber[pack].Report("the index scatters its frames");
                _badFrames.Set(f);
            }
        }
    }

    /// <summary>
    /// Where a chunk can be read: <paramref name="entry"/> is an entry that is not known to be bad, or, when the chunk is lost, the first.
    /// Packs that the index names and nobody has marked count before others. -1 for "any length".
    /// </summary>
    public ChunkFate Find(PackKind kind, in ChunkId id, long length, out long entry, out CheckedPack? pack)
    {
        entry = -1;
        pack = null;
        long second = -1;
        for (long at = _run?.Find(id.High) ?? -1; at >= 0 && at < _run!.EntryCount; at++)
        {
            IndexEntry found = _run.EntryAt((ulong)at);
            if (found.Prefix != id.High)
            {
                break;
            }

            _run.FrameAt(found.Frame, out uint number);
            CheckedPack owner = _byNumber[number];
            if (owner.Kind != kind || (length >= 0 && found.Length != length))
            {
                continue;
            }

            bool isGood = !owner.IsMissing && !_badFrames[found.Frame] && !_badEntries[at];
            if (isGood && !owner.IsUnindexed && !owner.IsMarked)
            {
                entry = at;
                pack = owner;
                return ChunkFate.Present;
            }

            if (isGood && second < 0)
            {
                second = at;
            }

            if (entry < 0)
            {
                entry = at;
                pack = owner;
            }
        }

        if (second >= 0)
        {
            entry = second;
            pack = PackOf(second);
            return ChunkFate.Present;
        }

        return entry >= 0 ? ChunkFate.Lost : ChunkFate.Missing;
    }

    /// <summary>The first entry of a chunk: its number in every map of what was visited. -1 when there is none.</summary>
    public long NumberOf(in ChunkId id) => _run?.Find(id.High) ?? -1;

    /// <summary>True for the first who comes to this entry.</summary>
    public bool Visit(long entry) => _visited.Set(entry);

    public void MarkBadEntry(long entry) => _badEntries.Set(entry);

    public IndexEntry EntryAt(long entry) => _run!.EntryAt((ulong)entry);

    public FrameReference FrameAt(uint frame) => _run!.ReferenceAt(frame);

    /// <summary>Marks the <paramref name="frame"/>th frame of a pack as one that does not open.</summary>
    public void MarkBadFrame(CheckedPack pack, int frame)
    {
        foreach (uint number in pack.Numbers)
        {
            if (frame < _frameCount[number])
            {
                _badFrames.Set(_firstFrame[number] + frame);
            }
        }
    }

    /// <summary>Marks all frames of a pack as ones that cannot be read.</summary>
    public void MarkBadFrames(CheckedPack pack)
    {
        foreach (uint number in pack.Numbers)
        {
            for (uint f = 0; f < _frameCount[number]; f++)
            {
                _badFrames.Set(_firstFrame[number] + f);
            }
        }
    }

    /// <summary>Marks a chunk of a frame of a pack as one that is not what its id says.</summary>
    public void MarkBadChunk(CheckedPack pack, int frame, in PlannedChunk chunk)
    {
        foreach (uint number in pack.Numbers)
        {
            long entry = EntryOf(_firstFrame[number] + (uint)frame, chunk);
            if (entry >= 0)
            {
                _badEntries.Set(entry);
            }
        }
    }

    /// <summary>Compares a pack's contents with the index: each frame and chunk that the pack lists must stand in the index, as it is.</summary>
    public void Compare(CheckedPack pack, PackPlan plan)
    {
        foreach (uint number in pack.Numbers)
        {
            Compare(pack, plan, number);
        }

        pack.IsCompared = true;
    }

    /// <summary>The other way round, once all packs are compared: each entry of the index must stand in a pack's contents.</summary>
    public void CompareBack(CancellationToken cancellationToken)
    {
        for (long e = 0; e < EntryCount; e++)
        {
            if ((e & 0xFFFFF) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            if (!_listed[e] && PackOf(e) is { IsCompared: true } pack)
            {
                _badEntries.Set(e);
                pack.Report("the index names chunks in it that its contents table does not");
            }
        }
    }

    /// <summary>Frames and chunks of packs as the index has them, for packs whose own tables cannot be read. One pass over the index.</summary>
    public Dictionary<CheckedPack, PackPlan> PlansOf(IEnumerable<CheckedPack> packs, CancellationToken cancellationToken)
    {
        Dictionary<uint, (CheckedPack Pack, List<PlannedChunk>[] Chunks)> wanted = [];
        foreach (CheckedPack pack in packs)
        {
            if (pack.Numbers.Count > 0)
            {
                uint number = pack.Numbers[0];
                List<PlannedChunk>[] chunks = new List<PlannedChunk>[_frameCount[number]];
                for (int i = 0; i < chunks.Length; i++)
                {
                    chunks[i] = [];
                }

                wanted.Add(number, (pack, chunks));
            }
        }

        for (long e = 0; e < EntryCount && wanted.Count > 0; e++)
        {
            if ((e & 0xFFFFF) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            IndexEntry entry = EntryAt(e);
            _run!.FrameAt(entry.Frame, out uint number);
            if (wanted.TryGetValue(number, out (CheckedPack Pack, List<PlannedChunk>[] Chunks) at) && entry.Frame - _firstFrame[number] < at.Chunks.Length)
            {
                at.Chunks[entry.Frame - _firstFrame[number]].Add(new PlannedChunk(new ChunkId(entry.Prefix, 0), entry.Offset, entry.Length));
            }
        }

        Dictionary<CheckedPack, PackPlan> plans = [];
        foreach ((uint number, (CheckedPack pack, List<PlannedChunk>[] chunks)) in wanted)
        {
            plans.Add(pack, PlanOf(number, chunks));
        }

        return plans;
    }

    /// <summary>The salts that the index gives a pack.</summary>
    public bool HasSalts(CheckedPack pack, IReadOnlyList<SaltRow> salts)
    {
        foreach (uint number in pack.Numbers)
        {
            PackEntry entry = _run!.PackAt(number);
            for (int i = 0; i < Math.Max((int)entry.SaltCount, salts.Count); i++)
            {
                if (i >= entry.SaltCount || i >= salts.Count || _run.SaltAt(entry.FirstSalt + (uint)i) != salts[i])
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _run?.Dispose();
        _pending.ForEach(static r => r.Dispose());
        Directory.Delete(_folder, recursive: true);
    }

    private string NewPath() => Path.Combine(_folder, $"{SessionId.New()}.run");

    private void MergeLast(int count)
    {
        List<IndexRun> merged = _pending.GetRange(_pending.Count - count, count);
        string path = NewPath();
        IndexMerge.Write(path, merged);
        _pending.RemoveRange(_pending.Count - count, count);
        _pending.Add(IndexRun.Open(path));
        foreach (IndexRun old in merged)
        {
            old.Dispose();
            File.Delete(old.Path!);
        }
    }

    private CheckedPack PackOf(long entry)
    {
        _run!.FrameAt(_run.EntryAt((ulong)entry).Frame, out uint number);
        return _byNumber[number];
    }

    private long EntryOf(uint frame, in PlannedChunk chunk)
    {
        for (long at = _run!.Find(chunk.Id.High); at >= 0 && at < _run.EntryCount; at++)
        {
            IndexEntry entry = _run.EntryAt((ulong)at);
            if (entry.Prefix != chunk.Id.High)
            {
                break;
            }

            if (entry.Frame == frame && entry.Offset == chunk.Offset && entry.Length == chunk.Length)
            {
                return at;
            }
        }

        return -1;
    }

    private void Compare(CheckedPack pack, PackPlan plan, uint number)
    {
        if (plan.Frames.Count != _frameCount[number])
        {
            pack.Report($"it lists {plan.Frames.Count} frames where the index has {_frameCount[number]}");
        }

        for (int f = 0; f < plan.Frames.Count; f++)
        {
            uint frame = _firstFrame[number] + (uint)f;
            if (f < _frameCount[number] && _run!.FrameAt(frame, out _) != plan.Frames[f])
            {
                _badFrames.Set(frame);
                pack.Report($"its {f + 1}. frame is not where the index says");
            }

            for (int c = plan.FirstChunk[f]; c < plan.FirstChunk[f + 1]; c++)
            {
                long entry = f < _frameCount[number] ? EntryOf(frame, plan.Chunks[c]) : -1;
                if (entry < 0)
                {
                    pack.Report("it lists chunks that the index does not");
                }
                else
                {
                    _listed.Set(entry);
                }
            }
        }
    }

    private PackPlan PlanOf(uint number, List<PlannedChunk>[] chunks)
    {
        PackEntry entry = _run!.PackAt(number);
        SaltRow[] salts = new SaltRow[entry.SaltCount];
        for (int i = 0; i < salts.Length; i++)
        {
            salts[i] = _run.SaltAt(entry.FirstSalt + (uint)i);
        }

        PackPlan plan = new(salts, hasWholeIds: false);
        for (int f = 0; f < chunks.Length; f++)
        {
            chunks[f].Sort(static (a, b) => a.Offset.CompareTo(b.Offset));
            plan.Add(_run.FrameAt(_firstFrame[number] + (uint)f, out _), chunks[f]);
        }

        return plan;
    }
}
