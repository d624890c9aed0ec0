using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// A snapshot of a restic repository as something to back up. Its trees are read as the walk meets them, its files' blobs when they are opened.
/// What is damaged is an error of the file or folder that needs it.
/// </summary>
/// <param name="repository">The repository, with its index loaded. It stays the caller's.</param>
/// <param name="snapshot">A snapshot of it.</param>
public sealed class ResticSource(ResticRepository repository, ResticSnapshot snapshot) : IBackupSource
{
    /// <summary>Deeper than any path that a system call takes; a hostile tree must not go on for ever.</summary>
    private const int MaxDepth = 4096;

    /// <summary>Documents of folders above the one that is being read, in bytes: beyond that they are read again when their turn comes.</summary>
    private const long HeldTrees = 32 << 20;

    /// <inheritdoc/>
    public string Kind => "files";

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths => snapshot.Paths;

    /// <inheritdoc/>
    public bool IsAtRest => true;

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        Stack<Folder> folders = new();
        Folder root = new(null, snapshot.Tree);
        if (Open(root) is { } failure)
        {
            // Without its root a snapshot is nothing.
            throw new ResticDamageException($"Snapshot {snapshot.Id[..8]} of the restic repository cannot be read: {failure.Message}", failure);
        }

        folders.Push(root);
        while (folders.TryPeek(out Folder? folder))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (folder.Tree is null && Open(folder) is { } error)
            {
                yield return new SourceEvent(SourceEventKind.Error, null, error);
            }

            if (folder.Tree is not { } tree || !tree.Next(out ResticNode? node, out ResticRefusal? refused))
            {
                folders.Pop();
                if (folder.Entry is { } done)
                {
                    yield return new SourceEvent(SourceEventKind.Leave, done, null);
                }

                continue;
            }

            if (refused is not null)
            {
                byte[] path = [.. folder.Entry?.FullPath() ?? [], (byte)'/', .. refused.Name];
                yield return new SourceEvent(SourceEventKind.Error, null, new SourceItemException(refused.Code, path, refused.Reason));
            }

            if (node is null)
            {
                continue;
            }

            SourceEntry entry = new() { Name = node.Name, Stat = node.ToStat(), Parent = folder.Entry, State = node };
            if (node.Subtree is not { } subtree)
            {
                yield return new SourceEvent(SourceEventKind.Leaf, entry, null);
                continue;
            }

            yield return new SourceEvent(SourceEventKind.Enter, entry, null);
            Folder child = new(entry, subtree);
            SourceItemException? problem = folders.Count == MaxDepth
                ? new SourceItemException(ErrorCodes.SourceUnreadable, entry.FullPath(), "It lies deeper than any folder can, so what is in it is left out.")
                : Open(child);
            if (problem is not null)
            {
                yield return new SourceEvent(SourceEventKind.Error, null, problem);
                yield return new SourceEvent(SourceEventKind.Leave, entry, null);
                continue;
            }

            if (folders.Sum(static held => (long)(held.Tree?.Length ?? 0)) + child.Tree!.Length > HeldTrees)
            {
                folder.Release();
            }

            folders.Push(child);
        }
    }

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry) => NodeOf(entry).ToMetadata();

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry) => new ResticFile(repository, entry, NodeOf(entry));

    /// <inheritdoc/>
    /// <remarks>The repository is not the source's own.</remarks>
    public void Dispose()
    {
    }

    private static ResticNode NodeOf(SourceEntry entry) =>
        entry.State as ResticNode ?? throw new ArgumentException("The entry is of another source.", nameof(entry));

    private SourceItemException? Open(Folder folder)
    {
        try
        {
            folder.Tree = ResticTree.Open(repository.ReadTree(folder.Id), folder.Position);
            return null;
        }
        catch (ResticDamageException e)
        {
            return new SourceItemException(ErrorCodes.SourceUnreadable, folder.Entry?.FullPath() ?? "/"u8.ToArray(), $"What is in this folder cannot be read: {e.Message}", e);
        }
    }

    /// <summary>A folder on the way down.</summary>
    private sealed class Folder(SourceEntry? entry, ResticId id)
    {
        /// <summary>Null for the root.</summary>
        public SourceEntry? Entry { get; } = entry;

        public ResticId Id { get; } = id;

        public ResticTree? Tree { get; set; }

        /// <summary>Where to go on when the document is read again.</summary>
        public int Position { get; private set; }

        public void Release()
        {
            Position = Tree!.Position;
            Tree = null;
        }
    }
}
