using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Reading;

/// <summary>A run of a file: so many bytes at a place of its data, or a hole.</summary>
/// <param name="DataOffset">Where in the file's data, which is all of its chunks one after the other; -1 in a hole.</param>
/// <param name="Length">Bytes to the run's end.</param>
internal readonly record struct DataRun(long DataOffset, long Length);

/// <summary>Where a file's data lies between its holes.</summary>
internal sealed class DataLayout
{
    private readonly long[] _dataStarts = [];

    /// <summary>Checks that size and extents agree.</summary>
    /// <exception cref="CorruptDataException">They do not.</exception>
    public DataLayout(NodeMetadata metadata, FileContent content)
    {
        Length = (long)metadata.Size;
        bool hasExtents = content.Kind == ContentKind.Extents || (content.Kind == ContentKind.Indirect && content.Extents.Count > 0);
        if (!hasExtents)
        {
            DataLength = Length;
            if (content.Kind == ContentKind.Inline && content.Inline.Length != Length)
            {
                throw Mismatch();
            }

            return;
        }

        Extents = content.Extents;
        _dataStarts = new long[Extents.Count];
        for (int i = 0; i < Extents.Count; i++)
        {
            _dataStarts[i] = DataLength;
            DataLength += (long)Extents[i].Length;
        }

        if (Extents.Count > 0 && (long)(Extents[^1].Offset + Extents[^1].Length) > Length)
        {
            throw Mismatch();
        }
    }

    /// <summary>The runs of data; null when all of the file is data.</summary>
    public IReadOnlyList<Extent>? Extents { get; }

    /// <summary>Bytes of the file, holes included.</summary>
    public long Length { get; }

    /// <summary>Bytes of all chunks.</summary>
    public long DataLength { get; }

    /// <summary>The run that a place of the file, before its end, is in.</summary>
    public DataRun At(long offset)
    {
        if (Extents is null)
        {
            return new DataRun(offset, Length - offset);
        }

        int low = 0;
        int high = Extents.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if ((long)(Extents[middle].Offset + Extents[middle].Length) <= offset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        if (low == Extents.Count)
        {
            return new DataRun(-1, Length - offset);
        }

        long start = (long)Extents[low].Offset;
        return offset < start
            ? new DataRun(-1, start - offset)
            : new DataRun(_dataStarts[low] + (offset - start), start + (long)Extents[low].Length - offset);
    }

    public static CorruptDataException Mismatch() => new("Its chunks do not add up to its size.");
}
