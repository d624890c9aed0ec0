using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>What came of repairing the index, or would come of it.</summary>
public sealed record IndexRepairResult
{
    /// <summary>Segments that cannot be read.</summary>
    public required IReadOnlyList<MendedObject> Damaged { get; init; }

    /// <summary>Packs that no segment of an announced session named; they are in new segments now.</summary>
    public required int PacksAdopted { get; init; }

    /// <summary>Packs that no segment names and whose own contents cannot be read either.</summary>
    public required IReadOnlyList<MendedObject> Unreadable { get; init; }

    /// <summary>Packs that a session at work has written; it will name them itself.</summary>
    public required int PacksOfSessions { get; init; }

    /// <summary>There is something to do.</summary>
    public bool IsNeeded => Damaged.Count > 0 || PacksAdopted > 0 || Unreadable.Count > 0;
}

/// <summary>
/// Makes the index whole again from the packs' own contents tables: puts new segments for all packs that no segment vouches for, and then
/// removes the segments that cannot be read. It does so as a session like any other, so that collectors wait for it; one that is at work
/// already keeps it from beginning, for it may be about to delete what would be adopted.
/// </summary>
public sealed class IndexRepair
{
    private const int PacksPerSegment = 64;
    private const long BytesPerSegment = 8 << 20;

    private readonly BackupRepository _repository;
    private readonly SessionWatch _watch;
    private readonly UploadSession? _session;
    private readonly List<StorageKey> _damaged = [];
    private readonly List<MendedObject> _told = [];
    private readonly List<MendedObject> _unreadable = [];
    private readonly HashSet<PackId> _known = [];
    private readonly HashSet<PackId> _there = [];
    private int _adopted;
    private int _ofSessions;

    private IndexRepair(BackupRepository repository, UploadOptions options, UploadSession? session, TimeProvider time)
    {
        _repository = repository;
        _session = session;
        _watch = new SessionWatch(repository, session?.Id ?? default, new CollectorOptions { Hostname = options.Hostname }, time);
    }

    /// <summary>Looks, and unless it is a dry run and when there is something to do, repairs.</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: a prune is at work.</exception>
    public static async Task<IndexRepairResult> RunAsync(BackupRepository repository, UploadOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        IndexRepair look = new(repository, options, null, time);
        IndexRepairResult found = await look.RunAsync(cancellationToken);
        if (options.DryRun || !found.IsNeeded)
        {
            return found;
        }

        await using UploadSession session = await UploadSession.OpenWithoutIndexAsync(repository, options, time, cancellationToken);
        IndexRepair repair = new(repository, options, session, time);
        await repair.RequireNoCollectorAsync(cancellationToken);
        await repository.WaitForListingsAsync(time, cancellationToken);
        IndexRepairResult result = await repair.RunAsync(cancellationToken);
        await session.EndAsync(cancellationToken);
        return result;
    }

    private async Task RequireNoCollectorAsync(CancellationToken cancellationToken)
    {
        foreach (AwaitedSession other in await _watch.OpenSessionsAsync(cancellationToken))
        {
            if (other.Purpose == SessionPurpose.Prune)
            {
                throw new BackupIQException(
                    ErrorCodes.RepositoryBusy,
                    $"A prune is at work on {other.Hostname} (session {other.Session.ToString()[..8]}), and may be about to delete what would be put into the index.",
                    "Wait for it to end, then run again.");
            }
        }
    }

    private async Task<IndexRepairResult> RunAsync(CancellationToken cancellationToken)
    {
        await ReadSegmentsAsync(cancellationToken);
        await AdoptPacksAsync(cancellationToken);
        await BuryAsync(cancellationToken);
        List<MendedObject> told = [];
        for (int i = 0; i < _damaged.Count; i++)
        {
            told.Add(_told[i] with { Mending = await RemoveAsync(_damaged[i], cancellationToken) });
        }

        return new IndexRepairResult
        {
            Damaged = told,
            PacksAdopted = _adopted,
            PacksOfSessions = _ofSessions,
            Unreadable = _unreadable,
        };
    }

    // Only when all that it may have named is in the index again.
    private async Task<Mending> RemoveAsync(StorageKey segment, CancellationToken cancellationToken)
    {
        if (_unreadable.Count > 0)
        {
            return new Mending(MendingMeans.None, "it stays, because packs are there of which nothing tells what is in them");
        }

        if (RepositoryLayout.TryParseIndex(segment, out SessionId session, out _, out _) && await IsAtWorkAsync(session, cancellationToken))
        {
            return new Mending(MendingMeans.None, "it stays while the session that put it is at work; run again when that is over");
        }

        if (_session is null)
        {
            return new Mending(MendingMeans.Structure, "what it named would be put into the index again, and it would be removed");
        }

        await _repository.Storage.DeleteAsync(segment, cancellationToken);
        return new Mending(MendingMeans.Structure, "what it named is in the index again, and it is removed");
    }

    private async Task<bool> IsAtWorkAsync(SessionId session, CancellationToken cancellationToken) =>
        session != _session?.Id &&
        await _repository.Storage.StatAsync(RepositoryLayout.SessionOpen(session), cancellationToken) is not null &&
        await _watch.LookAsync(session, cancellationToken) == SessionState.Open;

    private async Task ReadSegmentsAsync(CancellationToken cancellationToken)
    {
        HashSet<SessionId> announced = [.. (await SessionTable.ListAsync(_repository, cancellationToken)).Announced];
        List<StorageKey> segments = [];
        await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.IndexPrefix, cancellationToken))
        {
            segments.Add(stored.Key);
        }

        foreach (StorageKey key in segments)
        {
            if (!RepositoryLayout.TryParseIndex(key, out SessionId session, out _, out _))
            {
                continue;
            }

            try
            {
                if (await _repository.TryReadObjectAsync(ObjectKind.Index, key, cancellationToken, onlyHere: true) is not { } plain)
                {
                    // Compacted away since the listing.
                    continue;
                }

                IndexRun.Validate(plain);
                if (announced.Contains(session))
                {
                    IndexLayout layout = IndexLayout.ReadHead(plain, plain.Length);
                    for (uint p = 0; p < layout.Packs; p++)
                    {
                        _known.Add(PackEntry.Read(plain.AsSpan((int)(layout.PacksAt + (p * (long)PackEntry.EncodedSize)))).Id);
                    }
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                _damaged.Add(key);
                _told.Add(new MendedObject(key.Value, DamageReading.Problem(key.Value, e), default));
            }
        }
    }

    private async Task AdoptPacksAsync(CancellationToken cancellationToken)
    {
        IndexSegmentBuilder segment = new();
        long bytes = 0;
        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            List<StoredObject> packs = [];
            await foreach (StoredObject stored in _repository.Storage.ListAsync(RepositoryLayout.PackPrefix(kind), cancellationToken))
            {
                packs.Add(stored);
            }

            foreach (StoredObject stored in packs)
            {
                if (RepositoryLayout.TryParsePack(stored.Key, out _, out PackId id) && _there.Add(id) && !_known.Contains(id) &&
                    await ReadAsync(kind, id, stored, cancellationToken) is var (head, contents))
                {
                    segment.AddPack(id, (ulong)stored.Size, head.Salts, contents);
                    bytes += contents.Size;
                    _adopted++;
                    if (segment.PackCount >= PacksPerSegment || bytes >= BytesPerSegment)
                    {
                        await PutAsync(segment, cancellationToken);
                        segment = new IndexSegmentBuilder();
                        bytes = 0;
                    }
                }
            }
        }

        if (!segment.IsEmpty)
        {
            await PutAsync(segment, cancellationToken);
        }
    }

    // A segment that cannot be read may have held the tombstones of packs that others still name and that are gone: without it they would look
    // as if they could be relied upon.
    private async Task BuryAsync(CancellationToken cancellationToken)
    {
        if (_damaged.Count == 0)
        {
            return;
        }

        IndexSegmentBuilder segment = new();
        foreach (PackId gone in _known.Except(_there).Order())
        {
            segment.AddTombstone(gone);
        }

        if (!segment.IsEmpty)
        {
            await PutAsync(segment, cancellationToken);
        }
    }

    private async Task<(PackHead Head, PackContents Contents)?> ReadAsync(PackKind kind, PackId id, StoredObject stored, CancellationToken cancellationToken)
    {
        try
        {
            (PackHead head, PackContents contents) = await PackReader.ReadContentsAsync(_repository, kind, id, stored.Size, cancellationToken);
            if (await IsAtWorkAsync(head.Session, cancellationToken))
            {
                _ofSessions++;
                return null;
            }

            return (head, contents);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            _unreadable.Add(new MendedObject(stored.Key.Value, DamageReading.Problem(stored.Key.Value, e), new Mending(MendingMeans.None, "parity alone could help: 'repair packs'")));
            return null;
        }
    }

    private async Task PutAsync(IndexSegmentBuilder segment, CancellationToken cancellationToken)
    {
        if (_session is { } session)
        {
            await session.PutSegmentAsync(0, sequence => segment.Build(session.Id, 0, sequence), cancellationToken);
        }
    }
}
