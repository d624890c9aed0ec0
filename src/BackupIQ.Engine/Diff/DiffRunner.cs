using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Diff;

/// <summary>Compares two snapshots, or parts of them.</summary>
public static class DiffRunner
{
    /// <summary>
    /// Tells every difference in the order of the paths, a directory before what is in it; of a renamed entry at its new path. Equal
    /// subtrees are not read. A directory of which a part is damaged is told and, from there on, not compared.
    /// </summary>
    /// <param name="repository">Where the snapshots are.</param>
    /// <param name="index">The repository's index.</param>
    /// <param name="before">The first tree.</param>
    /// <param name="after">The second tree.</param>
    /// <param name="options">How.</param>
    /// <param name="onChange">Told of each difference.</param>
    /// <param name="onDamage">Told of damage: the path where it was met, and what it is.</param>
    /// <param name="cancellationToken">Ends the comparison.</param>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>, or the storage failed.</exception>
    public static DiffStatistics Run(
        BackupRepository repository,
        ChunkIndex index,
        DiffSide before,
        DiffSide after,
        DiffOptions options,
        Action<DiffChange> onChange,
        Action<byte[], BackupIQException> onDamage,
        CancellationToken cancellationToken)
    {
        using SnapshotMetadata metadata = new(repository, index, notice => onDamage("/"u8.ToArray(), new CorruptDataException(notice)));
        (Node? first, _) = SnapshotPath.Find(metadata.Trees, before.Snapshot, before.Path);
        (Node? second, _) = SnapshotPath.Find(metadata.Trees, after.Snapshot, after.Path);
        RenameFinder? renames = options.Renames ? FindRenames() : null;
        DiffTeller teller = new(metadata, options, renames, onChange, onDamage);
        TreePairWalk last = Walk(teller.Visit, onDamage);
        teller.Statistics.Removed.TreePages = last.PagesBefore;
        teller.Statistics.Added.TreePages = last.PagesAfter;
        teller.Statistics.RenamesSkipped = renames is { IsOverwhelmed: true };
        return teller.Statistics;

        RenameFinder FindRenames()
        {
            // Damage is told once, by the last look.
            RenameFinder finder = new(repository.Keys);
            Walk(
                (_, sides, in a, in b) =>
                {
                    if (sides != Sides.Both)
                    {
                        finder.Note(sides, sides == Sides.Before ? a : b);
                    }

                    return !finder.IsOverwhelmed;
                },
                static (_, _) => { });
            if (finder.Intersect())
            {
                Walk((path, sides, in a, in b) => sides == Sides.Both || finder.Collect(sides, path, sides == Sides.Before ? a : b), static (_, _) => { });
                finder.Match();
            }

            return finder;
        }

        TreePairWalk Walk(VisitDifference visit, Action<byte[], BackupIQException> damaged)
        {
            TreePairWalk walk = new(metadata.Read, visit, damaged);
            byte[] path = [];
            ChunkId? treeBefore = first is null ? before.Snapshot.TreeId : first.Subtree;
            ChunkId? treeAfter = second is null ? after.Snapshot.TreeId : second.Subtree;
            if (treeBefore is null || treeAfter is null)
            {
                // At least one is no directory, so they are entries that are compared, under the name of the second.
                path = [(byte)'/', .. second?.Metadata.Name ?? first?.Metadata.Name ?? []];
                byte[] rawBefore = Raw(first, treeBefore);
                byte[] rawAfter = Raw(second, treeAfter);
                NodePeek a = NodePeek.Read(rawBefore);
                NodePeek b = NodePeek.Read(rawAfter);
                if (!visit(path, Sides.Both, a, b))
                {
                    return walk;
                }
            }

            walk.Run(path, treeBefore, treeAfter, cancellationToken);
            return walk;
        }
    }

    // The root of a snapshot has no node of its own.
    private static byte[] Raw(Node? node, ChunkId? tree)
    {
        TlvWriter writer = new(256);
        NodeFormat.Write(writer, node ?? new Node { Metadata = new NodeMetadata { Name = "root"u8.ToArray(), Type = NodeType.Directory }, Subtree = tree });
        return writer.Written.ToArray();
    }
}
