using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Files;

/// <summary>An open file of a <see cref="FileSource"/>.</summary>
internal sealed class LinuxSourceFile : ISourceFile
{
    private readonly FileSource _source;
    private readonly SourceEntry _entry;
    private readonly DescriptorHandle _handle;
    private readonly StatX _opened;

    /// <summary>Takes over <paramref name="handle"/>, whose state is <paramref name="opened"/>.</summary>
    internal LinuxSourceFile(FileSource source, SourceEntry entry, DescriptorHandle handle, in StatX opened)
    {
        _source = source;
        _entry = entry;
        _handle = handle;
        _opened = opened;
    }

    /// <inheritdoc/>
    public SourceStat Opened => _opened.ToSourceStat();

    /// <inheritdoc/>
    public bool IsSequential => false;

    /// <inheritdoc/>
    public SourceStat Stat()
    {
        int error = Syscalls.StatDescriptor(_handle.Descriptor, out StatX stat);
        GC.KeepAlive(_handle);
        return error < 0 ? throw LinuxError.ToItemException(-error, _entry.FullPath(), "read its metadata") : stat.ToSourceStat();
    }

    /// <inheritdoc/>
    public NodeMetadata Describe()
    {
        NodeMetadata metadata = _source.Describe(_entry, _handle.Descriptor, _opened);
        GC.KeepAlive(_handle);
        return metadata;
    }

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
        int read = Syscalls.Read(_handle.Descriptor, destination, offset);
        GC.KeepAlive(_handle);
        return read < 0 ? throw LinuxError.ToItemException(-read, _entry.FullPath(), "read it") : read;
    }

    /// <inheritdoc/>
    /// <remarks><paramref name="fileEnd"/> is where the caller takes the file to end; no run goes beyond it.</remarks>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = 0;
        if (offset >= fileEnd)
        {
            return false;
        }

        long data = Syscalls.SeekData(_handle.Descriptor, offset);
        if (data == -Errno.NoDevice)
        {
            return false;
        }

        long hole = data < 0 ? data : Syscalls.SeekHole(_handle.Descriptor, data);
        GC.KeepAlive(_handle);
        if (data is -Errno.Invalid or -Errno.NotSupported || hole is -Errno.Invalid or -Errno.NotSupported)
        {
            // The file system knows no holes.
            dataLength = fileEnd - offset;
            return true;
        }

        if (data < 0 || (hole < 0 && hole != -Errno.NoDevice))
        {
            throw LinuxError.ToItemException((int)-(data < 0 ? data : hole), _entry.FullPath(), "find its holes");
        }

        // It shrank between the two questions: nothing is left.
        if (hole == -Errno.NoDevice || data >= fileEnd)
        {
            return false;
        }

        dataOffset = data;
        dataLength = Math.Min(hole, fileEnd) - data;
        return dataLength > 0;
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}
