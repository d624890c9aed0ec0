using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files;

namespace BackupIQ.Testing.Files;

/// <summary>A folder whose files consist of pages, as a database's source says it of its own.</summary>
public sealed class PagedSource(string folder, int pageSize) : IBackupSource
{
    private readonly FileSource _files = new(new FileSourceOptions { Paths = [PathText.Bytes(folder)] });

    /// <inheritdoc/>
    public string Kind => _files.Kind;

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths => _files.Paths;

    /// <summary>Whether files can be read only once and from the start.</summary>
    public bool IsSequential { get; init; }

    /// <summary>Bytes that each file is said to have beyond those that it has: as if it shrank when it was open.</summary>
    public ulong Extra { get; init; }

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken) =>
        _files.Walk(cancellationToken).Select(step => step.Kind == SourceEventKind.Leaf ? step with { Entry = Paged(step.Entry!) } : step);

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry) => _files.Describe(entry);

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry) => IsSequential || Extra > 0 ? new OddFile(_files.Open(entry), IsSequential, Extra) : _files.Open(entry);

    /// <inheritdoc/>
    public void Dispose() => _files.Dispose();

    private SourceEntry Paged(SourceEntry entry) => new() { Name = entry.Name, Stat = entry.Stat, Parent = entry.Parent, State = entry.State, PageSize = pageSize };

    private sealed class OddFile(ISourceFile file, bool sequential, ulong extra) : ISourceFile
    {
        private long _at;

        public bool IsSequential => sequential;

        public SourceStat Opened => file.Opened with { Size = file.Opened.Size + extra };

        public SourceStat Stat() => file.Stat();

        public NodeMetadata Describe() => file.Describe();

        public int Read(Span<byte> destination, long offset)
        {
            if (!sequential)
            {
                return file.Read(destination, offset);
            }

            if (offset != _at)
            {
                throw new InvalidOperationException("It was read out of order.");
            }

            int read = file.Read(destination, offset);
            _at += read;
            return read;
        }

        public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength) => throw new InvalidOperationException("It has no holes.");

        public void Dispose() => file.Dispose();
    }
}
