using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Restore;

/// <summary>Writes entries of a snapshot one after the other into one stream.</summary>
internal interface IArchiveWriter
{
    /// <summary>Whether an entry can be another name of one that was written.</summary>
    bool HasHardLinks { get; }

    /// <summary>Why the format has no entries of this type, or null.</summary>
    string? Refuses(NodeType type);

    /// <summary>Writes an entry.</summary>
    /// <param name="path">Its path in the archive, without a slash at its beginning; <c>./</c> is the folder itself.</param>
    /// <param name="metadata">What it is.</param>
    /// <param name="linkTo">The path of the entry of which this is another name, or null.</param>
    /// <param name="file">The content of a file; null for all else.</param>
    /// <param name="cancellationToken">Cancels.</param>
    Task AddAsync(byte[] path, NodeMetadata metadata, byte[]? linkTo, ArchiveContent? file, CancellationToken cancellationToken);

    /// <summary>Ends the archive. Without this a reader knows that it is not whole.</summary>
    Task EndAsync(CancellationToken cancellationToken);
}

/// <summary>A file's content on its way into an archive.</summary>
/// <param name="Extents">Where its data lies, of a file with holes that are to be kept; null otherwise: then holes are zeros.</param>
/// <param name="CopyAsync">Writes so many bytes from an offset on to the stream that it is given.</param>
internal sealed record ArchiveContent(IReadOnlyList<Extent>? Extents, Func<long, long, Stream, Task> CopyAsync);
