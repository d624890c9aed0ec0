using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Diff;

/// <summary>Says of each differing entry how it differs, and counts.</summary>
internal sealed class DiffTeller(
    SnapshotMetadata metadata,
    DiffOptions options,
    RenameFinder? renames,
    Action<DiffChange> onChange,
    Action<byte[], BackupIQException> onDamage)
{
    public DiffStatistics Statistics { get; } = new();

    /// <summary>As <see cref="VisitDifference"/>.</summary>
    public bool Visit(ReadOnlySpan<byte> path, Sides sides, in NodePeek before, in NodePeek after)
    {
        if (sides == Sides.Both)
        {
            VisitBoth(path, before, after);
            return true;
        }

        byte[]? other = renames?.OtherPath(sides, path);
        if (other is not null)
        {
            if (sides == Sides.After)
            {
                TellRename(path, other, after);
            }

            return false;
        }

        Node node = NodeFormat.Read(sides == Sides.Before ? before.Raw : after.Raw);
        Count(sides == Sides.Before ? Statistics.Removed : Statistics.Added, path, node);
        onChange(sides == Sides.Before
            ? new DiffChange { Kind = DiffKind.Removed, Path = path.ToArray(), Before = node }
            : new DiffChange { Kind = DiffKind.Added, Path = path.ToArray(), After = node });
        return true;
    }

    private void VisitBoth(ReadOnlySpan<byte> path, in NodePeek before, in NodePeek after)
    {
        Node a = NodeFormat.Read(before.Raw);
        Node b = NodeFormat.Read(after.Raw);
        bool isContent = false;
        bool isMetadata = !NodeComparison.HaveEqualMetadata(a.Metadata, b.Metadata);
        if (a.Metadata.Type != b.Metadata.Type)
        {
            Count(Statistics.Removed, path, a);
            Count(Statistics.Added, path, b);
            onChange(new DiffChange { Kind = DiffKind.Type, Path = path.ToArray(), Before = a, After = b });
            return;
        }

        if (a.Metadata.Type == NodeType.File && !before.Stream.SequenceEqual(after.Stream))
        {
            Statistics.ChangedFiles++;
            CountChanged(path, a, b);
            isContent = true;
        }
        else if (isMetadata)
        {
            if (a.Metadata.Type == NodeType.Directory)
            {
                Statistics.ChangedDirectories++;
            }
            else
            {
                Statistics.ChangedMetadata++;
            }
        }

        if (isContent || (isMetadata && options.Metadata))
        {
            DiffKind kind = !isContent ? DiffKind.Metadata : isMetadata ? DiffKind.Content : DiffKind.ContentUnderSameMetadata;
            onChange(new DiffChange { Kind = kind, Path = path.ToArray(), Before = a, After = b });
        }
    }

    private void TellRename(ReadOnlySpan<byte> path, byte[] old, in NodePeek node)
    {
        Node renamed = NodeFormat.Read(node.Raw);
        if (renamed.Metadata.Type == NodeType.Directory)
        {
            Statistics.RenamedDirectories++;
        }
        else
        {
            Statistics.RenamedFiles++;
        }

        onChange(new DiffChange { Kind = DiffKind.Renamed, Path = path.ToArray(), OldPath = old, Before = renamed, After = renamed });
    }

    private void Count(DiffCount count, ReadOnlySpan<byte> path, Node node)
    {
        switch (node.Metadata.Type)
        {
            case NodeType.Directory:
                count.Directories++;
                break;
            case NodeType.File:
                count.Files++;
                foreach (ChunkReference chunk in Chunks(path, node))
                {
                    count.DataChunks++;
                    count.Bytes += chunk.Length;
                }

                count.Bytes += node.Content!.Inline.Length;
                break;
            default:
                count.Others++;
                break;
        }
    }

    private void CountChanged(ReadOnlySpan<byte> path, Node before, Node after)
    {
        HashSet<ChunkId> old = [];
        HashSet<ChunkId> common = [];
        IReadOnlyList<ChunkReference> oldChunks = Chunks(path, before);
        foreach (ChunkReference chunk in oldChunks)
        {
            old.Add(chunk.Id);
        }

        foreach (ChunkReference chunk in Chunks(path, after))
        {
            if (old.Contains(chunk.Id))
            {
                common.Add(chunk.Id);
            }
            else
            {
                Statistics.Added.DataChunks++;
                Statistics.Added.Bytes += chunk.Length;
            }
        }

        foreach (ChunkReference chunk in oldChunks)
        {
            if (!common.Contains(chunk.Id))
            {
                Statistics.Removed.DataChunks++;
                Statistics.Removed.Bytes += chunk.Length;
            }
        }

        Statistics.Added.Bytes += after.Content!.Inline.Length;
        Statistics.Removed.Bytes += before.Content!.Inline.Length;
    }

    private IReadOnlyList<ChunkReference> Chunks(ReadOnlySpan<byte> path, Node node)
    {
        try
        {
            return metadata.Trees.DataChunksOf(node.Content!);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            onDamage(path.ToArray(), e);
            return [];
        }
    }
}
