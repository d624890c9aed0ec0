using System.Threading.Channels;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Chunking;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// The threads and queues of a backup: one compares what the source has with the parents, several read, cut, hash, compress and seal, one
/// puts the nodes together in the order of the tree. <see cref="DiscoveryPipeline"/> → walk → (queue of batches) → workers, and
/// walk → (channel of steps) → assembler, which waits for each file at its place. All are bounded, so memory does not grow with the source.
/// </summary>
internal sealed class BackupPipeline : IDisposable
{
    // Enough steps that workers never wait for the assembler's next directory: 64 pages of 64; a step is some hundred bytes.
    private const int StepPagesAhead = 64;

    private readonly DiscoveryPipeline _discovery;
    private readonly UploadSession _session;
    private readonly BackupOptions _options;
    private readonly BackupProgress _progress;
    private readonly TimeProvider _time;
    private readonly Func<DirectoryIds, CancellationToken, Task> _checkpoint;
    private readonly FrameWriter _metadata;
    private readonly ChunkReader _parentReader;

    // The assembler's and, where files consist of pages, every worker's; each use is short.
    private readonly Lock _metadataGate = new();
    private readonly Lock _mapGate = new();
    private readonly Lazy<ChunkReader> _mapReader;
    private readonly TreeAssembler _assembler;

    /// <summary><paramref name="checkpoint"/> is called with the tree so far, when everything that it needs is in packs.</summary>
    public BackupPipeline(
        BackupRepository repository,
        DiscoveryPipeline discovery,
        UploadSession session,
        BackupOptions options,
        BackupProgress progress,
        TimeProvider time,
        Func<DirectoryIds, CancellationToken, Task> checkpoint)
    {
        _discovery = discovery;
        _session = session;
        _options = options;
        _progress = progress;
        _time = time;
        _checkpoint = checkpoint;
        Keys = repository.Keys;
        _metadata = session.CreateWriter(PackKind.Metadata);
        _parentReader = new ChunkReader(repository, session.Index, cachedFrames: 12);
        _mapReader = new Lazy<ChunkReader>(() => new ChunkReader(repository, session.Index, cachedFrames: 4));
        _assembler = new TreeAssembler(StoreMetadata, progress);
    }

    private Repository.Crypto.RepositoryKeys Keys { get; }

    /// <summary>Counts of what became of the entries.</summary>
    public SnapshotSummary Counts => _assembler.Counts;

    /// <summary>
    /// Runs to the end and returns the root's ids; then everything is in packs, though not yet durable. When it is cancelled, what is
    /// complete becomes a last checkpoint before the exception goes on.
    /// </summary>
    public async Task<DirectoryIds> RunAsync(IReadOnlyList<Snapshot> parents, CancellationToken cancellationToken)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        int count = Workers();
        WorkQueue queue = new(maxBatches: 4 * count, maxPieces: 2 * count);
        ChunkerProfile profile = ChunkerProfile.General;
        GearChunker chunker = new(profile, Keys.GearKey);
        using ChunkedFileReader chunked = new(chunker, profile, queue, count, _options.MemoryBudget / 4, _progress);
        PagedFileReader paged = new(queue, count, Keys.DataIdKey.ToArray(), StoreMetadata, ReadMap, _progress);
        FileWorker[] workers = new FileWorker[count];
        try
        {
            for (int i = 0; i < count; i++)
            {
                workers[i] = new FileWorker(_session, profile, chunked, paged, _progress, stop.Token);
            }

            Channel<WalkStep[]> steps = Channel.CreateBounded<WalkStep[]>(
                new BoundedChannelOptions(StepPagesAhead) { SingleReader = true, SingleWriter = true });
            using CancellationTokenRegistration wake = stop.Token.Register(() => queue.Fail(new OperationCanceledException(stop.Token)));
            List<Task> tasks =
            [
                Start(() => WalkAll(parents, queue, steps.Writer, stop.Token), stop),
            ];
            tasks.AddRange(workers.Select(w => Start(() => Work(w, queue), stop)));
            tasks.Add(Task.Run(() => GuardAsync(() => AssembleAsync(steps.Reader, workers, stop.Token), stop), CancellationToken.None));
            await FirstFailure(tasks);
            Flush(workers);
            DirectoryIds root = _assembler.Finish();
            FlushMetadata();
            return root;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await CheckpointAsync(workers, CancellationToken.None);
            throw;
        }
        finally
        {
            foreach (FileWorker? worker in workers)
            {
                worker?.Dispose();
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _metadata.Dispose();
        _parentReader.Dispose();
        if (_mapReader.IsValueCreated)
        {
            _mapReader.Value.Dispose();
        }
    }

    private ChunkId StoreMetadata(ReadOnlySpan<byte> bytes)
    {
        lock (_metadataGate)
        {
            return _metadata.Write(bytes, ContentHint.Compressible);
        }
    }

    private void FlushMetadata()
    {
        lock (_metadataGate)
        {
            _metadata.Flush();
        }
    }

    private ReadOnlyMemory<byte> ReadMap(ChunkId id)
    {
        lock (_mapGate)
        {
            return _mapReader.Value.Read(PackKind.Metadata, id);
        }
    }

    private static async Task FirstFailure(List<Task> tasks)
    {
        try
        {
            await Task.WhenAll(tasks);
        }
        catch
        {
            // The failure that made the others stop, not the cancellations that followed.
            Exception? cause = tasks.Where(static t => t.IsFaulted).Select(static t => t.Exception!.InnerException!)
                .FirstOrDefault(static e => e is not OperationCanceledException);
            if (cause is not null)
            {
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(cause);
            }

            throw;
        }
    }

    private static Task Start(Action action, CancellationTokenSource stop) => Task.Factory.StartNew(
        () =>
        {
            try
            {
                action();
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

    private static async Task GuardAsync(Func<Task> action, CancellationTokenSource stop)
    {
        try
        {
            await action();
        }
        catch
        {
            await stop.CancelAsync();
            throw;
        }
    }

    // A worker needs its frame, the compressor's window, and a buffer for files of some MiB.
    private int Workers()
    {
        const long PerWorker = 24 << 20;
        int wanted = _options.ReadConcurrency > 0 ? _options.ReadConcurrency : Environment.ProcessorCount;
        return (int)Math.Clamp(Math.Min(wanted, _options.MemoryBudget / PerWorker), 1, 64);
    }

    private void WalkAll(IReadOnlyList<Snapshot> parents, WorkQueue queue, ChannelWriter<WalkStep[]> steps, CancellationToken stop)
    {
        _progress.Phase = "discovery";
        ReadOnlyMemory<byte> Metadata(ChunkId id) => _parentReader.Read(PackKind.Metadata, id);
        TreeReader lists = new(Metadata);
        Walk walk = new(_discovery.Source, _session, _options, _progress, queue, steps.TryWrite, page => DiscoveryPipeline.Write(steps, page, stop))
        {
            ReadLists = content => TryReadLists(lists, content),
        };
        walk.Run(ParentDirectory.Roots(Metadata, parents), _discovery.Read(stop), stop);
        queue.Complete();
        steps.Complete();
        _progress.Phase = "upload";
    }

    private static IReadOnlyList<ChunkReference>? TryReadLists(TreeReader lists, FileContent content)
    {
        try
        {
            return lists.DataChunksOf(content);
        }
        catch (Primitives.BackupIQException)
        {
            return null;
        }
    }

    private static void Work(FileWorker worker, WorkQueue queue)
    {
        while (queue.Take(out IWork work))
        {
            work.Run(worker);
            queue.Finish(work);
        }
    }

    private async Task AssembleAsync(ChannelReader<WalkStep[]> steps, FileWorker[] workers, CancellationToken stop)
    {
        long last = _time.GetTimestamp();
        while (await steps.WaitToReadAsync(stop))
        {
            while (steps.TryRead(out WalkStep[]? page))
            {
                foreach (WalkStep step in page)
                {
                    _assembler.Add(step, stop);
                }

                if (_time.GetElapsedTime(last) >= _options.CheckpointInterval)
                {
                    await CheckpointAsync(workers, stop);
                    last = _time.GetTimestamp();
                }
            }
        }
    }

    private async Task CheckpointAsync(FileWorker[] workers, CancellationToken cancellationToken)
    {
        if (_options.DryRun)
        {
            return;
        }

        Flush(workers);
        DirectoryIds root = _assembler.Peek();
        FlushMetadata();
        await _checkpoint(root, cancellationToken);
    }

    private static void Flush(FileWorker[] workers)
    {
        foreach (FileWorker worker in workers)
        {
            worker.Flush();
        }
    }
}
