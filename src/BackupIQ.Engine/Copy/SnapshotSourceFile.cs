using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>A file of a snapshot, as a backup reads it. What is damaged is this file's failure; a storage that fails is the run's.</summary>
internal sealed class SnapshotSourceFile(SnapshotFile file, SourceEntry entry) : ISourceFile
{
    /// <inheritdoc/>
    public bool IsSequential => false;

    /// <inheritdoc/>
    public SourceStat Opened => entry.Stat;

    /// <summary>A file of <paramref name="reader"/>'s repository.</summary>
    /// <exception cref="SourceItemException">Its node is damaged.</exception>
    public static SnapshotSourceFile Open(SnapshotReader reader, SourceEntry entry)
    {
        try
        {
            return new SnapshotSourceFile(reader.OpenFile(entry.Original!), entry);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            throw Damaged(entry.FullPath(), e);
        }
    }

    /// <inheritdoc/>
    KnownChunks? ISourceFile.Known => entry.Known is { } known && file.Extents is null ? known : null;

    /// <inheritdoc/>
    public SourceStat Stat() => entry.Stat;

    /// <inheritdoc/>
    public NodeMetadata Describe() => entry.Original!.Metadata;

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        try
        {
            return file.Read(offset, destination);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            throw Damaged(entry.FullPath(), e);
        }
    }

    /// <inheritdoc/>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        if (file.Extents is not { } extents)
        {
            dataOffset = offset;
            dataLength = fileEnd - offset;
            return dataLength > 0;
        }

        int low = 0;
        int high = extents.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if ((long)(extents[middle].Offset + extents[middle].Length) <= offset)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        if (low == extents.Count || (long)extents[low].Offset >= fileEnd)
        {
            dataOffset = 0;
            dataLength = 0;
            return false;
        }

        dataOffset = Math.Max(offset, (long)extents[low].Offset);
        dataLength = Math.Min(fileEnd, (long)(extents[low].Offset + extents[low].Length)) - dataOffset;
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Frames go back with each read; nothing else is open.
    }

    internal static SourceItemException Damaged(byte[] path, BackupIQException damage) => new(SnapshotMetadata.DamageCode(damage), path, damage.Message, damage);
}
