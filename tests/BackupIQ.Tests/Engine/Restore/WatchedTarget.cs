using System.Text;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Tests.Engine.Restore;

/// <summary>A restore target that counts what is written and lets a test act in between.</summary>
internal sealed class WatchedTarget(IRestoreTarget inner) : IRestoreTarget
{
    private long _bytesWritten;
    private int _filesMade;

    /// <summary>Bytes of content that reached the target.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytesWritten);

    /// <summary>Files that were made anew.</summary>
    public int FilesMade => _filesMade;

    /// <summary>Called with an entry's name when its content or itself is about to be made.</summary>
    public Action<string> BeforeMaking { get; set; } = static _ => { };

    /// <summary>Called with the bytes and their place before each positioned write; may change the bytes.</summary>
    public Action<byte[], long> BeforeWriting { get; set; } = static (_, _) => { };

    /// <summary>How often everything was asked to be made durable.</summary>
    public int Flushes { get; private set; }

    public TargetDirectory? OpenRoot(bool create) => inner.OpenRoot(create);

    public bool TryStat(TargetDirectory directory, ReadOnlySpan<byte> name, out TargetEntry entry) => inner.TryStat(directory, name, out entry);

    public TargetDirectory CreateDirectory(TargetDirectory parent, ReadOnlySpan<byte> name)
    {
        BeforeMaking(Encoding.UTF8.GetString(name));
        return inner.CreateDirectory(parent, name);
    }

    public TargetDirectory OpenDirectory(TargetDirectory parent, ReadOnlySpan<byte> name) => inner.OpenDirectory(parent, name);

    public MetadataLoss FinishDirectory(TargetDirectory directory, NodeMetadata metadata) => inner.FinishDirectory(directory, metadata);

    public void LeaveDirectory(TargetDirectory directory) => inner.LeaveDirectory(directory);

    public MetadataLoss WriteFile(TargetDirectory directory, NodeMetadata metadata, ReadOnlySpan<byte> content)
    {
        BeforeMaking(Encoding.UTF8.GetString(metadata.Name));
        Interlocked.Increment(ref _filesMade);
        Interlocked.Add(ref _bytesWritten, content.Length);
        return inner.WriteFile(directory, metadata, content);
    }

    public ITargetFile CreateFile(TargetDirectory directory, ReadOnlySpan<byte> name)
    {
        BeforeMaking(Encoding.UTF8.GetString(name));
        Interlocked.Increment(ref _filesMade);
        return new WatchedFile(this, inner.CreateFile(directory, name));
    }

    public ITargetFile OpenFile(TargetDirectory directory, ReadOnlySpan<byte> name, in TargetIdentity expected, bool write) =>
        new WatchedFile(this, inner.OpenFile(directory, name, expected, write));

    public MetadataLoss CreateSpecial(TargetDirectory directory, NodeMetadata metadata)
    {
        BeforeMaking(Encoding.UTF8.GetString(metadata.Name));
        return inner.CreateSpecial(directory, metadata);
    }

    public byte[] ReadLink(TargetDirectory directory, ReadOnlySpan<byte> name) => inner.ReadLink(directory, name);

    public MetadataLoss SetMetadata(TargetDirectory directory, NodeMetadata metadata, in TargetEntry existing) =>
        inner.SetMetadata(directory, metadata, existing);

    public void Link(TargetDirectory directory, ReadOnlySpan<byte> name, TargetDirectory existingDirectory, ReadOnlySpan<byte> existingName) =>
        inner.Link(directory, name, existingDirectory, existingName);

    public void Remove(TargetDirectory directory, ReadOnlySpan<byte> name, bool isDirectory) => inner.Remove(directory, name, isDirectory);

    public IReadOnlyList<byte[]> List(TargetDirectory directory) => inner.List(directory);

    public void Flush()
    {
        Flushes++;
        inner.Flush();
    }

    public void Dispose() => inner.Dispose();

    private sealed class WatchedFile(WatchedTarget owner, ITargetFile inner) : ITargetFile
    {
        public TargetIdentity Identity => inner.Identity;

        public void SetLength(long length) => inner.SetLength(length);

        public void Reserve(long length) => inner.Reserve(length);

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            byte[] copy = bytes.ToArray();
            owner.BeforeWriting(copy, offset);
            Interlocked.Add(ref owner._bytesWritten, copy.Length);
            inner.Write(copy, offset);
        }

        public int Read(Span<byte> destination, long offset) => inner.Read(destination, offset);

        public bool HasData(long offset, long length) => inner.HasData(offset, length);

        public void Clear(long offset, long length) => inner.Clear(offset, length);

        public MetadataLoss SetMetadata(NodeMetadata metadata) => inner.SetMetadata(metadata);

        public void Dispose() => inner.Dispose();
    }
}
