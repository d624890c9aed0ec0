using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Files.Restore;

/// <summary>An open regular file of a <see cref="LinuxRestoreTarget"/>.</summary>
internal sealed class LinuxTargetFile : ITargetFile
{
    private const int ZeroBlock = 64 << 10;

    private readonly DescriptorHandle _handle;
    private readonly EntryMetadata _metadata;
    private readonly bool _reconcile;

    private LinuxTargetFile(DescriptorHandle handle, TargetIdentity identity, EntryMetadata metadata, bool reconcile)
    {
        _handle = handle;
        _metadata = metadata;
        _reconcile = reconcile;
        Identity = identity;
    }

    /// <inheritdoc/>
    public TargetIdentity Identity { get; }

    /// <summary>Takes over a descriptor. <paramref name="reconcile"/>: it may have attributes that the snapshot does not know.</summary>
    internal static LinuxTargetFile TakeOver(int descriptor, EntryMetadata metadata, bool reconcile, out StatX stat)
    {
        DescriptorHandle handle = new(descriptor);
        int error = Syscalls.StatDescriptor(descriptor, out stat);
        if (error < 0)
        {
            handle.Dispose();
            throw TargetError.From(-error, "look at the file");
        }

        return new LinuxTargetFile(handle, new TargetIdentity(stat.Device, stat.Inode), metadata, reconcile);
    }

    /// <inheritdoc/>
    public void SetLength(long length) => Check(Syscalls.SetLength(Descriptor, length), "set the file's length");

    /// <inheritdoc/>
    public void Reserve(long length)
    {
        int error = Syscalls.Allocate(Descriptor, 0, 0, length);
        if (error is -Errno.NoSpace or -Errno.Quota)
        {
            Check(error, "reserve space");
        }
    }

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<byte> bytes, long offset) => Check(Syscalls.Write(Descriptor, bytes, offset), "write the file");

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        int read = Syscalls.Read(Descriptor, destination, offset);
        Check(Math.Min(read, 0), "read the file");
        return read;
    }

    /// <inheritdoc/>
    public bool HasData(long offset, long length)
    {
        long data = Syscalls.SeekData(Descriptor, offset);
        GC.KeepAlive(_handle);
        return data != -Errno.NoDevice && (data < 0 || data < offset + length);
    }

    /// <inheritdoc/>
    public void Clear(long offset, long length)
    {
        int error = Syscalls.Allocate(Descriptor, AtFlags.FallocateKeepSize | AtFlags.FallocatePunchHole, offset, length);
        if (error is not (-Errno.NotSupported or -Errno.NoSyscall))
        {
            Check(error, "make a hole");
            return;
        }

        Span<byte> zeros = stackalloc byte[ZeroBlock];
        zeros.Clear();
        for (long at = 0; at < length; at += ZeroBlock)
        {
            Write(zeros[..(int)Math.Min(ZeroBlock, length - at)], offset + at);
        }
    }

    /// <inheritdoc/>
    public MetadataLoss SetMetadata(NodeMetadata metadata)
    {
        int error = Syscalls.StatDescriptor(Descriptor, out StatX stat);
        Check(error, "read the file's metadata");
        MetadataLoss loss = _metadata.Apply(Descriptor, metadata, stat, _reconcile);
        GC.KeepAlive(_handle);
        return loss;
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    private int Descriptor
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _handle.Descriptor;
        }
    }

    private void Check(int error, string action)
    {
        GC.KeepAlive(_handle);
        if (error < 0)
        {
            throw TargetError.From(-error, action);
        }
    }
}
