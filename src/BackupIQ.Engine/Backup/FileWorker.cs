using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository.Chunking;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// What one worker does with a file: reads it, cuts it into chunks, names and stores what is new. A small file is read straight into the
/// frame that is being filled; a larger one passes through the buffers of <see cref="ChunkedFileReader"/>. No thread of its own.
/// </summary>
internal sealed class FileWorker : IDisposable
{
    /// <summary>Content up to this size stands in the node: a reference and an index entry would take as much.</summary>
    public const int InlineSize = 256;

    private readonly ChunkerProfile _profile;
    private readonly BackupProgress _progress;
    private readonly ChunkedFileReader _chunked;
    private readonly PagedFileReader _paged;
    private readonly FrameWriter _writer;
    private readonly UploadSession _session;
    private readonly CancellationToken _stop;

    // The writer is this worker's; only a checkpoint comes in between, to end its frame.
    private readonly Lock _gate = new();

    private PageBlockReader? _pages;

    public FileWorker(
        UploadSession session, ChunkerProfile profile, ChunkedFileReader chunked, PagedFileReader paged, BackupProgress progress, CancellationToken stop)
    {
        _stop = stop;
        _session = session;
        _profile = profile;
        _chunked = chunked;
        _paged = paged;
        _progress = progress;
        _writer = session.CreateWriter(PackKind.Data);
    }

    /// <summary>Names a chunk and stores it unless it is there.</summary>
    public ChunkId Store(ReadOnlySpan<byte> chunk, ContentHint hint)
    {
        _stop.ThrowIfCancellationRequested();
        lock (_gate)
        {
            return _writer.Write(chunk, hint);
        }
    }

    /// <summary>Whether a new snapshot may rely on a chunk of content.</summary>
    public bool Has(in ChunkId chunk) => _session.Has(PackKind.Data, chunk);

    /// <summary>Reads a stretch of a file that consists of pages, with this worker's buffers, and stores what is new and its block of the map.</summary>
    public StoredBlock ReadPages(ISourceFile file, long offset, long length, int pageSize, ParentBlock? parent, ContentHint hint)
    {
        _pages ??= _paged.CreateBlockReader();
        return _pages.Read(this, file, offset, length, pageSize, parent, hint);
    }

    /// <summary>Ends the frame that is being filled; any thread may ask for it, at a checkpoint and at the end.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            _writer.Flush();
        }
    }

    /// <summary>Reads one file and completes its job; what goes wrong with the file is told and ends only its own part.</summary>
    public void Read(IBackupSource source, FileJob job)
    {
        _stop.ThrowIfCancellationRequested();
        _progress.CurrentPath = job.Entry.Name;
        try
        {
            using ISourceFile file = source.Open(job.Entry);
            Read(file, job);
        }
        catch (SourceItemException e)
        {
            job.Fail();
            if (!e.IsExpected)
            {
                _progress.Failed(e);
            }
        }

        _progress.FileDone();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _writer.Dispose();
        _pages?.Dispose();
    }

    private void Read(ISourceFile file, FileJob job)
    {
        ContentHint hint = ContentTypes.HintFor(job.Entry.Name);
        SourceStat before = file.Opened;
        NodeMetadata metadata = file.Describe();
        long size = file.IsSequential ? long.MaxValue : (long)before.Size;
        FileContent content;
        long bytes;
        if (PagedFileReader.CanHaveMap(file.IsSequential ? (long)job.Entry.Stat.Size : size, job.Entry.PageSize))
        {
            content = _paged.Read(this, file, size, job.Entry.PageSize, job.Parent, hint, out bytes);
        }
        else if (size <= _profile.MinSize && !IsSparse(before))
        {
            content = ReadSmall(file, (int)size, hint, out bytes);
        }
        else
        {
            content = ReadRanges(file, size, before, hint, out bytes);
        }

        SourceStat after = file.Stat();
        bool changed = !file.IsSequential &&
            (after.Size != before.Size || after.Modified != before.Modified || after.Changed != before.Changed || bytes != size);
        job.Complete(content, metadata, file.IsReadAgain ? before with { Changed = default } : before, bytes, changed);
        if (changed)
        {
            _progress.Failed(new SourceItemException(
                ErrorCodes.SourceChanged, job.Entry.FullPath(), "It changed while it was read; what was read is stored."));
        }
    }

    private FileContent ReadSmall(ISourceFile file, int size, ContentHint hint, out long bytes)
    {
        ChunkReference chunk;
        lock (_gate)
        {
            Span<byte> space = _writer.Reserve(size);
            int read = file.Read(space, 0);
            bytes = read;
            _progress.BytesRead(read);
            if (read <= InlineSize)
            {
                return read == 0 ? FileContent.Empty : new FileContent { Kind = ContentKind.Inline, Inline = space[..read].ToArray() };
            }

            chunk = new ChunkReference(_writer.Keep(read, hint), (uint)read);
        }

        return new FileContent { Kind = ContentKind.Chunks, Profile = ChunkerProfiles.General, Chunks = [chunk] };
    }

    private FileContent ReadRanges(ISourceFile file, long size, in SourceStat stat, ContentHint hint, out long bytes)
    {
        List<ChunkReference> chunks = [];
        if (!IsSparse(stat) || file.IsSequential)
        {
            bytes = file.Known is { } known ? _chunked.ReadAround(this, file, size, known, hint, chunks) : ReadRange(file, 0, size, hint, chunks);
            return new FileContent { Kind = ContentKind.Chunks, Profile = ChunkerProfiles.General, Chunks = chunks };
        }

        List<Extent> extents = [];
        long at = 0;
        while (at < size && file.NextData(at, size, out long offset, out long length))
        {
            long read = ReadRange(file, offset, length, hint, chunks);
            if (read > 0)
            {
                extents.Add(new Extent((ulong)offset, (ulong)read));
            }

            at = offset + length;
            if (read < length)
            {
                // The file shrank: what is left of it is what was read.
                bytes = offset + read;
                return new FileContent { Kind = ContentKind.Extents, Profile = ChunkerProfiles.General, Extents = extents, Chunks = chunks };
            }
        }

        bytes = size;
        return new FileContent { Kind = ContentKind.Extents, Profile = ChunkerProfiles.General, Extents = extents, Chunks = chunks };
    }

    // Cuts and stores a run of data; returns how much of it there was.
    private long ReadRange(ISourceFile file, long offset, long length, ContentHint hint, List<ChunkReference> chunks) =>
        _chunked.Read(this, file, offset, length, hint, chunks);

    private static bool IsSparse(in SourceStat stat) => stat.Blocks * 512 < stat.Size && stat.Size > 0;
}

/// <summary>The numbers by which nodes name the profile that cut their content.</summary>
internal static class ChunkerProfiles
{
    public const byte General = 1;
}
