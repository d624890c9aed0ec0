using System.Collections.Concurrent;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Restore;

/// <summary>Restores snapshots, or parts of them.</summary>
public static class RestoreRunner
{
    /// <summary>Bytes after which what was written is sent to the disk: so much that a flush costs little beside writing them.</summary>
    private const long FlushAfter = 64 << 20;

    private static readonly TimeSpan FlushPause = TimeSpan.FromMilliseconds(100);

    /// <summary>
    /// Restores what stands under <paramref name="subPath"/> of the snapshot: of <c>/</c> everything, with its absolute paths below the
    /// target; of a directory its entries; of a file the file itself. When this returns, everything that it restored is durable. Entries
    /// that could not be restored are in the result; the rest is there.
    /// </summary>
    /// <remarks>
    /// A directory's own metadata is set on the root of the target only when this restore made that root. Owners are set by number.
    /// Where a directory stands in the place of something else, it is removed if it is empty, or with
    /// <see cref="RestoreOptions.Delete"/>; anything else in a directory's place is removed, unless the overwrite rule leaves it.
    /// <see cref="RestoreOptions.Delete"/> removes only in what was backed up and below, not in the directories that lead there.
    /// </remarks>
    /// <param name="repository">Where from.</param>
    /// <param name="index">The repository's index; chunks that it lacks are looked for in the packs themselves, once.</param>
    /// <param name="snapshot">Which snapshot.</param>
    /// <param name="subPath">A path in it, in bytes, with or without a slash at its beginning and end.</param>
    /// <param name="target">Where to.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Counters to watch.</param>
    /// <param name="cancellationToken">Ends the run; files that are not whole are removed then.</param>
    /// <exception cref="BackupIQException">
    /// <c>PathNotFound</c>: the snapshot has no such path. A storage failure, or one of the target that every further entry would meet
    /// (<see cref="RestoreItemException.EndsRun"/>), ends the run; what is whole by then stays.
    /// </exception>
    public static async Task<RestoreResult> RunAsync(
        BackupRepository repository,
        ChunkIndex index,
        Snapshot snapshot,
        byte[] subPath,
        IRestoreTarget target,
        RestoreOptions options,
        RestoreProgress progress,
        CancellationToken cancellationToken)
    {
        using SnapshotMetadata metadata = new(repository, index, notice => progress.Warn(notice, static () => "/"u8.ToArray()));
        (Node? node, byte[] path) = SnapshotPath.Find(metadata.Trees, snapshot, subPath);
        if (node is null && options.Filter is null && snapshot.Summary is { } summary)
        {
            progress.Expect(summary.TotalFilesProcessed, summary.TotalBytesProcessed);
        }

        PlannedDirectory root = OpenRoot(target, options, node);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        DirectoryFinisher finisher = new(target, progress);
        using RestorePipeline pipeline = new(repository, metadata, target, options, progress, finisher, stop);
        using BlockingCollection<RestoreWindow> planned = new(boundedCapacity: 2);
        using BlockingCollection<RestoreWindow> free = [new RestoreWindow(), new RestoreWindow()];

        bool isFile = node is { Metadata.Type: not NodeType.Directory };
        RestorePlanner planner = new(
            metadata, target, options, progress, finisher, new DeletionScope(snapshot, isFile ? [] : path), Exchange, stop.Token);
        Task planning = Task.Factory.StartNew(
            () =>
            {
                try
                {
                    RestoreWindow window = free.Take(stop.Token);
                    planned.Add(
                        isFile ? planner.PlanFile(window, root, node!) : planner.PlanTree(window, root, node?.Subtree ?? snapshot.TreeId), stop.Token);
                    progress.TotalsAreFinal();
                    planned.CompleteAdding();
                }
                catch
                {
                    stop.Cancel();
                    throw;
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        try
        {
            Task writing = WriteAsync(pipeline, planned, free, stop);
            Task all = Task.WhenAll(planning, writing);
            await Task.WhenAll(all, FlushWhileAsync(all, target, options, progress, stop));
            pipeline.Finish();
        }
        catch (Exception e) when (Cause(e, planning) is { } cause)
        {
            pipeline.Abandon();
            cancellationToken.ThrowIfCancellationRequested();
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(cause);
        }

        if (!options.DryRun)
        {
            target.Flush();
        }

        return progress.ToResult();

        RestoreWindow Exchange(RestoreWindow full)
        {
            planned.Add(full, stop.Token);
            return free.Take(stop.Token);
        }
    }

    // The failure itself, not the cancellation that it caused in the others.
    private static Exception Cause(Exception thrown, Task planning) =>
        thrown is OperationCanceledException && planning.Exception?.InnerExceptions.FirstOrDefault(static e => e is not OperationCanceledException) is { } cause
            ? cause
            : thrown;

    // The disk is kept busy while files are written: flushed only at the end, it would sit idle until then.
    private static async Task FlushWhileAsync(
        Task writing, IRestoreTarget target, RestoreOptions options, RestoreProgress progress, CancellationTokenSource stop)
    {
        if (options.DryRun)
        {
            return;
        }

        long flushed = 0;
        using PeriodicTimer timer = new(FlushPause);
        try
        {
            while (!writing.IsCompleted)
            {
                await Task.WhenAny(writing, timer.WaitForNextTickAsync(CancellationToken.None).AsTask());
                if (progress.BytesRestored - flushed >= FlushAfter)
                {
                    flushed = progress.BytesRestored;
                    await Task.Run(target.Flush, stop.Token);
                }
            }
        }
        catch
        {
            await stop.CancelAsync();
            throw;
        }
    }

    private static async Task WriteAsync(
        RestorePipeline pipeline, BlockingCollection<RestoreWindow> planned, BlockingCollection<RestoreWindow> free, CancellationTokenSource stop)
    {
        try
        {
            await Task.Yield();
            while (planned.TryTake(out RestoreWindow? window, Timeout.Infinite, stop.Token))
            {
                await pipeline.RunAsync(window);
                window.Clear();
                free.Add(window, stop.Token);
            }
        }
        catch
        {
            await stop.CancelAsync();
            throw;
        }
    }

    private static PlannedDirectory OpenRoot(IRestoreTarget target, RestoreOptions options, Node? node)
    {
        TargetDirectory? directory = target.OpenRoot(create: !options.DryRun);
        bool hasMetadata = directory is { IsNew: true } && node is { Metadata.Type: NodeType.Directory };
        return new PlannedDirectory(null, [])
        {
            Target = directory,
            IsReady = true,
            IsSelected = true,
            Metadata = hasMetadata ? node!.Metadata : null,
        };
    }
}
