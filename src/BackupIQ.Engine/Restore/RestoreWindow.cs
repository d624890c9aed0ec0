using System.Runtime.InteropServices;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>Frames next to each other in a pack, read in one go.</summary>
internal readonly record struct ReadGroup(int First, int Count, long Offset, int Length);

/// <summary>A part of a chunk, in bytes.</summary>
internal readonly record struct ChunkPart(uint Offset, uint Length);

/// <summary>
/// As many entries as the memory budget allows: planned together, fetched frame by frame in the order of the packs. A window is used
/// again when it is done with.
/// </summary>
internal sealed class RestoreWindow
{
    /// <summary>What a file, its metadata and its names take, measured roughly.</summary>
    private const int FileCost = 800;
    private const int ChunkCost = 80;
    private const int FrameCost = 200;

    private const int MaxGap = 64 << 10;

    /// <summary>
    /// Of what is asked for over a line, at most this share lies between the frames that are needed: a request that is spared there costs less than bytes that
    /// are not.
    /// </summary>
    private const double MaxWaste = 0.04;

    private readonly Dictionary<FrameHandle, int> _frameNumbers = [];
    private readonly Dictionary<PackId, int> _packNumbers = [];
    private readonly List<PlannedChunk> _chunks = [];
    private readonly List<ulong> _sums = [];
    private PlannedFrame[] _frames = new PlannedFrame[256];
    private int _frameCount;
    private int[] _order = [];

    /// <summary>Bytes that the plan takes, roughly.</summary>
    public long Cost { get; private set; }

    public List<WindowFile> Files { get; } = [];

    /// <summary>Indexes in <see cref="Files"/> of entries that need no chunk.</summary>
    public List<int> Direct { get; } = [];

    /// <summary>Indexes in <see cref="Files"/> of files that are there already and to be compared.</summary>
    public List<int> Compare { get; } = [];

    /// <summary>Files of several windows whose last chunk is planned here.</summary>
    public List<PlannedFile> Completed { get; } = [];

    public List<PlannedLink> Links { get; } = [];

    /// <summary>What is to be read, once <see cref="PlanReads"/> was called.</summary>
    public List<ReadGroup> Reads { get; } = [];

    public Span<PlannedChunk> Chunks => CollectionsMarshal.AsSpan(_chunks);

    public bool IsEmpty => Files.Count == 0 && Links.Count == 0 && Completed.Count == 0;

    /// <summary>The frame at a place in the order of <see cref="Reads"/>.</summary>
    public ref PlannedFrame FrameAt(int place) => ref _frames[_order[place]];

    /// <summary>Adds a chunk to the file that will be added next.</summary>
    /// <param name="id">The chunk.</param>
    /// <param name="location">Where it is.</param>
    /// <param name="part">The bytes of it that are needed.</param>
    /// <param name="fileOffset">Where they go.</param>
    /// <param name="sums">The sums of the pages that they are, where these are asked for later.</param>
    /// <param name="metadata">Knows the frames.</param>
    public void AddChunk(in ChunkId id, in ChunkLocation location, ChunkPart part, long fileOffset, ReadOnlySpan<ulong> sums, SnapshotMetadata metadata)
    {
        if (!_frameNumbers.TryGetValue(location.Frame, out int frame))
        {
            FrameReference reference = metadata.GetFrame(location.Frame);
            frame = _frameCount++;
            _frameNumbers.Add(location.Frame, frame);
            if (frame == _frames.Length)
            {
                Array.Resize(ref _frames, _frames.Length * 2);
            }

            if (!_packNumbers.TryGetValue(reference.Pack, out int pack))
            {
                pack = _packNumbers.Count;
                _packNumbers.Add(reference.Pack, pack);
            }

            _frames[frame] = new PlannedFrame { Reference = reference, PackOrder = pack, FirstChunk = -1, LastChunk = -1 };
            Cost += FrameCost;
        }

        _chunks.Add(new PlannedChunk
        {
            Id = id,
            FileOffset = fileOffset,
            FrameOffset = location.Offset,
            Length = location.Length,
            PartOffset = part.Offset,
            PartLength = part.Length,
            FirstSum = _sums.Count,
            File = Files.Count,
            Frame = frame,
            Next = -1,
        });
        _sums.AddRange(sums);
        Cost += ChunkCost + (sums.Length * sizeof(ulong));
    }

    public int ChunkCount => _chunks.Count;

    /// <summary>The sums of so many pages of a planned chunk, as far as they were added.</summary>
    public ReadOnlySpan<ulong> SumsOf(in PlannedChunk chunk, int count) => CollectionsMarshal.AsSpan(_sums).Slice(chunk.FirstSum, count);

    /// <summary>The pack in which a planned chunk lies.</summary>
    public PackId PackOf(in PlannedChunk chunk) => _frames[chunk.Frame].Reference.Pack;

    /// <summary>Takes back the chunks added last: the file is not restored after all.</summary>
    public void DropChunks(int from) => _chunks.RemoveRange(from, _chunks.Count - from);

    /// <summary>Adds a file with the chunks added since <paramref name="firstChunk"/>; returns its index.</summary>
    public int AddFile(PlannedFile file, int firstChunk)
    {
        Files.Add(new WindowFile(file, firstChunk, _chunks.Count - firstChunk));
        Cost += FileCost + file.Inline.Length;
        return Files.Count - 1;
    }

    public void AddLink(in PlannedLink link)
    {
        Links.Add(link);
        Cost += FileCost;
    }

    /// <summary>Orders what is still to be fetched by pack and offset, and joins near frames to reads.</summary>
    /// <param name="maxRead">Bytes of a read at most.</param>
    /// <param name="isLocal">Bytes that are read in passing cost nothing.</param>
    public void PlanReads(int maxRead, bool isLocal)
    {
        Span<PlannedChunk> chunks = Chunks;
        for (int i = 0; i < chunks.Length; i++)
        {
            if (chunks[i].IsRight)
            {
                continue;
            }

            ref PlannedFrame frame = ref _frames[chunks[i].Frame];
            if (frame.LastChunk < 0)
            {
                frame.FirstChunk = i;
            }
            else
            {
                chunks[frame.LastChunk].Next = i;
            }

            frame.LastChunk = i;
        }

        if (_order.Length < _frameCount)
        {
            _order = new int[_frames.Length];
        }

        int count = 0;
        for (int i = 0; i < _frameCount; i++)
        {
            if (_frames[i].FirstChunk >= 0)
            {
                _order[count++] = i;
            }
        }

        PlannedFrame[] frames = _frames;
        _order.AsSpan(0, count).Sort((a, b) => frames[a].PackOrder != frames[b].PackOrder
            ? frames[a].PackOrder.CompareTo(frames[b].PackOrder)
            : frames[a].Reference.Offset.CompareTo(frames[b].Reference.Offset));
        Join(count, maxRead, isLocal);
    }

    public void Clear()
    {
        _frameNumbers.Clear();
        _packNumbers.Clear();
        _chunks.Clear();
        _sums.Clear();
        _frameCount = 0;
        Files.Clear();
        Direct.Clear();
        Compare.Clear();
        Completed.Clear();
        Links.Clear();
        Reads.Clear();
        Cost = 0;
    }

    private void Join(int count, int maxRead, bool isLocal)
    {
        for (int first = 0; first < count;)
        {
            ref PlannedFrame start = ref FrameAt(first);
            long end = start.Reference.Offset + (long)start.Reference.StoredLength;
            long wasted = 0;
            int next = first + 1;
            for (; next < count; next++)
            {
                ref PlannedFrame frame = ref FrameAt(next);
                long frameEnd = frame.Reference.Offset + (long)frame.Reference.StoredLength;
                long gap = Math.Max(0, frame.Reference.Offset - end);
                long length = frameEnd - start.Reference.Offset;
                if (frame.PackOrder != start.PackOrder || gap > MaxGap || length > maxRead || (!isLocal && wasted + gap > length * MaxWaste))
                {
                    break;
                }

                wasted += gap;

                end = Math.Max(end, frameEnd);
            }

            Reads.Add(new ReadGroup(first, next - first, start.Reference.Offset, (int)Math.Min(end - start.Reference.Offset, maxRead)));
            first = next;
        }
    }
}
