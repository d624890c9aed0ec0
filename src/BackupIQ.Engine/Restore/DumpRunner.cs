using System.Buffers;
using System.Text;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Restore;

/// <summary>The form in which a directory is written to a stream.</summary>
public enum DumpArchive
{
    /// <summary>POSIX pax: everything that a file system keeps but sockets.</summary>
    Tar,

    /// <summary>For where no tar is at hand: files, folders and symbolic links, their permissions and times to two seconds.</summary>
    Zip,
}

/// <summary>How a part of a snapshot is written to a stream.</summary>
public sealed record DumpOptions
{
    public DumpArchive Archive { get; init; } = DumpArchive.Tar;

    /// <summary>
    /// Keep the holes of sparse files as GNU tar and bsdtar do; other programs do not know that form. Otherwise holes are zeros.
    /// </summary>
    public bool KeepHoles { get; init; }

    /// <summary>Refuse a directory.</summary>
    public bool FilesOnly { get; init; }

    /// <summary>How the repository is read.</summary>
    public ReadingOptions Reading { get; init; } = new();
}

/// <summary>Counts while a dump runs; may be read at any time.</summary>
public sealed class DumpProgress
{
    private long _entries;
    private long _bytes;
    private long _errors;
    private bool _hasDamage;

    /// <summary>Called for each entry that was left out, and each notice, one at a time.</summary>
    public Action<RestoreIssue>? OnIssue { get; init; }

    /// <summary>Entries that were written.</summary>
    public long Entries => Interlocked.Read(ref _entries);

    /// <summary>Bytes of content that were written.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Entries, or parts of directories, that were left out.</summary>
    public long Errors => Interlocked.Read(ref _errors);

    /// <summary>Some of them because the repository is damaged.</summary>
    public bool HasDamage => Volatile.Read(ref _hasDamage);

    /// <summary>A path that is being written.</summary>
    public byte[]? CurrentPath { get; internal set; }

    internal void Wrote(long bytes)
    {
        Interlocked.Increment(ref _entries);
        Interlocked.Add(ref _bytes, bytes);
    }

    internal void Fail(ErrorCode code, byte[] path, string message)
    {
        Interlocked.Increment(ref _errors);
        Volatile.Write(ref _hasDamage, HasDamage || code.ExitCode == ErrorCodes.DamageFound.ExitCode);
        OnIssue?.Invoke(new RestoreIssue(code, path, message));
    }
}

/// <summary>Writes a file of a snapshot, or a directory as an archive, to a stream.</summary>
public static class DumpRunner
{
    /// <summary>A file up to this size is read whole before its header is written, so that a damaged one is left out.</summary>
    private const int WholeLimit = 4 << 20;

    private const int MaxEntriesAhead = 4096;

    /// <summary>
    /// Writes what stands at <paramref name="path"/>: of a file its bytes, of a directory an archive of what is in it, with paths that
    /// begin there. Nothing is written that was not verified.
    /// </summary>
    /// <remarks>
    /// What is damaged is left out of an archive and told. Where a large file turns out damaged only once a part of it is written, the
    /// stream ends there without the archive's end mark, and the call fails: a reader of the archive notices, too.
    /// </remarks>
    /// <exception cref="BackupIQException">
    /// <c>PathNotFound</c>; <c>Usage</c>: it is neither file nor directory; <c>CorruptData</c> or <c>ChunkMissing</c>: a file is damaged; or the
    /// storage failed.
    /// </exception>
    public static async Task RunAsync(
        BackupRepository repository,
        ChunkIndex index,
        Snapshot snapshot,
        byte[] path,
        Stream output,
        DumpOptions options,
        DumpProgress progress,
        CancellationToken cancellationToken)
    {
        using SnapshotReader reader = new(repository, index, options.Reading, notice => progress.Fail(ErrorCodes.CorruptData, "/"u8.ToArray(), notice));
        (Node? node, _) = SnapshotPath.Find(reader.Trees, snapshot, path);
        switch (node?.Metadata.Type ?? NodeType.Directory)
        {
            case NodeType.Directory when options.FilesOnly:
                throw new BackupIQException(
                    ErrorCodes.Usage, "A folder becomes an archive, which is not for a terminal", "Send the output to a file or a program, or give --target FILE.");
            case NodeType.Directory:
                BufferedStream buffered = new(output, 256 << 10);
                IArchiveWriter archive = options.Archive == DumpArchive.Zip ? new ZipWriter(buffered) : new PaxWriter(buffered);
                await WriteTreeAsync(reader, archive, node, node?.Subtree ?? snapshot.TreeId, options, progress, cancellationToken).ConfigureAwait(false);
                await archive.EndAsync(cancellationToken).ConfigureAwait(false);
                await buffered.FlushAsync(cancellationToken).ConfigureAwait(false);
                break;
            case NodeType.File:
                SnapshotFile file = reader.OpenFile(node!);
                file.Locate(cancellationToken);
                await CopyAsync(file, 0, file.Length, output, path, cancellationToken).ConfigureAwait(false);
                progress.Wrote(file.Length);
                break;
            default:
                throw new BackupIQException(
                    ErrorCodes.Usage, "Only files and folders can be dumped, and this is neither", "Dump the folder that it is in: a tar archive holds it.")
                    .With("path", Encoding.UTF8.GetString(path));
        }

        await output.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    private static async Task WriteTreeAsync(
        SnapshotReader reader, IArchiveWriter archive, Node? root, ChunkId tree, DumpOptions options, DumpProgress progress, CancellationToken cancellationToken)
    {
        if (root is not null)
        {
            await archive.AddAsync("./"u8.ToArray(), root.Metadata, null, null, cancellationToken).ConfigureAwait(false);
            progress.Wrote(0);
        }

        Dictionary<ulong, byte[]> groups = [];
        PathWalk walk = new(reader.ReadMetadata, tree, progress.Fail);
        Queue<Item> ahead = new();
        long bytesAhead = 0;
        while (true)
        {
            while (ahead.Count < MaxEntriesAhead && bytesAhead < reader.ReadAhead && walk.Next() is { } found)
            {
                Item item = new(found.Path, found.Node);
                item.Open(reader, options.KeepHoles);
                bytesAhead += item.Weight;
                ahead.Enqueue(item);
            }

            if (!ahead.TryDequeue(out Item? next))
            {
                return;
            }

            cancellationToken.ThrowIfCancellationRequested();
            bytesAhead -= next.Weight;
            progress.CurrentPath = next.Path;
            await AddAsync(archive, next, groups, progress, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task AddAsync(IArchiveWriter archive, Item item, Dictionary<ulong, byte[]> groups, DumpProgress progress, CancellationToken cancellationToken)
    {
        NodeMetadata metadata = item.Node.Metadata;
        byte[] name = item.Path[1..];
        ulong group = archive.HasHardLinks ? item.Node.HardLinkGroup : 0;
        if (archive.Refuses(metadata.Type) is { } reason)
        {
            progress.Fail(ErrorCodes.Restore, item.Path, reason + "; it was left out");
            return;
        }

        if (group != 0 && groups.TryGetValue(group, out byte[]? first))
        {
            await archive.AddAsync(name, metadata, first, null, cancellationToken).ConfigureAwait(false);
            progress.Wrote(0);
            return;
        }

        if (item.Fault is { } fault)
        {
            progress.Fail(SnapshotMetadata.DamageCode(fault), item.Path, $"{fault.Message.TrimEnd('.')}; it was left out");
            return;
        }

        if (item.File is null)
        {
            await archive.AddAsync(name, metadata, null, null, cancellationToken).ConfigureAwait(false);
        }
        else if (item.File.Length <= WholeLimit)
        {
            if (!await AddWholeAsync(archive, item, name, progress, cancellationToken).ConfigureAwait(false))
            {
                return;
            }
        }
        else if (!await AddLargeAsync(archive, item, name, progress, cancellationToken).ConfigureAwait(false))
        {
            return;
        }

        progress.Wrote(item.File?.Length ?? 0);
        if (group != 0)
        {
            groups.Add(group, name);
        }
    }

    private static async Task<bool> AddWholeAsync(IArchiveWriter archive, Item item, byte[] name, DumpProgress progress, CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)item.File!.Length);
        try
        {
            Memory<byte> whole = buffer.AsMemory(0, (int)item.File.Length);
            try
            {
                await item.File.ReadAsync(0, whole, cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                progress.Fail(SnapshotMetadata.DamageCode(e), item.Path, $"{e.Message.TrimEnd('.')}; it was left out");
                return false;
            }

            ArchiveContent content = new(
                item.Extents, (offset, length, stream) => stream.WriteAsync(whole.Slice((int)offset, (int)length), cancellationToken).AsTask());
            await archive.AddAsync(name, item.Node.Metadata, null, content, cancellationToken).ConfigureAwait(false);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task<bool> AddLargeAsync(IArchiveWriter archive, Item item, byte[] name, DumpProgress progress, CancellationToken cancellationToken)
    {
        try
        {
            item.File!.Locate(cancellationToken);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            progress.Fail(SnapshotMetadata.DamageCode(e), item.Path, $"{e.Message.TrimEnd('.')}; it was left out");
            return false;
        }

        ArchiveContent content = new(item.Extents, (offset, length, stream) => CopyAsync(item.File, offset, length, stream, item.Path, cancellationToken));
        await archive.AddAsync(name, item.Node.Metadata, null, content, cancellationToken).ConfigureAwait(false);
        return true;
    }

    private static async Task CopyAsync(SnapshotFile file, long offset, long length, Stream output, byte[] path, CancellationToken cancellationToken)
    {
        try
        {
            await file.CopyToAsync(offset, length, output, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            throw new BackupIQException(
                SnapshotMetadata.DamageCode(e), $"{e.Message.TrimEnd('.')}: the output ends in the middle of a file and is not whole", null, e)
                .With("path", Encoding.UTF8.GetString(path));
        }
    }

    /// <summary>An entry that will be written soon.</summary>
    private sealed class Item(byte[] path, Node node)
    {
        public byte[] Path { get; } = path;

        public Node Node { get; } = node;

        public SnapshotFile? File { get; private set; }

        public BackupIQException? Fault { get; private set; }

        /// <summary>What it adds to what is ahead, in bytes.</summary>
        public long Weight { get; private set; }

        /// <summary>Where the file's data lies, when its holes are to be kept.</summary>
        public IReadOnlyList<Extent>? Extents { get; private set; }

        public void Open(SnapshotReader reader, bool keepHoles)
        {
            try
            {
                if (Node.Metadata.Type == NodeType.File)
                {
                    File = reader.OpenFile(Node);
                    Extents = keepHoles ? File.Extents : null;
                    Weight = Math.Min(File.Length, reader.ReadAhead);
                    File.Prefetch();
                }
                else if (Node.Metadata.Type == NodeType.SymbolicLink && (Node.Metadata.LinkTarget is not { Length: > 0 } target || target.AsSpan().Contains((byte)0)))
                {
                    Fault = new CorruptDataException("The snapshot has no target for this symbolic link.");
                }
                else if (Node.Metadata.Type is < NodeType.File or > NodeType.Socket)
                {
                    Fault = new CorruptDataException($"It is of a kind ({(byte)Node.Metadata.Type}) that this version does not know.");
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Fault = e;
            }
        }
    }
}
