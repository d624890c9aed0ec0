using System.Collections.Concurrent;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Verification;

/// <summary>All workers of a check: the same number for small objects, packs and graph, one stage after the other.</summary>
internal sealed class CheckPipeline(RepositoryCheck check, CheckOptions options, CheckProgress progress) : IDisposable
{
    private readonly ConcurrentBag<PackExaminer> _examiners = [];
    /// <summary>Requests of a few kilobytes at once over a line: as many as an endpoint takes by default. They hold no frames.</summary>
    private const int SmallReadsOverALine = 16;

    /// <summary>Workers beside those that the cores can do with, where the storage is over a line: of the walk most wait for answers.</summary>
    private const int WaitingWorkers = 4;

    private readonly int _workers = options.Concurrency > 0 ? Math.Min(options.Concurrency, 64) : Math.Clamp(Environment.ProcessorCount, 1, 64);

    private int SmallReads => check.IsLocal || options.Concurrency > 0 ? _workers : Math.Max(_workers, SmallReadsOverALine);

    private int Walkers => check.IsLocal || options.Concurrency > 0 ? _workers : _workers + WaitingWorkers;

    /// <summary>Opens every small object.</summary>
    public Task CheckSmallObjectsAsync(CancellationToken cancellationToken) => Parallel.ForEachAsync(
        Enumerable.Range(0, check.SmallObjectCount),
        Parallelism(SmallReads, cancellationToken),
        async (number, ct) => await check.CheckSmallObjectAsync(number, ct));

    /// <summary>Looks at every file of a log; whole where everything is to be read.</summary>
    public Task CheckLogsAsync(bool readData, CancellationToken cancellationToken) => Parallel.ForEachAsync(
        Enumerable.Range(0, check.LogCount),
        Parallelism(readData ? _workers : SmallReads, cancellationToken),
        async (number, ct) => await check.CheckLogAsync(number, readData, ct));

    /// <summary>Examines packs, the largest first so that no worker is left alone at the end, and compares them with the index.</summary>
    public Task ExaminePacksAsync(IEnumerable<(CheckedPack Pack, PackDepth Depth)> packs, CancellationToken cancellationToken) =>
        ExaminePacksAsync(packs.OrderByDescending(static p => p.Depth).ThenByDescending(static p => p.Pack.Size), null, cancellationToken);

    /// <summary>
    /// Examines packs, in the order of the plan, and compares them with the index. Once the limit is reached no further pack is read whole.
    /// </summary>
    public Task ExaminePacksAsync(CheckPlan plan, ReadingLimit limit, CancellationToken cancellationToken) =>
        ExaminePacksAsync(plan.Tasks, limit, cancellationToken);

    private async Task ExaminePacksAsync(
        IEnumerable<(CheckedPack Pack, PackDepth Depth)> tasks, ReadingLimit? limit, CancellationToken cancellationToken)
    {
        // Those that are read whole come first, and each takes buffers; of the others only a few kilobytes are read.
        ILookup<bool, (CheckedPack Pack, PackDepth Depth)> parts = tasks.ToLookup(static task => task.Depth == PackDepth.Contents);
        foreach (bool isSmall in (bool[])[false, true])
        {
            await Parallel.ForEachAsync(
                parts[isSmall],
                Parallelism(isSmall ? SmallReads : _workers, cancellationToken),
                async (task, ct) =>
                {
                    PackDepth depth = limit?.Allow(task.Depth) ?? task.Depth;
                    if (depth != task.Depth)
                    {
                        progress.WillRead(0, -task.Pack.Size);
                    }

                    await WithExaminerAsync(examiner => examiner.ExamineAsync(task.Pack, depth, ct));
                    if (limit is not null)
                    {
                        await limit.NoteAsync(task.Pack, depth);
                    }

                    progress.PackDone();
                });
        }

        await check.FinishPacksAsync(
            batch => Parallel.ForEachAsync(
                batch, Parallelism(_workers, cancellationToken), async (open, ct) => await WithExaminerAsync(examiner => open(examiner, ct))),
            cancellationToken);

        // The graph comes next, with buffers of its own.
        Dispose();
    }

    /// <summary>Follows everything that the roots lead to and that was not followed before; with a <paramref name="proof"/> pages are read.</summary>
    public async Task<(bool Damage, bool Missing)> FollowAsync(IEnumerable<GraphItem> roots, PageProof? proof, CancellationToken cancellationToken)
    {
        GraphQueue<GraphItem> queue = new(Walkers);
        queue.Give(roots);
        using CancellationTokenRegistration stop = cancellationToken.Register(queue.End);
        Task<(bool Damage, bool Missing)>[] tasks = new Task<(bool, bool)>[Walkers];
        for (int i = 0; i < tasks.Length; i++)
        {
            tasks[i] = Task.Factory.StartNew(
                () => Work(queue, proof, cancellationToken), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        }

        (bool Damage, bool Missing)[] met = await Task.WhenAll(tasks);
        cancellationToken.ThrowIfCancellationRequested();
        return (met.Any(static m => m.Damage), met.Any(static m => m.Missing));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        while (_examiners.TryTake(out PackExaminer? examiner))
        {
            examiner.Dispose();
        }
    }

    private static ParallelOptions Parallelism(int workers, CancellationToken cancellationToken) =>
        new() { MaxDegreeOfParallelism = workers, CancellationToken = cancellationToken };

    private async Task WithExaminerAsync(Func<PackExaminer, Task> work)
    {
        PackExaminer examiner = _examiners.TryTake(out PackExaminer? free) ? free : check.CreateExaminer(progress.BytesRead);
        try
        {
            await work(examiner);
        }
        finally
        {
            _examiners.Add(examiner);
        }
    }

    private (bool Damage, bool Missing) Work(GraphQueue<GraphItem> queue, PageProof? proof, CancellationToken cancellationToken)
    {
        try
        {
            using GraphWorker worker = new(check, progress, proof);
            queue.Walk(worker.Follow, cancellationToken);
            return (worker.HasMetDamage, worker.HasMetMissing);
        }
        catch
        {
            queue.End();
            throw;
        }
    }
}
