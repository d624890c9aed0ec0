using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// Which chunk holds which byte of a file's data. Where the list of chunks is itself in chunks, they are read as they are needed and only
/// some are held, so that a file of any size takes little. Safe for any thread.
/// </summary>
internal sealed class ChunkMap
{
    /// <summary>Lists that are held: of some thousand chunks each, so a sequential reader needs one and a random one reads few again.</summary>
    private const int MaxHeld = 8;

    private readonly ReadMetadata _read;
    private readonly IReadOnlyList<ChunkReference> _lists;
    private readonly long _dataLength;
    private readonly Lock _gate = new();
    private readonly List<Part> _parts = [];
    private long _clock;

    public ChunkMap(ReadMetadata read, FileContent content, long dataLength)
    {
        _read = read;
        _dataLength = dataLength;
        _lists = content.Kind == ContentKind.Indirect ? content.Chunks : [];
        if (content.Kind != ContentKind.Indirect && dataLength > 0)
        {
            _parts.Add(new Part { Chunks = content.Chunks });
            Measure(_parts[0], isLast: true);
        }
    }

    /// <summary>The chunks from the one that holds a byte on, as many as are at hand, and where in the data the first begins.</summary>
    /// <exception cref="CorruptDataException">The list is damaged, or does not add up to the file's size.</exception>
    public (IReadOnlyList<ChunkReference> Chunks, int First, long Start) At(long dataOffset)
    {
        lock (_gate)
        {
            while (_parts.Count == 0 || _parts[^1].End <= dataOffset)
            {
                if (_parts.Count >= _lists.Count)
                {
                    throw DataLayout.Mismatch();
                }

                Part next = new() { Start = _parts.Count > 0 ? _parts[^1].End : 0 };
                Load(next, _parts.Count);
                Measure(next, isLast: _parts.Count == _lists.Count - 1);
                _parts.Add(next);
                ReleaseOldest();
            }

            int at = _parts.Count - 1;
            if (_parts[at].Start > dataOffset)
            {
                at = Find(dataOffset);
            }

            Part part = _parts[at];
            if (part.Chunks is null)
            {
                Load(part, at);
                Measure(part, isLast: at == _lists.Count - 1);
                ReleaseOldest();
            }

            part.LastUse = ++_clock;
            int chunk = Array.BinarySearch(part.Starts!, dataOffset);
            chunk = chunk >= 0 ? chunk : ~chunk - 1;
            return (part.Chunks!, chunk, part.Starts![chunk]);
        }
    }

    private int Find(long dataOffset)
    {
        int low = 0;
        int high = _parts.Count - 1;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_parts[middle].End <= dataOffset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private void Load(Part part, int number)
    {
        TlvReader reader = new(_read(_lists[number].Id).Span);
        part.Chunks = NodeFormat.ReadChunks(ref reader);
        part.LastUse = ++_clock;
    }

    private void Measure(Part part, bool isLast)
    {
        long[] starts = new long[part.Chunks!.Count];
        long at = part.Start;
        for (int i = 0; i < starts.Length; i++)
        {
            starts[i] = at;
            at += part.Chunks[i].Length;
            if (part.Chunks[i].Length == 0)
            {
                throw DataLayout.Mismatch();
            }
        }

        if (at > _dataLength || starts.Length == 0 || (isLast && at != _dataLength))
        {
            throw DataLayout.Mismatch();
        }

        part.Starts = starts;
        part.End = at;
    }

    private void ReleaseOldest()
    {
        if (_lists.Count == 0)
        {
            return;
        }

        int held = 0;
        Part? oldest = null;
        foreach (Part part in _parts)
        {
            if (part.Chunks is not null)
            {
                held++;
                oldest = oldest is null || part.LastUse < oldest.LastUse ? part : oldest;
            }
        }

        if (held > MaxHeld)
        {
            oldest!.Chunks = null;
            oldest.Starts = null;
        }
    }

    private sealed class Part
    {
        public long Start { get; init; }

        public long End { get; set; }

        public IReadOnlyList<ChunkReference>? Chunks { get; set; }

        public long[]? Starts { get; set; }

        public long LastUse { get; set; }
    }
}
