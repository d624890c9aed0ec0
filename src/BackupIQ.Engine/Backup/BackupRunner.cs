using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Backup;

/// <summary>Backs a source up: session → compare → read and store → commit. The whole backup on one screen.</summary>
public sealed class BackupRunner(BackupRepository repository, TimeProvider time, string? cacheFolder)
{
    /// <summary>A fenced run begins again with what it had as its parent; more than twice means that something else is wrong.</summary>
    private const int MaxAttempts = 3;

    /// <summary>
    /// Runs a backup of <paramref name="source"/>. The snapshot exists whole when this returns, or not at all.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; what was complete is stored as a partial snapshot and reused.</exception>
    /// <exception cref="BackupIQException">It failed; nothing was committed, and what was stored is reused by the next run.</exception>
    public async Task<BackupResult> RunAsync(
        IBackupSource source, BackupOptions options, BackupProgress progress, CancellationToken cancellationToken)
    {
        using DiscoveryPipeline discovery = DiscoveryPipeline.Begin(source, time, cancellationToken);
        return await RunAsync(discovery, options, progress, cancellationToken);
    }

    /// <summary>The same of a source whose walk was begun already. <paramref name="discovery"/> stays the caller's.</summary>
    /// <exception cref="OperationCanceledException">As above.</exception>
    /// <exception cref="BackupIQException">As above; <c>SessionFenced</c> where the source cannot be had again.</exception>
    public async Task<BackupResult> RunAsync(
        DiscoveryPipeline discovery, BackupOptions options, BackupProgress progress, CancellationToken cancellationToken)
    {
        Snapshot? hint = null;
        DiscoveryPipeline? another = null;
        try
        {
            for (int attempt = 1; ; attempt++)
            {
                Attempt run = new(repository, another ?? discovery, options, progress, time, cacheFolder);
                try
                {
                    return await run.RunAsync(hint, cancellationToken);
                }
                catch (BackupIQException e) when (e.Code == ErrorCodes.SessionFenced && attempt < MaxAttempts && run.Draft is not null && discovery.Source.IsRepeatable)
                {
                    // Another session, everything looked up again: the tree of the lost run is a hint like any parent.
                    hint = run.Draft;
                    progress.OnNotice?.Invoke("Maintenance took this run for dead and fenced it off; it begins again with what is stored.");
                    progress.BeginAgain();
                    another?.Dispose();
                    another = DiscoveryPipeline.Begin(discovery.Source, time, cancellationToken);
                }
            }
        }
        finally
        {
            another?.Dispose();
        }
    }

    /// <summary>
    /// The same in a session that is open already, the caller's, whose options are these (<see cref="BackupOptions.ToUpload"/>). Once.
    /// </summary>
    /// <exception cref="BackupIQException">Also <c>SessionFenced</c>: nothing was committed.</exception>
    internal async Task<BackupResult> RunInAsync(
        UploadSession session, IBackupSource source, BackupOptions options, BackupProgress progress, CancellationToken cancellationToken)
    {
        using DiscoveryPipeline discovery = DiscoveryPipeline.Begin(source, time, cancellationToken);
        return await new Attempt(repository, discovery, options, progress, time, cacheFolder).RunAsync(session, null, cancellationToken);
    }

    private sealed class Attempt(
        BackupRepository repository, DiscoveryPipeline discovery, BackupOptions options, BackupProgress progress, TimeProvider time, string? cacheFolder)
    {
        private readonly IBackupSource _source = discovery.Source;
        private readonly long _startedAt = time.GetTimestamp();
        private readonly List<string> _damage = [];

        /// <summary>The snapshot as it was about to be committed.</summary>
        public Snapshot? Draft { get; private set; }

        public async Task<BackupResult> RunAsync(Snapshot? hint, CancellationToken cancellationToken)
        {
            await using UploadSession session = await UploadSession.OpenAsync(repository, options.ToUpload(), cacheFolder, time, cancellationToken);
            _damage.AddRange(session.Findings);
            return await RunAsync(session, hint, cancellationToken);
        }

        public async Task<BackupResult> RunAsync(UploadSession session, Snapshot? hint, CancellationToken cancellationToken)
        {
            Parents parents = await FindParentsAsync(hint, cancellationToken);
            using BackupPipeline pipeline = new(
                repository, discovery, session, options, progress, time, (root, ct) => PutPartialAsync(session, parents, root, ct));
            DirectoryIds root = await pipeline.RunAsync(parents.Compare, cancellationToken);
            SnapshotSummary summary = Summarise(pipeline.Counts, session);
            Snapshot snapshot = Describe(parents, root) with { Id = session.Id, Summary = summary };
            Draft = snapshot;
            bool isRefused = options.RequireWhole && progress.Failures > 0;
            if (options.DryRun || isRefused || (options.SkipIfUnchanged && parents.Shown?.Tree == snapshot.Tree))
            {
                await session.FlushAsync(cancellationToken);
                await session.EndAsync(cancellationToken);
                return Result(null, summary, session);
            }

            try
            {
                await session.FlushAsync(cancellationToken);
                if (options.Verify)
                {
                    progress.Phase = "verification";
                    await StoredPackVerifier.VerifyAsync(repository, session.Index, session.StoredPacks, cancellationToken);
                }

                cancellationToken.ThrowIfCancellationRequested();
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                // Stopped when all was read: the next run takes it over, as it does from a pipeline that was stopped.
                await PutPartialAsync(session, parents, root, CancellationToken.None);
                throw;
            }

            summary = Summarise(pipeline.Counts, session);
            snapshot = snapshot with { Ended = options.CopyOf is { Ended.Ticks: > 0 } copied ? copied.Ended : time.GetLocalNow(), Summary = options.CopyOf?.Summary ?? summary };
            await session.CommitAsync(SnapshotStore.Write(snapshot), cancellationToken);
            return Result(snapshot, summary, session) with { Locks = await session.ExtendLocksAsync(cancellationToken) };
        }

        private BackupResult Result(Snapshot? snapshot, SnapshotSummary summary, UploadSession session) => new()
        {
            Snapshot = snapshot,
            Summary = summary,
            Warnings = progress.Failures,
            BytesPut = session.BytesPut,
            Damage = _damage,
        };

        // The series: the same machine and paths. A full run compares with nothing, a differential one with the newest full.
        private async Task<Parents> FindParentsAsync(Snapshot? hint, CancellationToken cancellationToken)
        {
            if (options.Type == SnapshotType.Full)
            {
                return new Parents([], null);
            }

            SnapshotStore store = new(repository);
            IReadOnlyList<Snapshot> all = await store.ListStoredAsync(cancellationToken);
            List<Snapshot> compare = [];
            Snapshot? complete = options.Parent is { } named
                ? store.Choose(all, named)
                : all.LastOrDefault(s => IsSameSeries(s) && IsNotNewer(s) && (options.Type != SnapshotType.Differential || s.Type == SnapshotType.Full));
            IReadOnlyList<Snapshot> partials = await store.ListPartialAsync(cancellationToken);
            _damage.AddRange(store.Damaged);
            if ((hint ?? partials.LastOrDefault(IsPartOfThis)) is { } partial && (complete is null || partial.Time > complete.Time))
            {
                compare.Add(partial);
            }

            if (complete is not null)
            {
                compare.Add(complete);
            }

            return new Parents(compare, complete);
        }

        private bool IsPartOfThis(Snapshot partial) =>
            IsSameSeries(partial) && (options.CopyOf is not { } copied || partial.Original == copied.Original);

        private bool IsNotNewer(Snapshot snapshot) => options.CopyOf is not { } copied || snapshot.Time <= copied.Time;

        private bool IsSameSeries(Snapshot snapshot) =>
            snapshot.Hostname == (options.CopyOf?.Hostname ?? options.Hostname) && snapshot.Kind == _source.Kind && PathsOf(snapshot).SequenceEqual(_source.Paths, ByteComparer.Instance);

        private static IEnumerable<byte[]> PathsOf(Snapshot snapshot) => snapshot.RawPaths ?? snapshot.Paths.Select(PathText.Bytes);

        private async Task PutPartialAsync(UploadSession session, Parents parents, DirectoryIds root, CancellationToken cancellationToken)
        {
            Snapshot partial = Describe(parents, root) with { Partial = true };
            await session.PutPartialAsync(SnapshotStore.Write(partial), cancellationToken);
        }

        private Snapshot Describe(Parents parents, DirectoryIds root) => options.CopyOf is { } copied
            ? copied with { Parent = parents.Shown?.Id.ToString(), Tree = root.Tree.ToString(), Scan = root.Scan.ToString() }
            : DescribeNew(parents, root);

        private Snapshot DescribeNew(Parents parents, DirectoryIds root) => new()
        {
            Time = discovery.Started,
            Hostname = options.Hostname,
            Username = options.Username,
            Paths = [.. _source.Paths.Select(static p => PathText.Show(p))],
            RawPaths = _source.Paths.All(static p => PathText.IsUtf8(p)) ? null : _source.Paths,
            Tags = options.Tags,
            Kind = _source.Kind,
            Type = parents.Compare.Count == 0 ? SnapshotType.Full : options.Type,
            Parent = parents.Shown?.Id.ToString(),
            Tree = root.Tree.ToString(),
            Scan = root.Scan.ToString(),
            ProgramVersion = options.ProgramVersion,
            Db = _source.Document,
        };

        private SnapshotSummary Summarise(SnapshotSummary counts, UploadSession session)
        {
            long entries = counts.TotalFilesProcessed + counts.FilesFailed;
            return counts with
            {
                FilesFailed = progress.Failures,
                DataBlobs = session.DataBlobs,
                TreeBlobs = session.TreeBlobs,
                DataAdded = session.DataAdded,
                DataAddedPacked = session.BytesPacked,
                TotalDuration = time.GetElapsedTime(_startedAt).TotalSeconds,
                SuccessRate = entries == 0 ? 1 : (double)counts.TotalFilesProcessed / entries,
            };
        }

        private sealed record Parents(IReadOnlyList<Snapshot> Compare, Snapshot? Shown);
    }

    private sealed class ByteComparer : IEqualityComparer<byte[]>
    {
        public static readonly ByteComparer Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] obj) => obj.Length;
    }
}
