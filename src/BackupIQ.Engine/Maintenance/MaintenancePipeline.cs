using System.Collections.Concurrent;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Maintenance;

/// <summary>All workers of maintenance: the same number for following graphs, rewriting, marking and deleting, one stage after the other.</summary>
internal sealed class MaintenancePipeline(Collector collector, PruneOptions options, PruneProgress progress)
{
    // A worker holds opened frames, two frames that are being filled, and what it reads.
    private const long PerWorker = 24 << 20;

    private const long LargestFrame = 4 << 20;

    private const long CollectEvery = 16 << 20;

    // Requests that carry next to nothing: as many at once as a store far away takes well.
    private const int SmallRequests = 16;

    private long _rewritten;
    private readonly int _workers = (int)Math.Clamp(
        Math.Min(options.Concurrency > 0 ? options.Concurrency : Environment.ProcessorCount, options.MemoryBudget / PerWorker), 1, 64);

    // Each who rewrites holds frames that are opened, filled and sealed, some 24 MiB: one keeps a disk busy, a store far away is waited for.
    private int Rewriters => options.Concurrency == 0 && collector.IsLocal ? 1 : _workers;

    /// <summary>Follows everything that the roots lead to and that was not followed before.</summary>
    public async Task FollowAsync(IReadOnlyCollection<ReachedChunk> roots, bool isHint, CancellationToken cancellationToken)
    {
        if (roots.Count == 0)
        {
            return;
        }

        GraphQueue<ReachedChunk> queue = new(_workers);
        queue.Give(roots);
        if (_workers == 1)
        {
            Work(queue, isHint, cancellationToken);
            return;
        }

        using CancellationTokenRegistration stop = cancellationToken.Register(queue.End);
        Task[] tasks = new Task[_workers];
        for (int i = 0; i < tasks.Length; i++)
        {
            tasks[i] = Task.Factory.StartNew(
                () => Work(queue, isHint, cancellationToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        }

        await Task.WhenAll(tasks);
        cancellationToken.ThrowIfCancellationRequested();
    }

    /// <summary>Copies what is live out of packs; it is durable when this returns.</summary>
    public async Task RewriteAsync(IReadOnlyList<PlannedPack> packs, CancellationToken cancellationToken)
    {
        if (packs.Count == 0)
        {
            return;
        }

        progress.Begin("rewrite", packs.Count, packs.Sum(static p => p.Size));
        foreach (IGrouping<PackKind, PlannedPack> alike in packs.GroupBy(static p => p.Pack.Kind))
        {
            await RewriteAlikeAsync([.. alike], cancellationToken);
        }

        await collector.FlushAsync(cancellationToken);
    }

    // Of one kind: what fills frames of the other is not there meanwhile.
    private async Task RewriteAlikeAsync(IReadOnlyList<PlannedPack> packs, CancellationToken cancellationToken)
    {
        if (packs.Sum(static pack => pack.Rewritten) >= LargestFrame)
        {
            Collect();
        }

        Stack<PackRewriter> free = new();
        List<PackRewriter> all = [];
        try
        {
            await ForEachAsync(packs, Rewriters, async (pack, ct) =>
            {
                PackRewriter rewriter = Borrow(free, all);
                await rewriter.RewriteAsync(pack.Pack, pack.Fate, ct);
                lock (free)
                {
                    free.Push(rewriter);
                }

                progress.PackDone(pack.Size);
                if (Interlocked.Add(ref _rewritten, pack.Rewritten) >= CollectEvery)
                {
                    Interlocked.Exchange(ref _rewritten, 0);
                    Collect();
                }
            }, cancellationToken);
        }
        finally
        {
            // Also when something failed: the session has promised to store what was given to it, and nobody could give it again.
            all.ForEach(static r => r.Flush());
            all.ForEach(static r => r.Dispose());
        }
    }

    // The only collections that are asked for: what the plan, and the tables of packs that are done with, left behind would stand beside the frames that come,
    // until the collector finds it worth its while: 6 of 100 MB, measured (bench/README.md), for some milliseconds each.
    private static void Collect()
    {
#pragma warning disable RS0030
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
#pragma warning restore RS0030
    }

    /// <summary>Marks packs.</summary>
    public async Task MarkAsync(IReadOnlyList<PlannedPack> packs, CancellationToken cancellationToken)
    {
        progress.Begin("mark", packs.Count, 0);
        await ForEachAsync(packs, SmallRequests, async (pack, ct) =>
        {
            await collector.MarkAsync(pack.Pack, pack.Reason, ct);
            progress.PackDone(0);
        }, cancellationToken);
    }

    /// <summary>Deletes condemned packs.</summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>: the storage has locked some; all others are deleted.</exception>
    public async Task DeleteAsync(IReadOnlyList<CollectedPack> packs, CancellationToken cancellationToken)
    {
        progress.Begin("delete", packs.Count, packs.Sum(static p => p.Size));
        ConcurrentBag<BackupIQException> locked = [];
        await ForEachAsync([.. packs.Chunk(collector.DeletesAtOnce)], SmallRequests, async (batch, ct) =>
        {
            Dictionary<CollectedPack, long> sizes = batch.ToDictionary(static pack => pack, static pack => pack.Size);
            IReadOnlyDictionary<CollectedPack, BackupIQException> failed = await collector.DeleteAsync(batch, ct);
            foreach (CollectedPack pack in batch.Where(pack => !failed.ContainsKey(pack)))
            {
                progress.PackDone(sizes[pack]);
            }

            foreach (BackupIQException e in failed.Values)
            {
                if (e.Code != ErrorCodes.RetentionRefused)
                {
                    System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(e);
                }

                locked.Add(e);
            }
        }, cancellationToken);
        if (locked.TryPeek(out BackupIQException? one))
        {
            throw new BackupIQException(
                ErrorCodes.RetentionRefused, $"{locked.Count} of {packs.Count} packs that nothing needs are locked by the storage and stay", one.Guidance, one);
        }
    }

    private async Task ForEachAsync<T>(
        IReadOnlyList<T> items, int most, Func<T, CancellationToken, ValueTask> act, CancellationToken cancellationToken)
    {
        int workers = options.Concurrency > 0 ? Math.Min(most, options.Concurrency) : most;
        if (workers > 1 && items.Count > 1)
        {
            ParallelOptions parallelism = new() { MaxDegreeOfParallelism = workers, CancellationToken = cancellationToken };
            await Parallel.ForEachAsync(items, parallelism, act);
            return;
        }

        foreach (T item in items)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await act(item, cancellationToken);
        }
    }

    private PackRewriter Borrow(Stack<PackRewriter> free, List<PackRewriter> all)
    {
        lock (free)
        {
            if (free.TryPop(out PackRewriter? rewriter))
            {
                return rewriter;
            }

            rewriter = collector.CreateRewriter();
            all.Add(rewriter);
            return rewriter;
        }
    }

    private void Work(GraphQueue<ReachedChunk> queue, bool isHint, CancellationToken cancellationToken)
    {
        try
        {
            using ReachabilityWorker worker = new(collector, progress, isHint);
            queue.Walk(worker.Follow, cancellationToken);
        }
        catch
        {
            queue.End();
            throw;
        }
    }
}
