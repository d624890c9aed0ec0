using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// A writer's session (docs/format.md, Sessions): announces itself, then looks at index and marks, stores chunks, and commits by putting a
/// snapshot under its own id. Packs are durable before the index segment that names them, and that before the snapshot. Any number of
/// sessions of any number of machines may be open in one repository; none waits for another. Disposed without a commit it leaves packs
/// and index segments that the next backup reuses.
/// </summary>
public sealed class UploadSession : IAsyncDisposable
{
    // What a killed run has stored is found by the next one where an index segment names it. Segments become rarer as a run grows: it never loses more
    // than this share of what it has done, and a run of terabytes or weeks has some hundred segments, each of which is a file that is mapped.
    private const int IndexShare = 64;
    private const long RemoteIndexEvery = 256L << 20;
    private static readonly TimeSpan IndexAtFirst = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan IndexAtLast = TimeSpan.FromMinutes(5);

    private readonly BackupRepository _repository;
    private readonly UploadOptions _options;
    private readonly TimeProvider _time;
    private readonly CompressionSetting _compression;
    private readonly HashSet<UInt128> _pending = [];
    private readonly Lock _pendingGate = new();
    private readonly SemaphoreSlim _indexGate = new(1);
    private readonly ConcurrentBag<(PackId Id, PackKind Kind)> _storedPacks = [];
    private readonly ConcurrentQueue<StorageKey> _segments = [];
    private readonly List<PackContents> _unindexed = [];
    private IndexSegmentBuilder _segment = new();
    private readonly string _spool;
    private readonly bool _ownsSpool;
    private bool _ownsIndex = true;
    private LiveSession? _life;
    private volatile bool _isUncertain;
    private bool _isCommitting;
    private long _unindexedBytes;
    private long _storedBytes;
    private long _indexedAt;
    private readonly long _openedAt;
    private int _segmentSequence;
    private int _partialSequence;
    private long _dataBlobs;
    private long _treeBlobs;
    private long _dataAdded;
    private long _objectBytes;

    // The packs that the snapshot relies on and that others stored, with their kinds; null where nobody asks.
    private readonly ConcurrentDictionary<PackId, PackKind>? _reliedOn;
    private LockMemory _lockMemory = new(null);

    private UploadSession(BackupRepository repository, UploadOptions options, TimeProvider time)
    {
        _repository = repository;
        _options = options;
        _time = time;
        _openedAt = _indexedAt = time.GetTimestamp();
        _compression = CompressionSetting.Parse(options.Compression);
        _ownsSpool = repository.Storage.SpoolFolder is null && !options.DryRun;
        _spool = repository.Storage.SpoolFolder ?? (options.DryRun ? "" : Directory.CreateTempSubdirectory("backupiq-spool-").FullName);
        Id = options.Id ?? SessionId.New();
        Index = null!;
        _reliedOn = repository.Storage.Capabilities.ExtendsLocks && !options.DryRun ? new() : null;
        Packs = new PackSink(
            repository.Keys, Id, _spool, options.Connections, TargetSize, time, PackStoredAsync);
    }

    /// <summary>The session's id, and the id of the snapshot that it commits.</summary>
    public SessionId Id { get; private set; }

    /// <summary>The index as it was when the session opened, with what this session stored since.</summary>
    public ChunkIndex Index { get; private set; }

    /// <summary>What was found damaged while the index was loaded; the chunks concerned are stored again.</summary>
    public IReadOnlyList<string> Findings { get; private set; } = [];

    /// <summary>New chunks of file content.</summary>
    public long DataBlobs => Interlocked.Read(ref _dataBlobs);

    /// <summary>New chunks of metadata.</summary>
    public long TreeBlobs => Interlocked.Read(ref _treeBlobs);

    /// <summary>Plain bytes of new chunks.</summary>
    public long DataAdded => Interlocked.Read(ref _dataAdded);

    /// <summary>Bytes appended to packs.</summary>
    public long BytesPacked => Packs.BytesWritten;

    /// <summary>Bytes of everything that this session put: packs, index segments, its own objects.</summary>
    public long BytesPut => Packs.BytesWritten + Interlocked.Read(ref _objectBytes);

    /// <summary>The packs that this session made durable.</summary>
    public IReadOnlyCollection<(PackId Id, PackKind Kind)> StoredPacks => _storedPacks;

    /// <summary>The index segments that this session made durable.</summary>
    internal IReadOnlyCollection<StorageKey> Segments => _segments;

    /// <summary>Whether nothing is really stored.</summary>
    public bool IsDryRun => _options.DryRun;

    internal PackSink Packs { get; }

    internal RepositoryKeys Keys => _repository.Keys;

    /// <summary>Announces a session, then loads marks and index, in this order.</summary>
    /// <exception cref="StorageException">The storage cannot be written or read.</exception>
    public static async Task<UploadSession> OpenAsync(
        BackupRepository repository, UploadOptions options, string? cacheFolder, TimeProvider time, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Write);
        UploadSession session = new(repository, options, time) { _lockMemory = LockMemory.Of(repository, cacheFolder) };
        try
        {
            if (!options.DryRun)
            {
                await session.AnnounceAsync(cancellationToken);
                await SessionSweep.RunAsync(repository, session._spool, time, cancellationToken);
            }

            IndexLoad load = await IndexLoader.LoadAsync(repository, cacheFolder, cancellationToken);
            session.Index = load.Index;
            session.Findings = load.Findings;
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// Announces a session that does not ask what the repository has: for those who know it better. Only what the session itself has stored
    /// is not stored again.
    /// </summary>
    internal static async Task<UploadSession> OpenWithoutIndexAsync(
        BackupRepository repository, UploadOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Write);
        UploadSession session = new(repository, options, time) { Index = new ChunkIndex(null) };
        try
        {
            await session.AnnounceAsync(cancellationToken);
            return session;
        }
        catch
        {
            await session.DisposeAsync();
            throw;
        }
    }

    /// <summary>A worker's own way to store chunks of one kind.</summary>
    public FrameWriter CreateWriter(PackKind kind) => new(this, kind, _compression);

    /// <summary>
    /// Whether the chunk stands in a pack that a new snapshot may rely on, or is on its way into one by this session.
    /// </summary>
    public bool Has(PackKind kind, in ChunkId id)
    {
        lock (_pendingGate)
        {
            if (_pending.Contains(id.High))
            {
                return true;
            }
        }

        return IsPresent(kind, id);
    }

    private bool IsPresent(PackKind kind, in ChunkId id)
    {
        if (_reliedOn is null)
        {
            return Index.IsPresent(kind, id);
        }

        if (!Index.IsPresent(kind, id, out ChunkLocation location))
        {
            return false;
        }

        _reliedOn.TryAdd(Index.GetFrame(location.Frame).Pack, kind);
        return true;
    }

    /// <summary>True when the caller must store the chunk: nobody has it and nobody else of this session is about to store it.</summary>
    internal bool Claim(PackKind kind, in ChunkId id, int length)
    {
        if (IsPresent(kind, id))
        {
            return false;
        }

        lock (_pendingGate)
        {
            // Asked again under the lock: the segment with it may have been added between the two questions.
            if (!_pending.Add(id.High) || IsPresent(kind, id))
            {
                return false;
            }
        }

        Interlocked.Increment(ref kind == PackKind.Data ? ref _dataBlobs : ref _treeBlobs);
        Interlocked.Add(ref _dataAdded, length);
        return true;
    }

    /// <summary>
    /// Makes everything durable that was appended: packs, then the index segment that names them. The writers must have flushed.
    /// </summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        if (_options.DryRun)
        {
            return;
        }

        await Packs.FlushAsync();
        await _indexGate.WaitAsync(cancellationToken);
        try
        {
            await PutSegmentAsync();
        }
        finally
        {
            _indexGate.Release();
        }
    }

    /// <summary>Puts a partial snapshot: what is complete so far, for the run that takes up after an interruption. Flushes first.</summary>
    public async Task PutPartialAsync(ReadOnlyMemory<byte> document, CancellationToken cancellationToken)
    {
        await FlushAsync(cancellationToken);
        StorageKey key = RepositoryLayout.Partial(Id, _partialSequence++);
        await PutAsync(ObjectKind.PartialSnapshot, key, document, cancellationToken);
    }

    /// <summary>
    /// Commits: flushes, then puts the snapshot under this session's id, if nobody has fenced it. After that the snapshot counts, and the
    /// session is over.
    /// </summary>
    /// <exception cref="BackupIQException">With <c>SessionFenced</c>: a collector took this session for dead. Nothing was committed.</exception>
    public async Task CommitAsync(ReadOnlyMemory<byte> document, CancellationToken cancellationToken)
    {
        if (!await TryCommitAsync(document, cancellationToken))
        {
            throw new BackupIQException(ErrorCodes.SessionFenced, "This run was silent for so long that maintenance took it for dead, so its snapshot does not count.");
        }
    }

    /// <summary>As <see cref="CommitAsync"/>; false when a collector took this session for dead: nothing was committed.</summary>
    public async Task<bool> TryCommitAsync(ReadOnlyMemory<byte> document, CancellationToken cancellationToken)
    {
        await FlushAsync(cancellationToken);

        // From here on the session must not be ended unless the commit's outcome is known: a put that is still under way would arrive after
        // collectors have stopped waiting for it.
        _isCommitting = true;
        StorageKey key = RepositoryLayout.Snapshot(Id);
        PutOutcome outcome = await PutAsync(ObjectKind.Snapshot, key, document, cancellationToken);
        if (outcome == PutOutcome.AlreadyThere || !(_repository.CommitsByName || await TryConfirmAsync(cancellationToken)))
        {
            return false;
        }

        await EndAfterCommitAsync();
        return true;
    }

    /// <summary>
    /// Extends the locks of what the snapshot relies on and others stored, so that it lives as long as what this session stored itself. For after the commit,
    /// which it cannot undo: what is in the way is in the result.
    /// </summary>
    public async Task<LockExtension> ExtendLocksAsync(CancellationToken cancellationToken)
    {
        if (_reliedOn is null)
        {
            return LockExtension.None;
        }

        HashSet<PackId> own = [.. _storedPacks.Select(static pack => pack.Id)];
        IEnumerable<StorageKey> packs = _reliedOn.Where(pack => !own.Contains(pack.Key)).Select(static pack => RepositoryLayout.Pack(pack.Value, pack.Key));
        try
        {
            return await new LockPipeline(_repository, _time, _lockMemory).RunAsync(packs, [], cancellationToken);
        }
        catch (StorageException e)
        {
            return LockExtension.None with { Problem = e.Message };
        }
        catch (OperationCanceledException)
        {
            return LockExtension.None with { Problem = "it was interrupted" };
        }
    }

    /// <summary>
    /// Says that the session is over, so that no collector waits for it. <see cref="CommitAsync"/> does so itself.
    /// </summary>
    public async Task EndAsync(CancellationToken cancellationToken)
    {
        if (_life is { } life)
        {
            _life = null;
            await life.EndAsync(cancellationToken);
        }
    }

    /// <summary>
    /// Ends the session unless it has committed or may still do so; then what is not durable yet is dropped.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        await Packs.DisposeAsync();
        await IndexWhatIsStoredAsync();
        await EndIfCertainAsync();
        if (_ownsIndex)
        {
            Index?.Dispose();
        }

        _indexGate.Dispose();
        if (_ownsSpool)
        {
            Directory.Delete(_spool, recursive: true);
        }
    }

    /// <summary>Where it keeps what is on its way; the session's own, or the storage's, where dead ones may have left something.</summary>
    internal string Spool => _spool;

    /// <summary>Takes an index that other sessions have, too, and somebody else disposes; and what they know of locks.</summary>
    internal void Share(IndexLoad load, LockMemory memory)
    {
        _lockMemory = memory;
        Index.Dispose();
        Index = load.Index;
        _ownsIndex = false;
    }

    /// <summary>Whether somebody else took this session for dead.</summary>
    internal async Task<bool> IsGivenUpAsync(CancellationToken cancellationToken) =>
        _life is { } life && await life.IsGivenUpAsync(cancellationToken);

    /// <summary>Puts an index segment that its caller has built, given the running number that it gets.</summary>
    internal async Task<StorageKey> PutSegmentAsync(int level, Func<ulong, byte[]> build, CancellationToken cancellationToken)
    {
        await _indexGate.WaitAsync(cancellationToken);
        try
        {
            int sequence = _segmentSequence++;
            StorageKey key = RepositoryLayout.Index(Id, level, sequence);
            await PutAsync(ObjectKind.Index, key, build((ulong)sequence), CancellationToken.None);
            _segments.Enqueue(key);
            return key;
        }
        finally
        {
            _indexGate.Release();
        }
    }

    /// <summary>Bytes of a pack of this kind to aim at.</summary>
    internal long TargetSize(PackKind kind) => kind == PackKind.Data ? _options.PackSize : Math.Min(_options.PackSize, 16L << 20);

    private async Task AnnounceAsync(CancellationToken cancellationToken)
    {
        SessionDocument document = LiveSession.Describe(_options.Purpose, _options.Hostname, _options.Username, _options.ProgramVersion, _time);
        _life = await LiveSession.OpenAsync(
            _repository, Id, document, _time, bytes => Interlocked.Add(ref _objectBytes, bytes), cancellationToken);
    }

    // Without conditional put a fence is an object of its own. It is looked for after the snapshot is there, and again after the confirmation
    // is: a collector puts the fence, then looks for the confirmation, so at least one of the two sees what the other put.
    private async Task<bool> TryConfirmAsync(CancellationToken cancellationToken)
    {
        if (await IsFencedAsync(cancellationToken))
        {
            return false;
        }

        await PutAsync(ObjectKind.Annotation, RepositoryLayout.Confirmation(Id), ReadOnlyMemory<byte>.Empty, cancellationToken);
        return !await IsFencedAsync(cancellationToken);
    }

    private async Task<bool> IsFencedAsync(CancellationToken cancellationToken)
    {
        await _repository.WaitForListingsAsync(_time, cancellationToken);
        return await _repository.Storage.StatAsync(RepositoryLayout.Fence(Id), cancellationToken) is not null;
    }

    // The end tells collectors and forget that no retry of the commit is under way. The snapshot counts without it, too.
    private async Task EndAfterCommitAsync()
    {
        try
        {
            await EndAsync(CancellationToken.None);
        }
        catch (StorageException)
        {
            // Without its end the session looks as if it might still be at work: maintenance will look after that.
        }
    }

    // A storage that took packs and then no more, for it is full, has them for nothing unless the next run finds them. One that is away was waited for
    // long enough.
    private async Task IndexWhatIsStoredAsync()
    {
        if (Packs.Failure is StorageException { IsTransient: false } && !_isCommitting)
        {
            try
            {
                await PutSegmentAsync();
            }
            catch (StorageException)
            {
                // Not even that has room: the packs are nobody's, until prune finds them.
            }
        }
    }

    private async Task EndIfCertainAsync()
    {
        if (_life is { } life)
        {
            _life = null;
            if (_isCommitting || _isUncertain)
            {
                await life.DisposeAsync();
                return;
            }

            try
            {
                await life.EndAsync(CancellationToken.None);
            }
            catch (StorageException)
            {
                // As for a killed process: the next collector finds out.
            }
        }
    }

    // Runs on a closing task of the sink: the pack is finished, now it becomes durable, then known.
    private async Task PackStoredAsync(OpenPack pack, PackId id)
    {
        StorageKey key = RepositoryLayout.Pack(pack.Head.Kind, id);
        await AnsweredAsync(_repository.Storage.PutAsync(key, StorageContent.FromFile(pack.Path), CancellationToken.None));
        _storedPacks.Add((id, pack.Head.Kind));
        await _indexGate.WaitAsync();
        try
        {
            _segment.AddPack(id, (ulong)pack.Length, pack.Head.Salts, pack.Contents);
            _unindexed.Add(pack.Contents);
            _unindexedBytes += pack.Length;
            _storedBytes += pack.Length;
            if (IsIndexDue())
            {
                await PutSegmentAsync();
            }
        }
        finally
        {
            _indexGate.Release();
        }
    }

    private bool IsIndexDue()
    {
        if (_options.IndexEvery is { } every)
        {
            return _unindexedBytes >= every;
        }

        long share = _storedBytes / IndexShare;
        TimeSpan within = TimeSpan.FromTicks(Math.Clamp(_time.GetElapsedTime(_openedAt).Ticks / IndexShare, IndexAtFirst.Ticks, IndexAtLast.Ticks));
        long due = Math.Min(_repository.Storage.Capabilities.IsLocal ? share : Math.Max(share, RemoteIndexEvery), _options.IndexAtLatest ?? long.MaxValue);
        return _unindexedBytes >= due || _time.GetElapsedTime(_indexedAt) >= within;
    }

    private async Task PutSegmentAsync()
    {
        if (_segment.IsEmpty)
        {
            return;
        }

        int sequence = _segmentSequence++;
        byte[] plain = _segment.Build(Id, 0, (ulong)sequence);
        StorageKey key = RepositoryLayout.Index(Id, 0, sequence);
        await PutAsync(ObjectKind.Index, key, plain, CancellationToken.None);
        _segments.Enqueue(key);
        Index.Add([key.Value], plain);
        lock (_pendingGate)
        {
            foreach (PackContents contents in _unindexed)
            {
                foreach (ChunkEntry chunk in contents.Chunks)
                {
                    _pending.Remove(chunk.Id.High);
                }
            }
        }

        _unindexed.Clear();
        _unindexedBytes = 0;
        _indexedAt = _time.GetTimestamp();
        _segment = new IndexSegmentBuilder();
    }

    private async Task<PutOutcome> PutAsync(ObjectKind kind, StorageKey key, ReadOnlyMemory<byte> plain, CancellationToken cancellationToken)
    {
        byte[] bytes = SealedObject.Seal(Keys, kind, key, plain.Span);
        PutOutcome outcome = await AnsweredAsync(_repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken));
        Interlocked.Add(ref _objectBytes, bytes.Length);
        return outcome;
    }

    // A put that failed may have had its effect, or may have it yet; a session that cannot tell must not say that it is over.
    private async Task<PutOutcome> AnsweredAsync(ValueTask<PutOutcome> put)
    {
        try
        {
            return await put;
        }
        catch
        {
            _isUncertain = true;
            throw;
        }
    }
}
