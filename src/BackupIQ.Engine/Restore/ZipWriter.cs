using System.IO.Compression;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Restore;

/// <summary>Writes a zip archive with Unix permissions and symbolic links. Names that are not UTF-8 are spelled (<see cref="NameSpelling"/>).</summary>
internal sealed class ZipWriter(Stream output) : IArchiveWriter
{
    private const uint FileFlag = 0x8000;
    private const uint DirectoryFlag = 0x4000;
    private const uint LinkFlag = 0xa000;

    /// <summary>The first and last moments that a zip archive can tell.</summary>
    private static readonly DateTimeOffset Earliest = new(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset Latest = new(2107, 12, 31, 23, 59, 58, TimeSpan.Zero);

    private readonly ZipArchive _archive = new(output, ZipArchiveMode.Create, leaveOpen: true);

    /// <inheritdoc/>
    public bool HasHardLinks => false;

    /// <inheritdoc/>
    public string? Refuses(NodeType type) =>
        type is NodeType.File or NodeType.Directory or NodeType.SymbolicLink ? null : "a zip archive has no devices, fifos and sockets";

    /// <inheritdoc/>
    public async Task AddAsync(byte[] path, NodeMetadata metadata, byte[]? linkTo, ArchiveContent? file, CancellationToken cancellationToken)
    {
        if (path.AsSpan().SequenceEqual("./"u8))
        {
            return;
        }

        bool isDirectory = metadata.Type == NodeType.Directory;
        string name = string.Join('/', NameSpelling.Names(path).Select(static name => NameSpelling.Spell(name))) + (isDirectory ? "/" : "");
        ZipArchiveEntry entry = _archive.CreateEntry(name, isDirectory ? CompressionLevel.NoCompression : CompressionLevel.Fastest);
        DateTimeOffset modified = metadata.Modified.ToDateTimeOffset();
        entry.LastWriteTime = modified < Earliest ? Earliest : modified > Latest ? Latest : modified;
        uint kind = isDirectory ? DirectoryFlag : metadata.Type == NodeType.SymbolicLink ? LinkFlag : FileFlag;
        entry.ExternalAttributes = (int)((kind | (metadata.Mode & 0xfff)) << 16);
        if (metadata.Type == NodeType.SymbolicLink)
        {
            Stream target = await entry.OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (target.ConfigureAwait(false))
            {
                await target.WriteAsync(metadata.LinkTarget, cancellationToken).ConfigureAwait(false);
            }
        }
        else if (file is not null)
        {
            Stream bytes = await entry.OpenAsync(cancellationToken).ConfigureAwait(false);
            await using (bytes.ConfigureAwait(false))
            {
                await file.CopyAsync(0, (long)metadata.Size, bytes).ConfigureAwait(false);
            }
        }
    }

    /// <inheritdoc/>
    public Task EndAsync(CancellationToken cancellationToken) => _archive.DisposeAsync().AsTask();
}
