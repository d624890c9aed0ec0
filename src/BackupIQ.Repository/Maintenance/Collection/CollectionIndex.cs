using System.Buffers.Binary;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// The whole index as a collector needs it: every entry of every segment, from the storage itself and never from a cache, memory-mapped, with
/// a few bits for each entry. What a hundred million chunks cost in memory is those bits and a filter. Asked and marked from any thread;
/// built by one.
/// </summary>
internal sealed class CollectionIndex : IDisposable
{
    private const int MergeAt = 32;

    /// <summary>Segments that are together smaller need no file. What is put together of them is no array of the large heap.</summary>
    private const long MaxInMemory = 80 << 10;

    private readonly Lazy<string> _folder;
    private readonly Dictionary<PackId, CollectedPack> _packs = [];
    private readonly List<IndexTier> _tiers = [];
    private readonly List<IndexRun> _pending = [];

    public CollectionIndex(string? scratchFolder)
    {
        _folder = new Lazy<string>(() => scratchFolder is null
            ? Directory.CreateTempSubdirectory("backupiq-prune-").FullName
            : Directory.CreateDirectory(Path.Combine(scratchFolder, $"prune-{SessionId.New()}")).FullName);
    }

    public IReadOnlyDictionary<PackId, CollectedPack> Packs => _packs;

    public IReadOnlyList<IndexTier> Tiers => _tiers;

    /// <summary>Chunks and copies of chunks.</summary>
    public long EntryCount => _tiers.Sum(static t => t.Run.EntryCount);

    /// <summary>The pack of this name, which comes into being when nobody knows it yet.</summary>
    public CollectedPack PackOf(PackId id, PackKind kind)
    {
        if (!_packs.TryGetValue(id, out CollectedPack? pack))
        {
            pack = new CollectedPack(id, kind);
            _packs.Add(id, pack);
        }

        return pack;
    }

    /// <summary>
    /// Reads what a segment names. Its entries are taken in only when it names a pack whose entries are not here yet. Greater segments of what
    /// is read together come first.
    /// </summary>
    /// <exception cref="CorruptDataException">It is malformed, or says of a pack what another segment does not.</exception>
    public void Add(SegmentRecord segment, ReadOnlySpan<byte> plain)
    {
        IndexRun.Validate(plain);
        IndexLayout layout = IndexLayout.ReadHead(plain, plain.Length);
        segment.PlainSize = plain.Length;
        segment.Packs = new CollectedPack[layout.Packs];
        bool isNew = false;
        for (uint i = 0; i < layout.Packs; i++)
        {
            PackEntry entry = PackEntry.Read(plain[(int)(layout.PacksAt + (i * (long)PackEntry.EncodedSize))..]);
            CollectedPack pack = PackOf(entry.Id, entry.Kind);
            isNew |= pack.IndexedSize < 0;
            if (pack.Kind != entry.Kind || (pack.IndexedSize >= 0 && pack.IndexedSize != (long)entry.Size))
            {
                throw new CorruptDataException($"Two index segments disagree about pack {entry.Id}; one of them is {segment.Key}.");
            }

            pack.IndexedSize = (long)entry.Size;
            segment.Packs[i] = pack;
        }

        CountRecords(segment, layout, plain);

        segment.Tombstones = new PackId[layout.Tombstones];
        for (uint i = 0; i < layout.Tombstones; i++)
        {
            segment.Tombstones[i] = PackId.Read(plain[(int)(layout.TombstonesAt + (i * (long)PackId.Size))..]);
        }

        if (isNew)
        {
            AddRun(plain);
        }
    }

    /// <summary>Makes a tier of what was added since the last one.</summary>
    public void CompleteTier()
    {
        if (_pending.Count == 0)
        {
            return;
        }

        if (_pending.Count > 1)
        {
            Merge(_pending.Count);
        }

        IndexTier tier = new(_pending[0], id => _packs[id]);
        _pending.Clear();
        Inherit(tier);
        _tiers.Add(tier);
    }

    /// <summary>
    /// Notes that a snapshot needs a chunk. False when no pack that is there has it. <paramref name="length"/> -1: any, for metadata is named
    /// without.
    /// </summary>
    public bool Need(PackKind kind, in ChunkId id, long length)
    {
        bool isThere = false;
        foreach (IndexTier tier in _tiers)
        {
            for (long at = tier.Run.Find(id.High); at >= 0 && at < tier.Run.EntryCount; at++)
            {
                IndexEntry entry = tier.Run.EntryAt((ulong)at);
                if (entry.Prefix != id.High)
                {
                    break;
                }

                tier.PackOf(entry, out CollectedPack pack);
                if (pack.Kind == kind && (length < 0 || entry.Length == length))
                {
                    tier.Needed.Set(at);
                    isThere |= pack.IsThere && !tier.Bad[at];
                }
            }
        }

        return isThere;
    }

    /// <summary>True for the first who follows this chunk as such; also when nothing knows it, for then it cannot be remembered.</summary>
    public bool Visit(GraphPart part, bool isHint, in ChunkId id)
    {
        foreach (IndexTier tier in _tiers)
        {
            long at = tier.Run.Find(id.High);
            if (at >= 0)
            {
                return (isHint ? tier.VisitedAsHint : tier.Visited)[(int)part].Set(at);
            }
        }

        return true;
    }

    /// <summary>Copies of a metadata chunk that are worth trying, those that new snapshots may rely on first.</summary>
    public List<(IndexTier Tier, long Entry)> Copies(in ChunkId id)
    {
        List<(IndexTier, long)> copies = [];
        int preferred = 0;
        foreach (IndexTier tier in _tiers)
        {
            for (long at = tier.Run.Find(id.High); at >= 0 && at < tier.Run.EntryCount; at++)
            {
                IndexEntry entry = tier.Run.EntryAt((ulong)at);
                if (entry.Prefix != id.High)
                {
                    break;
                }

                if (tier.PackOf(entry, out CollectedPack pack) is null || pack.Kind != PackKind.Metadata || !pack.IsThere || tier.Bad[at])
                {
                    continue;
                }

                copies.Insert(pack.IsHolder ? preferred++ : copies.Count, (tier, at));
            }
        }

        return copies;
    }

    /// <summary>
    /// Decides, for every chunk that is needed, which copy counts: one in a pack that holds for new snapshots too; where there is none, one
    /// that can be read, in a pack that may go if possible, from where it then has to be copied. Then adds up what is live in each pack.
    /// </summary>
    /// <returns>Needed chunks that no pack has.</returns>
    public long Choose(ProtocolSwitches switches, CancellationToken cancellationToken)
    {
        foreach (CollectedPack pack in _packs.Values)
        {
            pack.LiveChunks = pack.OnlyHere = pack.FrameBytes = pack.LiveBytes = pack.DeadInWhole = 0;
        }

        _tiers.ForEach(static t => t.ClearLive());
        Chooser chooser = new(_tiers, switches);
        chooser.Pass(isFirst: true, cancellationToken);
        long lost = chooser.Pass(isFirst: false, cancellationToken);
        foreach (IndexTier tier in _tiers)
        {
            AddUp(tier);
        }

        return lost;
    }

    /// <summary>Whether this chunk of a frame of a pack is the copy that counts.</summary>
    public static bool IsLive(CollectedPack pack, int frame, in PlannedChunk chunk)
    {
        IndexTier tier = pack.Tier!;
        uint number = tier.Frames.First(pack.Number) + (uint)frame;
        for (long at = tier.Run.Find(chunk.Id.High); at >= 0 && at < tier.Run.EntryCount; at++)
        {
            IndexEntry entry = tier.Run.EntryAt((ulong)at);
            if (entry.Prefix != chunk.Id.High)
            {
                return false;
            }

            if (entry.Frame == number && entry.Offset == chunk.Offset && entry.Length == chunk.Length)
            {
                return tier.Live[at];
            }
        }

        return false;
    }

    public static FrameReference FrameAt(IndexTier tier, uint frame) => tier.Run.ReferenceAt(frame);

    /// <inheritdoc/>
    public void Dispose()
    {
        _tiers.ForEach(static t => t.Dispose());
        _pending.ForEach(static r => r.Dispose());
        if (_folder.IsValueCreated)
        {
            Directory.Delete(_folder.Value, recursive: true);
        }
    }

    // How much room each pack takes in a segment.
    private static void CountRecords(SegmentRecord segment, in IndexLayout layout, ReadOnlySpan<byte> plain)
    {
        uint[] packOf = new uint[layout.Frames];
        long[] records = new long[layout.Packs];
        for (uint f = 0; f < layout.Frames; f++)
        {
            packOf[f] = BinaryPrimitives.ReadUInt32LittleEndian(plain[(int)(layout.FramesAt + (f * (long)IndexLayout.FrameSize) + FrameEntry.Size)..]);
            records[packOf[f]]++;
        }

        for (ulong e = 0; e < layout.Entries; e++)
        {
            records[packOf[IndexEntry.Read(plain[(int)(layout.EntriesAt + ((long)e * IndexEntry.Size))..]).Frame]]++;
        }

        for (int i = 0; i < records.Length; i++)
        {
            segment.Packs[i].IndexRecords = records[i];
        }
    }

    private static void AddUp(IndexTier tier)
    {
        for (uint i = 0; i < tier.Packs.Length; i++)
        {
            CollectedPack pack = tier.Packs[i];
            if (!ReferenceEquals(pack.Tier, tier) || pack.Number != i)
            {
                continue;
            }

            for (uint f = tier.Frames.First(i); f < tier.Frames.First(i) + tier.Frames.Count(i); f++)
            {
                FrameEntry frame = tier.Run.FrameAt(f, out _);
                uint live = tier.LiveInFrame[f];
                long share = live >= frame.PlainLength ? frame.StoredLength : (long)frame.StoredLength * live / frame.PlainLength;
                pack.FrameBytes += frame.StoredLength;
                pack.LiveBytes += share;
                pack.DeadInWhole += MovesWhole(frame, live) ? frame.StoredLength - share : 0;
            }
        }
    }

    /// <summary>Whether a frame is live enough to be moved as it is: three quarters of its plain bytes.</summary>
    public static bool MovesWhole(in FrameEntry frame, uint live) => live > 0 && live * 4L >= frame.PlainLength * 3L;

    private void AddRun(ReadOnlySpan<byte> plain)
    {
        if (plain.Length <= MaxInMemory)
        {
            _pending.Add(IndexRun.InMemory(plain, []));
        }
        else
        {
            string path = NewPath();
            IndexRun.Write(path, plain, []);
            _pending.Add(IndexRun.Open(path));
        }

        // Neighbours of like size are merged, so that each entry is rewritten a logarithmic number of times and packs keep their order.
        while (_pending.Count >= MergeAt && _pending[^MergeAt].EntryCount <= MergeAt * (_pending[^1].EntryCount + 1024))
        {
            Merge(MergeAt);
        }
    }

    private void Merge(int count)
    {
        List<IndexRun> merged = _pending.GetRange(_pending.Count - count, count);
        IndexRun run;
        if (merged.Sum(static r => r.Layout.Size) <= MaxInMemory)
        {
            run = IndexRun.InMemory(IndexRewrite.Build(merged, static (_, _) => true, [], default, 0, 0), []);
        }
        else
        {
            string path = NewPath();
            IndexMerge.Write(path, merged);
            run = IndexRun.Open(path);
        }

        _pending.RemoveRange(_pending.Count - count, count);
        _pending.Add(run);
        foreach (IndexRun old in merged)
        {
            old.Dispose();
            if (old.Path is { } path)
            {
                File.Delete(path);
            }
        }
    }

    private string NewPath() => Path.Combine(_folder.Value, $"{SessionId.New()}.run");

    // What is needed is needed in whatever pack it turns up.
    private void Inherit(IndexTier tier)
    {
        for (long at = 0; at < tier.Run.EntryCount && _tiers.Count > 0; at++)
        {
            IndexEntry entry = tier.Run.EntryAt((ulong)at);
            tier.PackOf(entry, out CollectedPack pack);
            foreach (IndexTier earlier in _tiers)
            {
                for (long known = earlier.Run.Find(entry.Prefix); known >= 0 && known < earlier.Run.EntryCount; known++)
                {
                    IndexEntry other = earlier.Run.EntryAt((ulong)known);
                    if (other.Prefix != entry.Prefix)
                    {
                        break;
                    }

                    earlier.PackOf(other, out CollectedPack holder);
                    if (earlier.Needed[known] && holder.Kind == pack.Kind && other.Length == entry.Length)
                    {
                        tier.Needed.Set(at);
                    }
                }
            }
        }
    }

    /// <summary>Goes through all chunks that are needed, each with all its copies, twice: first to see what stands in one place only.</summary>
    private sealed class Chooser(List<IndexTier> tiers, ProtocolSwitches switches)
    {
        private readonly List<(IndexTier Tier, long At, IndexEntry Entry, CollectedPack Pack)> _copies = [];

        public long Pass(bool isFirst, CancellationToken cancellationToken)
        {
            long lost = 0;
            for (int t = 0; t < tiers.Count; t++)
            {
                IndexRun run = tiers[t].Run;
                long end;
                for (long at = 0; at < run.EntryCount; at = end)
                {
                    if ((at & 0xFFFFF) == 0)
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                    }

                    UInt128 prefix = run.PrefixAt((ulong)at);
                    end = at + 1;
                    while (end < run.EntryCount && run.PrefixAt((ulong)end) == prefix)
                    {
                        end++;
                    }

                    if (IsEarlier(t, prefix) || !Gather(t, at, end, prefix))
                    {
                        continue;
                    }

                    // Needed, and only named by an entry that does not count: then another segment says otherwise of its pack.
                    lost += _copies.Count == 0 ? 1 : Settle(isFirst);
                }
            }

            return lost;
        }

        // Chunks of an earlier tier were dealt with there, all copies together.
        private bool IsEarlier(int tier, UInt128 prefix)
        {
            for (int t = 0; t < tier; t++)
            {
                if (tiers[t].Run.Find(prefix) >= 0)
                {
                    return true;
                }
            }

            return false;
        }

        private bool Gather(int tier, long at, long end, UInt128 prefix)
        {
            _copies.Clear();
            bool isNeeded = false;
            for (; at < end; at++)
            {
                isNeeded |= Take(tiers[tier], at);
            }

            for (int t = tier + 1; t < tiers.Count; t++)
            {
                IndexRun run = tiers[t].Run;
                for (at = run.Find(prefix); at >= 0 && at < run.EntryCount && run.PrefixAt((ulong)at) == prefix; at++)
                {
                    isNeeded |= Take(tiers[t], at);
                }
            }

            return isNeeded;
        }

        private bool Take(IndexTier tier, long at)
        {
            if (!tier.Needed[at])
            {
                return false;
            }

            IndexEntry entry = tier.Run.EntryAt((ulong)at);
            if (tier.PackOf(entry, out CollectedPack pack) is not null)
            {
                _copies.Add((tier, at, entry, pack));
            }

            return true;
        }

        // Copies of one prefix are copies of one chunk, but for kind and length, which are told apart.
        private long Settle(bool isFirst)
        {
            long lost = 0;
            while (_copies.Count > 0)
            {
                PackKind kind = _copies[^1].Pack.Kind;
                uint length = _copies[^1].Entry.Length;
                int best = -1;
                int holders = 0;
                for (int i = 0; i < _copies.Count; i++)
                {
                    (IndexTier tier, long at, IndexEntry entry, CollectedPack pack) = _copies[i];
                    if (pack.Kind == kind && entry.Length == length && pack.IsThere && !tier.Bad[at])
                    {
                        holders += IsHolder(pack) ? 1 : 0;
                        best = best < 0 || IsBetter(pack, _copies[best].Pack) ? i : best;
                    }
                }

                if (best < 0)
                {
                    lost++;
                }
                else if (!isFirst)
                {
                    Keep(_copies[best]);
                }
                else if (holders == 1)
                {
                    _copies[best].Pack.OnlyHere += length;
                }

                _copies.RemoveAll(c => c.Pack.Kind == kind && c.Entry.Length == length);
            }

            return lost;
        }

        private static void Keep((IndexTier Tier, long At, IndexEntry Entry, CollectedPack Pack) copy)
        {
            copy.Tier.Live.Set(copy.At);
            copy.Tier.LiveInFrame[copy.Entry.Frame] += copy.Entry.Length;
            copy.Pack.LiveChunks++;
        }

        private bool IsHolder(CollectedPack pack) => pack.IsHolder || (switches.CountMarkedHolders && pack.IsThere && pack.IsVouchedFor);

        // Everybody must come to the same choice, or two collectors would each move what the other keeps.
        private bool IsBetter(CollectedPack pack, CollectedPack than)
        {
            if (IsHolder(pack) != IsHolder(than))
            {
                return IsHolder(pack);
            }

            if (!IsHolder(pack) && pack.IsSettled != than.IsSettled)
            {
                return pack.IsSettled;
            }

            if (pack.OnlyHere != than.OnlyHere)
            {
                return pack.OnlyHere > than.OnlyHere != switches.PreferOtherHolder;
            }

            return pack.Id.CompareTo(than.Id) < 0 != switches.PreferOtherHolder;
        }
    }
}
