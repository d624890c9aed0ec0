using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// A collector of one repository, as far as it needs no trees (docs/format.md, Collection). It takes no lock: backups go on beside it, and other
/// collectors too. The steps are called in the order in which they stand here; each may be cut short at any point, by a kill or by an hour of
/// sleep, and another collector takes up what it left.
/// </summary>
/// <remarks>
/// Why each deletion is safe whenever it comes about: a pack goes only after its mark was visible, then sessions were listed, and each that
/// was met could commit nothing more; so whatever will ever be committed knows the mark and does not rely on the pack. What was committed
/// before is listed after that, and all that it needs stands in packs without a mark. Marks are never taken back, so this stays true.
/// </remarks>
public sealed class Collector : IAsyncDisposable
{
    private const int MaxListings = 20;

    private readonly BackupRepository _repository;
    private readonly CollectorOptions _options;
    private readonly TimeProvider _time;
    private readonly List<SegmentRecord> _segments = [];
    private readonly HashSet<StorageKey> _knownSegments = [];
    private readonly HashSet<SessionId> _knownRoots = [];
    private readonly HashSet<PackId> _marks = [];
    private readonly Dictionary<PackId, SegmentRecord> _tombstones = [];
    private readonly Dictionary<SessionId, bool> _isAtWork = [];
    private readonly UploadSession? _session;
    private readonly SessionWatch _watch;
    private FrameMover? _mover;
    private CollectionIndex _index;
    private SessionTable _sessions = null!;
    private Settlement? _settlement;
    private List<SnapshotObject> _newRoots = [];
    private List<SnapshotObject> _partials = [];

    private Collector(BackupRepository repository, CollectorOptions options, UploadSession? session, TimeProvider time)
    {
        _repository = repository;
        _options = options;
        _session = session;
        _time = time;
        _index = new CollectionIndex(options.ScratchFolder);
        _watch = new SessionWatch(repository, session?.Id ?? default, options, time);
        _mover = session is null ? null : new FrameMover(repository, session, session.TargetSize);
    }

    /// <summary>Complete snapshots that the last survey met for the first time, confirmed or not, but none whose session was fenced before it was.</summary>
    public IReadOnlyList<SnapshotObject> NewRoots => _newRoots;

    /// <summary>Partial snapshots as the last survey found them.</summary>
    public IReadOnlyList<SnapshotObject> Partials => _partials;

    /// <summary>Index segments that are there.</summary>
    public int SegmentCount => _segments.Count(static s => !s.IsDeleted);

    /// <summary>Chunks that the index names, each as often as it is stored.</summary>
    public long EntryCount => _index.EntryCount;

    /// <summary>Bytes that this collector has put: packs, index segments and small objects.</summary>
    public long BytesPut => _session?.BytesPut ?? 0;

    /// <summary>Whether reading and writing packs costs no more than a disk's time.</summary>
    public bool IsLocal => _repository.Storage.Capabilities.IsLocal;

    internal CollectionIndex Index => _index;

    internal IEnumerable<SegmentRecord> Segments => _segments.Where(static s => !s.IsDeleted);

    /// <summary>Segments that were there and that this collector has deleted.</summary>
    internal IEnumerable<StorageKey> DeletedSegments => _segments.Where(static s => s.IsDeleted).Select(static s => s.Key);

    /// <summary>The packs of which a mark is there.</summary>
    internal IReadOnlyCollection<PackId> Marks => _marks;

    /// <summary>All tombstones, each with the greatest segment that has it.</summary>
    internal IReadOnlyDictionary<PackId, SegmentRecord> Tombstones => _tombstones;

    internal SessionTable Sessions => _sessions;

    internal SessionWatch Watch => _watch;

    internal Settlement? Settlement => _settlement;

    internal BackupRepository Repository => _repository;

    internal CollectorOptions Options => _options;

    internal TimeProvider Time => _time;

    internal UploadSession Session => _session ?? throw new InvalidOperationException("A dry run has no session.");

    /// <summary>Announces a collector; for a dry run nothing is announced, and then nothing may be changed.</summary>
    /// <exception cref="StorageException">The storage cannot be written.</exception>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>: only a newer version may delete from this repository.</exception>
    public static async Task<Collector> OpenAsync(
        BackupRepository repository, CollectorOptions options, bool isDryRun, TimeProvider time, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Delete);
        if (isDryRun)
        {
            return new Collector(repository, options, null, time);
        }

        UploadOptions upload = new()
        {
            Purpose = SessionPurpose.Prune,
            Hostname = options.Hostname,
            Username = options.Username,
            ProgramVersion = options.ProgramVersion,
            Compression = options.Compression,
            PackSize = options.PackSize,
            IndexEvery = 256L << 20,
            Id = options.Id,
        };
        return new Collector(repository, options, await UploadSession.OpenWithoutIndexAsync(repository, upload, time, cancellationToken), time);
    }

    /// <summary>
    /// Other sessions that may be at work. Whoever is certainly dead, because its process is gone from this machine, is given up first.
    /// </summary>
    public Task<IReadOnlyList<AwaitedSession>> OpenSessionsAsync(CancellationToken cancellationToken) => _watch.OpenSessionsAsync(cancellationToken);

    /// <summary>
    /// Reads what the repository says of itself: marks, sessions, snapshots, index, packs, in this order; so each thing that is met is met
    /// together with what it rests on. A later survey adds what is new.
    /// </summary>
    /// <exception cref="CorruptDataException">A snapshot or index segment cannot be read, so nobody can tell what is needed.</exception>
    public async Task SurveyAsync(CancellationToken cancellationToken)
    {
        await ReadMarksAsync(cancellationToken);
        _sessions = await SessionTable.ListAsync(_repository, cancellationToken);
        await ReadRootsAsync(cancellationToken);
        await ReadIndexAsync(cancellationToken);
        await ListPacksAsync(cancellationToken);
        await ProtectAsync(cancellationToken);
        await RequireOwnSessionAsync(cancellationToken);
    }

    /// <summary>
    /// Forgets what the surveys have found, but not what was waited for: where something seems to be missing that was only moved meanwhile, all
    /// is looked at afresh before anybody is alarmed.
    /// </summary>
    public async Task StartOverAsync(CancellationToken cancellationToken)
    {
        _index.Dispose();
        _index = new CollectionIndex(_options.ScratchFolder);
        _segments.Clear();
        _knownSegments.Clear();
        _knownRoots.Clear();
        _tombstones.Clear();
        _mover = _session is null ? null : new FrameMover(_repository, _session, _session.TargetSize);
        await _repository.WaitForListingsAsync(_time, cancellationToken);
    }

    /// <summary>Notes that a snapshot needs a chunk; false when no pack that is there has it. <paramref name="length"/> -1: any.</summary>
    public bool Need(PackKind kind, in ChunkId id, long length) => _index.Need(kind, id, length);

    /// <summary>True for the first who follows this metadata chunk as such.</summary>
    public bool Visit(GraphPart part, bool isHint, in ChunkId id) => _index.Visit(part, isHint, id);

    /// <summary>A worker's own reader of metadata.</summary>
    public CollectionReader CreateReader() => new(_repository, _index);

    /// <summary>Decides which copy of each needed chunk counts, and adds up what is live.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c>: something needed is in no pack.</exception>
    public void Choose(CancellationToken cancellationToken)
    {
        long lost = _index.Choose(_options.Switches, cancellationToken);
        if (lost > 0)
        {
            throw new BackupIQException(
                ErrorCodes.ChunkMissing, $"{lost} chunks that snapshots need are in no pack, so nothing may be deleted.");
        }
    }

    /// <summary>Makes the plan of what goes and what is rewritten.</summary>
    public PrunePlan Plan(PruneLimits limits)
    {
        PrunePlan plan = PrunePlanner.Make([.. _index.Packs.Values], SegmentCount, _options.PackSize, limits);
        return _options.Switches.TakeMarksBack
            ? plan with { Packs = [.. plan.Packs.Select(static p => p.Pack.IsMarked ? p with { Fate = PackFate.Delete } : p)] }
            : plan;
    }

    /// <summary>A worker's own rewriter.</summary>
    public PackRewriter CreateRewriter() => new(_repository, Session, _mover!);

    /// <summary>Makes durable what was rewritten, and the index segments that name it. Rewriters must have flushed.</summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        await _mover!.FlushAsync(cancellationToken);
        await Session.FlushAsync(cancellationToken);
    }

    /// <summary>Marks a pack. The mark is never taken back.</summary>
    public async Task MarkAsync(CollectedPack pack, string reason, CancellationToken cancellationToken)
    {
        if (_options.Switches.ListSessionsBeforeMarking)
        {
            _settlement ??= await _watch.SettleAsync(static _ => { }, cancellationToken);
        }

        StorageKey key = RepositoryLayout.Mark(pack.Id);
        byte[] bytes = SealedObject.Seal(_repository.Keys, ObjectKind.Mark, key, MarkDocument.Write(Session.Id, reason));
        await _repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken);
        lock (_marks)
        {
            pack.IsMarked = true;
            _marks.Add(pack.Id);
        }
    }

    /// <summary>
    /// When all marks are put: waits until no session that was announced before they were visible can commit anything. Packs that are marked
    /// now may go afterwards, segments that are known now may go in favour of others that are.
    /// </summary>
    public async Task SettleAsync(Action<IReadOnlyList<AwaitedSession>> onWaiting, CancellationToken cancellationToken)
    {
        HashSet<PackId> marks = [.. _marks, .. _tombstones.Keys];
        HashSet<PackId> tombstones = [.. _tombstones.Keys];
        HashSet<StorageKey> segments = [.. Segments.Select(static s => s.Key)];
        await _repository.WaitForListingsAsync(_time, cancellationToken);
        Settlement settlement = _settlement ?? await _watch.SettleAsync(onWaiting, cancellationToken);
        await _repository.WaitForListingsAsync(_time, cancellationToken);
        _settlement = settlement with { Marks = marks, Tombstones = tombstones, Segments = segments };
        Relate();
    }

    /// <summary>
    /// After the survey that follows the settlement: sessions that had committed, and whose snapshot was removed since, must not put it again.
    /// False when one has: then another survey is due.
    /// </summary>
    public async Task<bool> TryBarRemovedAsync(CancellationToken cancellationToken)
    {
        bool isBarred = true;
        foreach ((SessionId session, SessionState state) in _settlement!.Met)
        {
            if (state == SessionState.Committed && !_knownRoots.Contains(session))
            {
                isBarred &= await _watch.TryBarAsync(session, cancellationToken);
            }
        }

        return isBarred;
    }

    /// <summary>
    /// The packs that may go, now that what is needed of them is known (<see cref="Choose"/>): those of which something is needed that no
    /// pack without a mark holds have to be rewritten first.
    /// </summary>
    public IReadOnlyList<CollectedPack> Condemned() =>
        [.. _index.Packs.Values.Where(static p => p.IsSettled && p.Size >= 0).OrderBy(static p => p.Id)];

    /// <summary>Extends the locks of what stays because something needs it, as far as <see cref="Choose"/> knows.</summary>
    /// <exception cref="StorageException">The storage cannot be reached.</exception>
    public Task<LockExtension> ExtendLocksAsync(CancellationToken cancellationToken) => new LockPipeline(_repository, _time).RunAsync(
        _index.Packs.Values.Where(static p => p.IsThere && !p.IsMarked && p.LiveChunks > 0).Select(static p => RepositoryLayout.Pack(p.Kind, p.Id)), _knownRoots, cancellationToken);

    /// <summary>Those of them out of which something has to be copied first.</summary>
    public async Task<IReadOnlyList<PlannedPack>> RescuesAsync(CancellationToken cancellationToken)
    {
        List<PlannedPack> needed = [];
        foreach (CollectedPack pack in Condemned().Where(IsNeeded))
        {
            if (!_options.Switches.TakeMarksBack)
            {
                needed.Add(new PlannedPack(pack, PackFate.Rewrite, pack.Size, pack.LiveBytes + pack.DeadInWhole, "needed since it was marked"));
                continue;
            }

            await _repository.Storage.DeleteAsync(RepositoryLayout.Mark(pack.Id), cancellationToken);
            _marks.Remove(pack.Id);
            _settlement = _settlement! with { Marks = _settlement.Marks.Where(m => m != pack.Id).ToHashSet() };
            Relate();
        }

        return needed;
    }

    /// <summary>
    /// The last gate before anything is deleted: what was rewritten is read back into the index, and nothing needed may be left in a
    /// condemned pack alone.
    /// </summary>
    /// <exception cref="BackupIQException">Something is: a fault of this program, and nothing is deleted.</exception>
    public async Task RequireRescuedAsync(CancellationToken cancellationToken)
    {
        await ReadOwnSegmentsAsync(cancellationToken);
        Choose(cancellationToken);
        foreach (CollectedPack pack in Condemned())
        {
            if (IsNeeded(pack))
            {
                throw new BackupIQException(
                    ErrorCodes.Internal, $"Pack {pack.Id} was to be deleted, and holds {pack.LiveChunks} chunks that nothing else does. Nothing was deleted.");
            }
        }

        await RequireOwnSessionAsync(cancellationToken);
    }

    /// <summary>
    /// Puts the tombstones of packs that are about to be deleted, and compacts the index where it is worth it.
    /// </summary>
    /// <returns>How many segments were put.</returns>
    public Task<int> CompactAsync(IReadOnlyCollection<CollectedPack> condemned, bool isThorough, CancellationToken cancellationToken) =>
        new IndexCompactor(this).RunAsync(condemned, isThorough, cancellationToken);

    /// <summary>Removes what nobody can need any more beside packs, and the partial snapshots that are given.</summary>
    public Task<SweepCounts> SweepAsync(IReadOnlyCollection<string> stalePartials, CancellationToken cancellationToken) =>
        new RepositorySweep(this, new IndexCompactor(this)).RunAsync(stalePartials, cancellationToken);

    /// <summary>How many packs are best deleted together.</summary>
    public int DeletesAtOnce => _repository.Storage.Capabilities.DeletesAtOnce;

    /// <summary>Deletes condemned packs. Their tombstones must be there.</summary>
    /// <returns>Those that could not be deleted, and why.</returns>
    public async Task<IReadOnlyDictionary<CollectedPack, BackupIQException>> DeleteAsync(IReadOnlyList<CollectedPack> packs, CancellationToken cancellationToken)
    {
        foreach (CollectedPack pack in packs)
        {
            if (!pack.IsSettled || !(pack.IsTombstoned || _options.Switches.PutNoTombstones))
            {
                throw new InvalidOperationException($"Pack {pack.Id} is not to be deleted.");
            }
        }

        IReadOnlyDictionary<StorageKey, StorageException> refused =
            await _repository.Storage.DeleteAllAsync([.. packs.Select(static pack => RepositoryLayout.Pack(pack.Kind, pack.Id))], cancellationToken);
        Dictionary<CollectedPack, BackupIQException> failed = [];
        foreach (CollectedPack pack in packs)
        {
            if (refused.TryGetValue(RepositoryLayout.Pack(pack.Kind, pack.Id), out StorageException? failure))
            {
                failed[pack] = failure;
            }
            else
            {
                pack.Size = -1;
            }
        }

        return failed;
    }

    /// <summary>Says that the collector is done. Without it the next one finds out. One that has put nothing leaves nothing of itself behind.</summary>
    public async Task EndAsync(CancellationToken cancellationToken)
    {
        await Session.EndAsync(cancellationToken);
        if (Session.Segments.Count == 0 && Session.StoredPacks.Count == 0)
        {
            await new RepositorySweep(this, new IndexCompactor(this)).RemoveSessionAsync(Session.Id, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _index.Dispose();
        if (_session is not null)
        {
            await _session.DisposeAsync();
        }
    }

    /// <summary>Reads the segments that this collector has put since it looked last.</summary>
    internal async Task ReadOwnSegmentsAsync(CancellationToken cancellationToken)
    {
        foreach (StorageKey key in Session.Segments.Where(k => !_knownSegments.Contains(k)))
        {
            await AddSegmentAsync(new SegmentRecord(key, isVouchedFor: true), cancellationToken);
        }

        _index.CompleteTier();
        Relate();
        foreach ((PackId id, _) in Session.StoredPacks)
        {
            // That it is durable was answered; no listing is needed to know that it is there.
            if (_index.Packs.TryGetValue(id, out CollectedPack? pack) && pack.Size < 0)
            {
                pack.Size = pack.IndexedSize;
            }
        }
    }

    /// <summary>Puts an index segment that a compaction has made, and takes it in as the storage gives it back.</summary>
    internal async Task<SegmentRecord> PutSegmentAsync(int level, Func<ulong, byte[]> build, CancellationToken cancellationToken)
    {
        StorageKey key = await Session.PutSegmentAsync(level, build, cancellationToken);
        await ReadOwnSegmentsAsync(cancellationToken);
        return _segments.First(s => s.Key == key);
    }

    /// <summary>Whether a session may still be at work, as far as this collector can see; its own is.</summary>
    internal async Task<bool> IsAtWorkAsync(SessionId session, CancellationToken cancellationToken)
    {
        if (_isAtWork.TryGetValue(session, out bool known))
        {
            return known;
        }

        bool isAtWork = session == _session?.Id;
        if (!isAtWork && !_knownRoots.Contains(session))
        {
            // One that is not in the list may have been announced since.
            isAtWork = _sessions.Sessions.TryGetValue(session, out SessionObjects? objects) && objects.IsAnnounced
                ? await _watch.LookAsync(session, cancellationToken) == SessionState.Open
                : await _repository.Storage.StatAsync(RepositoryLayout.SessionOpen(session), cancellationToken) is not null;
        }

        _isAtWork[session] = isAtWork;
        return isAtWork;
    }

    /// <summary>Whether the session had committed before the index was listed.</summary>
    internal bool IsKnownRoot(SessionId session) => _knownRoots.Contains(session);

    internal void ForgetMark(PackId pack) => _marks.Remove(pack);

    private bool IsNeeded(CollectedPack pack) => _options.Switches switch
    {
        { CountMarkedHolders: true } => pack.OnlyHere > 0,
        { TakeMarksBack: true } => pack.LiveChunks > 0 && pack.IsMarked,
        _ => pack.LiveChunks > 0,
    };

    // Marks leave their place only when tombstones have come to theirs, which is listed later: so none is missed.
    private async Task ReadMarksAsync(CancellationToken cancellationToken)
    {
        _marks.Clear();
        _marks.UnionWith(await IndexLoader.ListMarksAsync(_repository, cancellationToken));
    }

    private async Task ReadRootsAsync(CancellationToken cancellationToken)
    {
        _newRoots = [];
        await foreach (SnapshotObject root in SnapshotObjects.ReadRootsAsync(_repository, _knownRoots, cancellationToken))
        {
            if (_options.Switches.CountConfirmedOnly && !_repository.CommitsByName &&
                await _repository.Storage.StatAsync(RepositoryLayout.Confirmation(root.Session), cancellationToken) is null)
            {
                continue;
            }

            if (await IsRevokedAsync(root.Session, cancellationToken))
            {
                continue;
            }

            if (root.Document is null)
            {
                throw new CorruptDataException(
                    $"{root.Name}: snapshot {root.Session.ToString()[..8]} cannot be read ({root.Damage.TrimEnd('.')}), so nobody can tell what it needs and nothing may be deleted.");
            }

            _newRoots.Add(root);
        }

        _knownRoots.UnionWith(_newRoots.Select(static r => r.Session));
        _partials = [];
        await foreach (SnapshotObject partial in SnapshotObjects.ReadAllAsync(_repository, partial: true, cancellationToken))
        {
            _partials.Add(partial);
        }
    }

    // Where the fence is an object of its own, a snapshot may stand beside it that will never count.
    private async Task<bool> IsRevokedAsync(SessionId session, CancellationToken cancellationToken) =>
        !_repository.CommitsByName && _sessions.Sessions.TryGetValue(session, out SessionObjects? objects) && objects.HasFence &&
        await _watch.TryRevokeAsync(session, cancellationToken);

    // Greater segments first: a segment that names nothing but what they name needs no room here.
    private async Task ReadIndexAsync(CancellationToken cancellationToken)
    {
        for (int listing = 1; ; listing++)
        {
            List<SegmentRecord> found = [];
            await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.IndexPrefix, cancellationToken))
            {
                // What has no segment's name is none of this version: it stays.
                if (!_knownSegments.Contains(stored.Key) && RepositoryLayout.TryParseIndex(stored.Key, out SessionId session, out _, out _))
                {
                    found.Add(new SegmentRecord(stored.Key, _sessions.IsAnnounced(session)));
                }
            }

            found.Sort(static (a, b) => a.IsVouchedFor != b.IsVouchedFor ? b.IsVouchedFor.CompareTo(a.IsVouchedFor) : SegmentRecord.Compare(b, a));
            bool isWhole = true;
            foreach (SegmentRecord segment in found)
            {
                isWhole &= await AddSegmentAsync(segment, cancellationToken);
            }

            if (isWhole)
            {
                break;
            }

            if (listing == MaxListings)
            {
                throw new StorageException(
                    ErrorCodes.StorageConnection, "The index changes faster than it can be read: segments are listed that are not there.");
            }
        }

        _index.CompleteTier();
    }

    // False when it is gone since the listing, which can only be while this collector has no session, or was given up.
    private async Task<bool> AddSegmentAsync(SegmentRecord segment, CancellationToken cancellationToken)
    {
        try
        {
            if (await _repository.TryReadObjectAsync(ObjectKind.Index, segment.Key, cancellationToken) is not { } plain)
            {
                return false;
            }

            _index.Add(segment, plain);
            _segments.Add(segment);
            _knownSegments.Add(segment.Key);
            return true;
        }
        catch (CorruptDataException e)
        {
            throw new CorruptDataException(
                $"Index segment {segment.Key} is damaged ({DamageReading.Problem(segment.Key.Value, e)}), so nobody can tell what is stored and nothing may be deleted.", e);
        }
    }

    private async Task ListPacksAsync(CancellationToken cancellationToken)
    {
        foreach (CollectedPack pack in _index.Packs.Values)
        {
            pack.Size = -1;
        }

        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.PackPrefix(kind), cancellationToken))
            {
                // What has no pack's name is no pack of this version: it stays.
                if (RepositoryLayout.TryParsePack(stored.Key, out _, out PackId id))
                {
                    _index.PackOf(id, kind).Size = stored.Size;
                }
            }
        }

        Relate();
    }

    // What segments, marks and tombstones say of each pack.
    private void Relate()
    {
        foreach (SegmentRecord segment in _segments)
        {
            segment.IsSettled = _settlement?.Segments.Contains(segment.Key) ?? false;
            foreach (CollectedPack pack in segment.Packs)
            {
                pack.IsVouchedFor |= segment.IsVouchedFor;
                pack.Home = segment.IsVouchedFor && segment.IsGreaterThan(pack.Home) ? segment : pack.Home;
                pack.HomeAtFirst = segment.IsVouchedFor && segment.IsSettled && segment.IsGreaterThan(pack.HomeAtFirst) ? segment : pack.HomeAtFirst;
            }

            foreach (PackId tombstone in segment.Tombstones)
            {
                // Nobody has to vouch for a tombstone: it can only keep somebody from relying on a pack.
                if (!_tombstones.TryGetValue(tombstone, out SegmentRecord? known) ||
                    (segment.IsVouchedFor && (!known.IsVouchedFor || segment.IsGreaterThan(known))))
                {
                    _tombstones[tombstone] = segment;
                }
            }
        }

        foreach (CollectedPack pack in _index.Packs.Values)
        {
            pack.IsMarked = _marks.Contains(pack.Id);
            pack.IsTombstoned = _tombstones.ContainsKey(pack.Id);
            pack.IsSettled = _settlement?.Marks.Contains(pack.Id) ?? false;
            pack.WasTombstoned = _settlement?.Tombstones.Contains(pack.Id) ?? false;
        }
    }

    private async Task ProtectAsync(CancellationToken cancellationToken)
    {
        _isAtWork.Clear();
        foreach (CollectedPack pack in _index.Packs.Values)
        {
            pack.IsProtected = false;
        }

        foreach (SegmentRecord segment in Segments)
        {
            if (await IsAtWorkAsync(segment.Session, cancellationToken))
            {
                foreach (CollectedPack pack in segment.Packs)
                {
                    pack.IsProtected = true;
                }
            }
        }

        foreach (CollectedPack pack in _index.Packs.Values.Where(static p => p.IsOrphan && p.Size >= 0 && !p.IsMarked && !p.IsTombstoned))
        {
            pack.IsProtected = await IsOrphanProtectedAsync(pack, cancellationToken);
        }
    }

    // A pack says in its head who wrote it. Where that cannot be read, it may be anybody's who is at work.
    private async Task<bool> IsOrphanProtectedAsync(CollectedPack pack, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[(int)Math.Min(pack.Size, PackHead.FixedSize)];
        try
        {
            int read = await _repository.ReadPackAsync(pack.Kind, pack.Id, 0, bytes, cancellationToken);
            return PackHead.TryReadSession(bytes.AsSpan(0, read), out SessionId session)
                ? await IsAtWorkAsync(session, cancellationToken)
                : (await OpenSessionsAsync(cancellationToken)).Count > 0;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return true;
        }
    }

    // A session that was given up is protected no longer: what it has listed since may lack what it should have seen.
    private async Task RequireOwnSessionAsync(CancellationToken cancellationToken)
    {
        if (_session is not null && await _session.IsGivenUpAsync(cancellationToken))
        {
            throw new BackupIQException(
                ErrorCodes.SessionFenced, "This prune was silent for so long that another one took it for dead. What it had not deleted yet, it left.");
        }
    }
}
