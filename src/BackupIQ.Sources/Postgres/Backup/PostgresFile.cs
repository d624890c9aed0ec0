using System.Buffers;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>
/// An open file of a server that goes on writing to it. It is as long as it was when it was met: what came since is in the WAL, and what was cut off
/// since reads as zeros, which the WAL cuts off again. Pages of relations are checked on the way.
/// </summary>
internal sealed class PostgresFile(PostgresSource source, SourceEntry entry, PostgresPlace place, DescriptorHandle handle, SourceStat opened) : ISourceFile
{
    /// <summary>A page that is being written is another one soon; one that stays the same for so long is damaged.</summary>
    private static readonly TimeSpan[] Patience = [TimeSpan.Zero, TimeSpan.FromMilliseconds(5), TimeSpan.FromMilliseconds(20), TimeSpan.FromMilliseconds(100)];

    /// <inheritdoc/>
    public bool IsSequential => false;

    /// <inheritdoc/>
    /// <remarks>Whose it is the walk says: what a server sent, or an archive had, lies here under another owner.</remarks>
    public SourceStat Opened { get; } = opened with
    {
        Size = entry.Stat.Size, Blocks = (entry.Stat.Size + 511) / 512, LinkCount = 1, UserId = entry.Stat.UserId, GroupId = entry.Stat.GroupId, Mode = entry.Stat.Mode,
    };

    /// <inheritdoc/>
    public bool IsReadAgain { get; private set; }

    private long Size => (long)entry.Stat.Size;

    /// <inheritdoc/>
    /// <remarks>As it was opened: that it changes is no news. A segment of WAL must still be the one of its name.</remarks>
    public SourceStat Stat()
    {
        if (place.IsWal && (Syscalls.Stat(AtFlags.WorkingFolder, place.Path, out StatX now) < 0 || now.Inode != opened.Inode))
        {
            throw PostgresSource.WalGone(place.Relative);
        }

        return Opened;
    }

    /// <inheritdoc/>
    public NodeMetadata Describe() => source.Describe(entry, Opened);

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        int wanted = (int)Math.Min(destination.Length, Size - offset);
        if (wanted <= 0)
        {
            return 0;
        }

        source.Pace(wanted);
        destination = destination[..wanted];
        int page = source.Control.BlockSize;
        if (place.Relation is not { } relation)
        {
            ReadAt(destination, offset);
            return wanted;
        }

        long first = offset / page * page;
        long end = Math.Min(Size, (offset + wanted + page - 1) / page * page);
        if (first == offset && end == offset + wanted)
        {
            ReadAt(destination, offset);
            Check(destination, offset, relation);
            return wanted;
        }

        // Pages that lie half outside are read and checked whole.
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)(end - first));
        Span<byte> pages = buffer.AsSpan(0, (int)(end - first));
        ReadAt(pages, first);
        Check(pages, first, relation);
        pages.Slice((int)(offset - first), wanted).CopyTo(destination);
        ArrayPool<byte>.Shared.Return(buffer);
        return wanted;
    }

    /// <inheritdoc/>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = Math.Max(0, fileEnd - offset);
        return dataLength > 0;
    }

    /// <inheritdoc/>
    public void Dispose() => handle.Dispose();

    private void ReadAt(Span<byte> destination, long offset)
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        int read = Syscalls.Read(handle.Descriptor, destination, offset);
        GC.KeepAlive(handle);
        if (read < 0)
        {
            throw PostgresSource.Unreadable(place.Relative, -read, "read");
        }

        destination[read..].Clear();
    }

    private void Check(Span<byte> pages, long offset, RelationName relation)
    {
        int size = source.Control.BlockSize;
        for (int at = 0; at + size <= pages.Length; at += size)
        {
            uint block = checked((uint)(((ulong)relation.Segment * source.Control.SegmentBlocks) + (ulong)((offset + at) / size)));
            Span<byte> page = pages.Slice(at, size);
            if (!PageCheck.IsSound(page, block, source.Control.HasChecksums) && !source.IsMendedByWal(page) && !(source.IsAtWork && IsBeingWritten(page, offset + at, block)))
            {
                IsReadAgain = true;
                source.Damaged(place.Relative, block);
            }
        }
    }

    // Read in the middle of a write it is torn: then it is another one when it is read again, and the WAL holds it whole.
    private bool IsBeingWritten(Span<byte> page, long offset, uint block)
    {
        byte[] again = new byte[page.Length];
        foreach (TimeSpan pause in Patience)
        {
            Thread.Sleep(pause);
            ReadAt(again, offset);
            if (!page.SequenceEqual(again))
            {
                again.CopyTo(page);
                return true;
            }
        }

        return PageCheck.IsSound(page, block, source.Control.HasChecksums);
    }
}

/// <summary>A file that is held in memory: what the server told.</summary>
internal sealed class PostgresText(PostgresSource source, SourceEntry entry, byte[] content) : ISourceFile
{
    /// <inheritdoc/>
    public bool IsSequential => false;

    /// <inheritdoc/>
    public SourceStat Opened => entry.Stat;

    /// <inheritdoc/>
    public SourceStat Stat() => entry.Stat;

    /// <inheritdoc/>
    public NodeMetadata Describe() => source.Describe(entry, entry.Stat);

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        int length = (int)Math.Clamp(content.Length - offset, 0, destination.Length);
        content.AsSpan((int)Math.Min(offset, content.Length), length).CopyTo(destination);
        return length;
    }

    /// <inheritdoc/>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = Math.Max(0, fileEnd - offset);
        return dataLength > 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // Nothing is open.
    }
}
