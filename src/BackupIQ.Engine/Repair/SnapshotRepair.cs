using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Repair;

/// <summary>What came of repairing a snapshot that has lost files.</summary>
/// <param name="Damaged">The snapshot; it stays as it is.</param>
/// <param name="Repaired">The one beside it, without what is lost; null in a trial, and when nothing is left to keep.</param>
/// <param name="Lost">The paths that are lost, as bytes; a folder of which a part is lost ends with a slash.</param>
/// <param name="Kept">Files and folders that are kept.</param>
public sealed record RepairedSnapshot(Snapshot Damaged, Snapshot? Repaired, IReadOnlyList<byte[]> Lost, long Kept);

/// <summary>Puts a snapshot beside one that has lost files: the same without them, and it says so.</summary>
internal sealed class SnapshotRepair(BackupRepository repository, RepositoryCheck check, RepairOptions options, TimeProvider time)
{
    /// <summary>So many lost paths are named in the new snapshot; their number is there in any case.</summary>
    private const int MaxNamed = 10_000;

    /// <summary>Repairs one snapshot; null when it turns out that it lost nothing.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, or maintenance took this session for dead: run again.</exception>
    public async Task<RepairedSnapshot?> RunAsync(Snapshot damaged, CancellationToken cancellationToken)
    {
        await using UploadSession session = await UploadSession.OpenAsync(repository, RepairRunner.Upload(options), options.CacheFolder, time, cancellationToken);
        using SnapshotRebuild rebuild = new(check, session);
        ChunkId tree = rebuild.Run(damaged.TreeId, cancellationToken);
        if (rebuild.Lost.Count == 0)
        {
            await session.EndAsync(cancellationToken);
            return null;
        }

        if (options.IsTrial || rebuild.Kept == 0)
        {
            await session.EndAsync(cancellationToken);
            return new RepairedSnapshot(damaged, null, rebuild.Lost, rebuild.Kept);
        }

        // A moment later than the damaged one, so that it comes right after it in every list.
        Snapshot repaired = damaged with
        {
            Id = session.Id,
            Time = damaged.Time.AddTicks(1),
            Ended = time.GetLocalNow(),
            Tree = tree.ToString(),
            Scan = null,
            Parent = damaged.Id.ToString(),
            ProgramVersion = options.ProgramVersion,
            RepairedFrom = damaged.Id.ToString(),
            LostCount = rebuild.Lost.Count,
            Lost = [.. rebuild.Lost.Take(MaxNamed).Select(static path => PathText.Show(path))],
        };
        await session.CommitAsync(SnapshotStore.Write(repaired), cancellationToken);
        return new RepairedSnapshot(damaged, repaired, rebuild.Lost, rebuild.Kept);
    }
}
