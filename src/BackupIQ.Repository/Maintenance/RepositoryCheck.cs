using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Logs;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// A check of one repository as far as it needs no trees: every object against every other. Opened it has read snapshots, then index, then
/// the list of packs (the reverse of the order in which they are written, so that a backup going on meanwhile is never accused). Its methods
/// may be called from any thread. Nothing in the repository is changed.
/// </summary>
public sealed class RepositoryCheck : IDisposable
{
    // A session whose last sign of life is older is taken for dead when counting what prune could free; safety never rests on this.
    private static readonly TimeSpan Lease = TimeSpan.FromMinutes(15);

    // Contents tables of packs that no segment names are held until so many are together.
    private const int RecoverAtOnce = 64;

    private readonly BackupRepository _repository;
    private readonly CheckIndex _index = new();
    private readonly ConcurrentQueue<RepositoryDamage> _damage = new();
    private readonly List<SnapshotObject> _snapshots = [];
    private readonly List<SnapshotObject> _partials = [];
    private readonly List<StorageKey> _smallObjects = [];
    private readonly List<StorageKey> _logs = [];
    private readonly HashSet<SessionId> _live = [];
    private readonly HashSet<SessionId> _announced = [];
    private IReadOnlyList<CheckedPack> _packs = [];
    private int _damagedSegments;

    private RepositoryCheck(BackupRepository repository) => _repository = repository;

    /// <summary>Complete snapshots that could be read.</summary>
    public IReadOnlyList<SnapshotObject> Snapshots => _snapshots;

    /// <summary>Partial snapshots, and on storage without conditional put also complete ones that are not confirmed: hints only.</summary>
    public IReadOnlyList<SnapshotObject> Partials => _partials;

    /// <summary>Every pack that the index or the storage names.</summary>
    public IReadOnlyList<CheckedPack> Packs => _packs;

    /// <summary>Names of small objects to be opened by <see cref="CheckSmallObjectAsync"/>.</summary>
    public int SmallObjectCount => _smallObjects.Count;

    /// <summary>Whether reading whole packs costs no more than a disk's time.</summary>
    public bool IsLocal => _repository.Storage.Capabilities.IsLocal;

    /// <summary>What was found so far, packs aside.</summary>
    public IReadOnlyCollection<RepositoryDamage> Damage => _damage;

    /// <summary>Index segments that cannot be read.</summary>
    public int DamagedSegments => _damagedSegments;

    /// <summary>Reads what the repository says of itself.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached.</exception>
    public static async Task<RepositoryCheck> OpenAsync(BackupRepository repository, TimeProvider time, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Check);
        RepositoryCheck check = new(repository);
        try
        {
            await check.CheckWaysInAsync(cancellationToken);
            await check.ReadSnapshotsAsync(RepositoryLayout.PartialSnapshotPrefix, isPartial: true, cancellationToken);
            await check.ReadSnapshotsAsync(RepositoryLayout.SnapshotPrefix, isPartial: false, cancellationToken);
            await check.ListSmallObjectsAsync(time, cancellationToken);
            await check.ListLogsAsync(cancellationToken);
            await check.ReadIndexAsync(cancellationToken);
            await check.ListPacksAsync(cancellationToken);
            return check;
        }
        catch
        {
            check.Dispose();
            throw;
        }
    }

    /// <summary>A worker's own examiner; <paramref name="onBytes"/> is told of what it reads.</summary>
    public PackExaminer CreateExaminer(Action<long> onBytes) => new(_repository, _index, onBytes);

    /// <summary>A worker's own reader of trees.</summary>
    public CheckedChunkReader CreateReader() => new(_repository, _index);

    /// <summary>Opens the <paramref name="number"/>th small object; what is damaged is told.</summary>
    public async Task CheckSmallObjectAsync(int number, CancellationToken cancellationToken)
    {
        StorageKey key = _smallObjects[number];
        // A lost tag or hold is a loss; sessions and marks only cost maintenance some work.
        DamageSeverity severity = RepositoryLayout.TryParseAnnotation(key, out _, out _, out _, out _) ? DamageSeverity.Error : DamageSeverity.Warning;
        try
        {
            (byte[]? bytes, string problem) = await SmallObject.ReadAsync(_repository.Storage, key, HeadedObject.MaxSize, cancellationToken);
            if (bytes is null)
            {
                if (problem.Length > 0)
                {
                    Report(DamageKind.SmallObject, severity, key.Value, problem);
                }

                return;
            }

            if (!SealedObject.TryPeekKind(bytes, out ObjectKind kind))
            {
                Report(DamageKind.SmallObject, severity, key.Value, "it is not an object that this version knows");
                return;
            }

            SealedObject.Open(_repository.Keys, kind, key, bytes);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Report(DamageKind.SmallObject, severity, key.Value, DamageReading.Problem(key.Value, e));
        }
    }

    /// <summary>Files of logs, to be looked at by <see cref="CheckLogAsync"/>.</summary>
    public int LogCount => _logs.Count;

    /// <summary>Looks at the <paramref name="number"/>th file of a log: what it says of itself, and with <paramref name="readData"/> all of it. What is damaged is told.</summary>
    public async Task CheckLogAsync(int number, bool readData, CancellationToken cancellationToken)
    {
        StorageKey key = _logs[number];
        if (await LogArchive.CheckAsync(_repository, key, readData, cancellationToken) is { } problem)
        {
            Report(DamageKind.Log, DamageSeverity.Error, key.Value, problem);
        }
    }

    /// <summary>
    /// Opens, by what the index says, packs that could not be opened by their own contents: <paramref name="examine"/> is called with each
    /// batch of work and returns when it is done. Then the index is compared the other way round. Call once, after all packs were examined.
    /// </summary>
    public async Task FinishPacksAsync(
        Func<IReadOnlyList<Func<PackExaminer, CancellationToken, Task>>, Task> examine, CancellationToken cancellationToken)
    {
        foreach (CheckedPack[] batch in _packs.Where(static p => p.NeedsIndexContents && !p.IsMissing).Chunk(RecoverAtOnce))
        {
            Dictionary<CheckedPack, PackPlan> plans = _index.PlansOf(batch, cancellationToken);
            await examine([.. plans.Select(static p => new Func<PackExaminer, CancellationToken, Task>((e, ct) => e.OpenByIndexAsync(p.Key, p.Value, ct)))]);
        }

        _index.CompareBack(cancellationToken);
    }

    /// <summary>Frames and chunks of packs as the index has them; packs that no segment names are left out.</summary>
    internal Dictionary<CheckedPack, PackPlan> PlansByIndex(IEnumerable<CheckedPack> packs, CancellationToken cancellationToken) =>
        _index.PlansOf(packs, cancellationToken);

    /// <summary>What is known of a chunk, and which pack has it or had it. <paramref name="length"/> -1: any.</summary>
    public ChunkFate Find(PackKind kind, in ChunkId id, long length, out CheckedPack? pack) => _index.Find(kind, id, length, out _, out pack);

    /// <summary>As <see cref="Find"/>; the pack counts as needed.</summary>
    public ChunkFate Use(PackKind kind, in ChunkId id, long length)
    {
        ChunkFate fate = _index.Find(kind, id, length, out _, out CheckedPack? pack);
        if (fate == ChunkFate.Present)
        {
            pack!.Use();
        }

        return fate;
    }

    /// <summary>Entries of the index: every number of <see cref="NumberOf"/> is below.</summary>
    public long EntryCount => _index.EntryCount;

    /// <summary>A number for a metadata chunk by which to remember it; -1 when the index does not know it.</summary>
    public long NumberOf(in ChunkId id) => _index.NumberOf(id);

    /// <summary>True for the first who comes to this metadata chunk; also when nothing knows it, for then it cannot be remembered.</summary>
    public bool Visit(in ChunkId id)
    {
        long number = _index.NumberOf(id);
        return number < 0 || _index.Visit(number);
    }

    /// <summary>Adds a finding.</summary>
    public void Report(DamageKind kind, DamageSeverity severity, string objectName, string problem) =>
        _damage.Enqueue(new RepositoryDamage(kind, severity, objectName, problem));

    /// <summary>
    /// The findings about packs, once everything has been looked at. <paramref name="isSomethingMissing"/>: a snapshot needs a chunk that
    /// nothing knows, so that a pack whose contents cannot be read may be the one that had it.
    /// </summary>
    public IEnumerable<RepositoryDamage> PackDamage(bool isSomethingMissing)
    {
        foreach (CheckedPack pack in _packs)
        {
            if (pack.IsMissing)
            {
                // Marked, needed by nothing and gone: a collector did that; its index entries go with the next compaction.
                // Or only a segment of a session that nobody announces any more names it: that counts for nothing.
                if (pack.IsUsed || pack.IsNeededLost || (!pack.IsMarked && pack.IsVouchedFor))
                {
                    yield return new RepositoryDamage(DamageKind.PackMissing, DamageSeverity.Error, pack.ObjectName, "the index names it, and it is not there", pack.Id);
                }
            }
            else if (pack.IsBroken)
            {
                // Marked as damaged by a repair, and nothing needs it any more: what could be read of it stands elsewhere.
                bool isExpected = pack.IsUnindexed || pack.IsMarked;
                bool matters = !isExpected || pack.IsUsed || pack.IsNeededLost || isSomethingMissing;
                yield return new RepositoryDamage(
                    DamageKind.PackDamaged, matters ? DamageSeverity.Error : DamageSeverity.Warning, pack.ObjectName, string.Join("; ", pack.Problems), pack.Id);
            }
        }

        foreach (IGrouping<SessionId?, CheckedPack> lost in _packs.Where(static p => p.IsUnindexed && p.IsUsed).GroupBy(static p => p.Session))
        {
            int count = lost.Count();
            string packs = count == 1 ? "1 pack that snapshots need is" : $"{count} packs that snapshots need are";
            yield return new RepositoryDamage(
                DamageKind.IndexLost,
                DamageSeverity.Error,
                lost.Key is { } session ? $"{RepositoryLayout.IndexPrefix}{session}" : RepositoryLayout.IndexPrefix,
                $"a segment of the index is lost: {packs} named by no other; their own contents tables serve, so no data is lost");
        }
    }

    /// <summary>Packs that no snapshot needs and that no session wrote which may still be at work: what prune would free.</summary>
    public (int Count, long Bytes) Unneeded()
    {
        int count = 0;
        long bytes = 0;
        foreach (CheckedPack pack in _packs)
        {
            if (!pack.IsUsed && !pack.IsMissing && !(pack.Session is { } session && _live.Contains(session)))
            {
                count++;
                bytes += pack.Size;
            }
        }

        return (count, bytes);
    }

    /// <summary>Extends the locks of what snapshots need, complete ones and partial ones, as far as they were followed.</summary>
    /// <exception cref="StorageException">The storage cannot be reached.</exception>
    public Task<LockExtension> ExtendLocksAsync(TimeProvider time, CancellationToken cancellationToken) => new LockPipeline(_repository, time).RunAsync(
        _packs.Where(static pack => pack.IsUsed && !pack.IsMissing).Select(static pack => RepositoryLayout.Pack(pack.Kind, pack.Id)),
        _snapshots.Select(static snapshot => snapshot.Session),
        cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _index.Dispose();

    private async Task CheckWaysInAsync(CancellationToken cancellationToken)
    {
        HashSet<string> told = [];
        void Tell(RepositoryFinding finding)
        {
            if (told.Add(finding.ObjectName))
            {
                bool isSlot = finding.ObjectName.StartsWith(RepositoryLayout.KeyPrefix, StringComparison.Ordinal);
                Report(isSlot ? DamageKind.KeySlot : DamageKind.Configuration, DamageSeverity.Error, finding.ObjectName, finding.Problem);
            }
        }

        List<RepositoryFinding> findings = [];
        ConfigurationStore configurations = await ConfigurationStore.LoadAsync(_repository.Storage, cancellationToken);
        if (configurations.Open(_repository.Keys, findings) is null)
        {
            findings.Add(new RepositoryFinding(RepositoryLayout.ConfigurationPrefix, "no copy of the configuration is whole; only the recovery kit opens the repository"));
        }

        findings.AddRange((await _repository.Slots.ListAsync(cancellationToken)).Findings);
        findings.AddRange(_repository.Findings);
        findings.ForEach(Tell);
    }

    private async Task ReadSnapshotsAsync(string prefix, bool isPartial, CancellationToken cancellationToken)
    {
        List<StorageKey> keys = [];
        await foreach (StoredObject stored in _repository.Storage.ListAsync(prefix, cancellationToken))
        {
            keys.Add(stored.Key);
        }

        List<(StorageKey Key, SessionId Session)> named = [];
        foreach (StorageKey key in keys)
        {
            ReadOnlySpan<char> name = key.Value.AsSpan(prefix.Length);
            if (name.Length < 2 * SessionId.Size || !SessionId.TryParse(name[..(2 * SessionId.Size)], out SessionId session))
            {
                Report(DamageKind.SmallObject, DamageSeverity.Warning, key.Value, "no object of this version has such a name");
                continue;
            }

            named.Add((key, session));
        }

        await foreach ((SnapshotObject? snapshot, bool isConfirmed) in ReadAheadPipeline.RunAsync(
            named, ReadAheadPipeline.WidthFor(_repository.Storage), (one, stop) => ReadSnapshotAsync(one.Key, one.Session, isPartial, stop), cancellationToken))
        {
            if (snapshot is not null)
            {
                (isPartial || !isConfirmed ? _partials : _snapshots).Add(snapshot);
            }
        }
    }

    // Null: it is none, or damaged, which is told.
    private async Task<(SnapshotObject? Snapshot, bool IsConfirmed)> ReadSnapshotAsync(StorageKey key, SessionId session, bool isPartial, CancellationToken cancellationToken)
    {
        try
        {
            bool isConfirmed = isPartial || _repository.CommitsByName ||
                await _repository.Storage.StatAsync(RepositoryLayout.Confirmation(session), cancellationToken) is not null;

            // It may be a fence, or forgotten since the listing.
            if (await _repository.ReadUnlessFenceAsync(isPartial ? ObjectKind.PartialSnapshot : ObjectKind.Snapshot, key, cancellationToken, onlyHere: true) is (_, { } document))
            {
                return (new SnapshotObject(session, key.Value, document, ""), isConfirmed);
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Report(
                DamageKind.Snapshot,
                isPartial ? DamageSeverity.Warning : DamageSeverity.Error,
                key.Value,
                $"{(isPartial ? "partial snapshot" : "snapshot")} {session.ToString()[..8]} is damaged: {DamageReading.Problem(key.Value, e)}");
        }

        return default;
    }

    private async Task ListSmallObjectsAsync(TimeProvider time, CancellationToken cancellationToken)
    {
        Dictionary<SessionId, (DateTimeOffset Seen, bool IsOver)> sessions = [];
        DateTimeOffset now = time.GetUtcNow();
        foreach (string prefix in (string[])
            [RepositoryLayout.SessionPrefix, RepositoryLayout.AnnotationPrefix, RepositoryLayout.WithdrawalPrefix, RepositoryLayout.MarkPrefix, RepositoryLayout.PlanPrefix])
        {
            await foreach (StoredObject stored in _repository.Storage.ListAsync(prefix, cancellationToken))
            {
                _smallObjects.Add(stored.Key);
                ReadOnlySpan<char> name = stored.Key.Value.AsSpan(prefix.Length);
                if (prefix != RepositoryLayout.SessionPrefix || name.Length < 2 * SessionId.Size || !SessionId.TryParse(name[..(2 * SessionId.Size)], out SessionId session))
                {
                    continue;
                }

                if (stored.Key == RepositoryLayout.SessionOpen(session))
                {
                    _announced.Add(session);
                }

                (DateTimeOffset seen, bool isOver) = sessions.GetValueOrDefault(session);
                bool ends = name[(2 * SessionId.Size)..] is ".end" or ".fence";
                sessions[session] = (stored.StoredAt > seen ? stored.StoredAt : seen, isOver || ends);
            }
        }

        ReportLostCopies();
        HashSet<SessionId> committed = [.. _snapshots.Select(static s => s.Session)];
        foreach ((SessionId session, (DateTimeOffset seen, bool isOver)) in sessions)
        {
            if (!isOver && !committed.Contains(session) && now - seen < Lease)
            {
                _live.Add(session);
            }
        }
    }

    // Other names under that prefix are of a later version.
    private async Task ListLogsAsync(CancellationToken cancellationToken)
    {
        await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.LogPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseLog(stored.Key, out _, out _, out _))
            {
                _logs.Add(stored.Key);
            }
        }
    }

    // What is said about a snapshot stands under two names; one that is gone costs nothing yet.
    private void ReportLostCopies()
    {
        HashSet<StorageKey> there = [.. _smallObjects];
        foreach (StorageKey key in _smallObjects)
        {
            if (RepositoryLayout.TryParseAnnotation(key, out SessionId snapshot, out bool isWithdrawal, out SessionId? unique, out char copy) && unique is { } id)
            {
                StorageKey other = RepositoryLayout.Annotation(snapshot, id, isWithdrawal, copy == 'a' ? 'b' : 'a');
                if (!there.Contains(other))
                {
                    Report(DamageKind.SmallObject, DamageSeverity.Warning, other.Value, "it is missing; its other copy serves");
                }
            }
        }
    }

    private async Task ReadIndexAsync(CancellationToken cancellationToken)
    {
        List<StorageKey> segments = [];
        await foreach (StoredObject segment in _repository.Storage.ListAsync(RepositoryLayout.IndexPrefix, cancellationToken))
        {
            segments.Add(segment.Key);
        }

        segments.Sort(static (a, b) => string.CompareOrdinal(a.Value, b.Value));
        await foreach ((StorageKey key, byte[]? plain) in ReadAheadPipeline.RunAsync(segments, ReadAheadPipeline.WidthForLarge(_repository.Storage), ReadSegmentAsync, cancellationToken))
        {
            // One that was compacted away since the listing is of no use: its entries stand in a later segment, and packs it alone named are found by their contents.
            if (plain is null)
            {
                continue;
            }

            try
            {
                bool isVouchedFor = RepositoryLayout.TryParseIndex(key, out SessionId session, out _, out _) && _announced.Contains(session);
                _index.Add(plain, isRecovered: false, isVouchedFor);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                ReportSegment(key, e);
            }
        }
    }

    // Without bytes it is gone, or damaged, which is told.
    private async Task<(StorageKey Key, byte[]? Plain)> ReadSegmentAsync(StorageKey key, CancellationToken cancellationToken)
    {
        try
        {
            return (key, await _repository.TryReadObjectAsync(ObjectKind.Index, key, cancellationToken, onlyHere: true));
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            ReportSegment(key, e);
            return (key, null);
        }
    }

    private void ReportSegment(StorageKey key, BackupIQException damage)
    {
        Interlocked.Increment(ref _damagedSegments);
        Report(DamageKind.IndexSegment, DamageSeverity.Error, key.Value, DamageReading.Problem(key.Value, damage));
    }

    private async Task ListPacksAsync(CancellationToken cancellationToken)
    {
        List<CheckedPack> unnamed = [];
        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.PackPrefix(kind), cancellationToken))
            {
                string name = stored.Key.Value[(stored.Key.Value.LastIndexOf('/') + 1)..];
                if (!PackId.TryParse(name, out PackId id) || RepositoryLayout.Pack(kind, id) != stored.Key)
                {
                    Report(DamageKind.SmallObject, DamageSeverity.Warning, stored.Key.Value, "no pack has such a name");
                }
                else if (_index.Packs.TryGetValue(id, out CheckedPack? known) && known.Kind == kind)
                {
                    known.Size = stored.Size;
                }
                else if (known is null)
                {
                    unnamed.Add(new CheckedPack(id, kind) { Size = stored.Size });
                }
            }
        }

        await ListMarksAsync(cancellationToken);
        await RecoverAsync(unnamed, cancellationToken);
        _index.Complete();
        _packs = [.. _index.Packs.Values.OrderBy(static p => p.Kind).ThenBy(static p => p.Id)];
    }

    private async Task ListMarksAsync(CancellationToken cancellationToken)
    {
        await foreach (StoredObject mark in _repository.Storage.ListAsync(RepositoryLayout.MarkPrefix, cancellationToken))
        {
            string name = mark.Key.Value[(mark.Key.Value.LastIndexOf('/') + 1)..];
            if (name.Length >= 2 * PackId.Size && PackId.TryParse(name.AsSpan(0, 2 * PackId.Size), out PackId id) && _index.Packs.TryGetValue(id, out CheckedPack? pack))
            {
                pack.IsMarked = true;
            }
        }
    }

    // What no segment names was left by a killed run, is being written just now, or belongs to a segment that is lost: its own contents table
    // tells what is in it, so that snapshots which need it are not accused.
    private async Task RecoverAsync(List<CheckedPack> unnamed, CancellationToken cancellationToken)
    {
        IndexSegmentBuilder segment = new();
        await foreach ((CheckedPack found, PackAnatomy? anatomy) in ReadAheadPipeline.RunAsync(unnamed, ReadAheadPipeline.WidthFor(_repository.Storage), TryReadAsync, cancellationToken))
        {
            if (anatomy is { Head: { } head, Contents: { } contents })
            {
                segment.AddPack(found.Id, (ulong)found.Size, head.Salts, contents);
            }
            else
            {
                _index.AddUnknown(found.Id, found.Kind).Size = found.Size;
            }

            if (segment.PackCount >= RecoverAtOnce)
            {
                _index.Add(segment.Build(default, 0, 0), isRecovered: true, isVouchedFor: true);
                segment = new IndexSegmentBuilder();
            }
        }

        if (!segment.IsEmpty)
        {
            _index.Add(segment.Build(default, 0, 0), isRecovered: true, isVouchedFor: true);
        }

        foreach (CheckedPack found in unnamed)
        {
            _index.Packs[found.Id].Size = found.Size;
        }
    }

    private async Task<(CheckedPack Pack, PackAnatomy? Anatomy)> TryReadAsync(CheckedPack pack, CancellationToken cancellationToken)
    {
        try
        {
            return (pack, await PackAnatomy.ReadAsync(_repository, pack.Kind, pack.Id, pack.Size, cancellationToken));
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.StorageArchived || DamageReading.IsDamage(e))
        {
            return (pack, null);
        }
    }
}
