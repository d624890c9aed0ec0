using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>A session for which a collector waits.</summary>
/// <param name="Session">Its id.</param>
/// <param name="Purpose">What it does.</param>
/// <param name="Hostname">Where; empty when it cannot be told.</param>
/// <param name="Opened">When it began, by its own clock.</param>
/// <param name="Silence">How long its beat has not changed, by this machine's clock.</param>
public sealed record AwaitedSession(SessionId Session, string Purpose, string Hostname, DateTimeOffset? Opened, TimeSpan Silence);

/// <summary>
/// Looks after other sessions for a collector: each is asked for by name, not by a listing; a lease is judged by this machine's own monotonic
/// clock. To fence a session that lives costs it its run and never data, so nothing here has to be right about who lives.
/// </summary>
internal sealed class SessionWatch(BackupRepository repository, SessionId own, CollectorOptions options, TimeProvider time)
{
    private readonly Dictionary<SessionId, SessionDocument?> _documents = [];

    /// <summary>What became of a session, by objects that are read by name.</summary>
    public async Task<SessionState> LookAsync(SessionId session, CancellationToken cancellationToken)
    {
        IStorageBackend storage = repository.Storage;
        if (await storage.StatAsync(RepositoryLayout.SessionEnd(session), cancellationToken) is not null)
        {
            return SessionState.Ended;
        }

        if (await storage.StatAsync(RepositoryLayout.Fence(session), cancellationToken) is not null)
        {
            return SessionState.Fenced;
        }

        if (await LookAtCommitAsync(session, cancellationToken) is var state and not SessionState.Open)
        {
            return state;
        }

        // What is not announced any more was swept, and it was over before that.
        return await storage.StatAsync(RepositoryLayout.SessionOpen(session), cancellationToken) is null ? SessionState.Ended : SessionState.Open;
    }

    /// <summary>
    /// Waits until none of the sessions that are announced now can still commit something that rests on what they have seen: each has ended,
    /// committed or been fenced. Other collectors are not waited for: what they rely on they protect by marks of their own.
    /// </summary>
    public async Task<Settlement> SettleAsync(Action<IReadOnlyList<AwaitedSession>> onWaiting, CancellationToken cancellationToken)
    {
        SessionTable table = await SessionTable.ListAsync(repository, cancellationToken);
        Dictionary<SessionId, SessionState> met = [];
        Dictionary<SessionId, Observation> waiting = [];
        bool areCollectorsOver = true;
        bool isClean = true;
        foreach (SessionId session in table.Announced.Where(s => s != own).Order())
        {
            SessionState state = await LookAsync(session, cancellationToken);
            if (state == SessionState.Fenced)
            {
                // Whoever fenced it may have died before it was done.
                isClean = false;
                state = await GiveUpAsync(session, cancellationToken);
            }

            met[session] = state;
            if (state != SessionState.Open)
            {
                continue;
            }

            if (await IsCollectorAsync(session, cancellationToken))
            {
                isClean = false;
                areCollectorsOver &= await GiveUpIfDeadAsync(session, table, cancellationToken) != SessionState.Open;
            }
            else if (await GiveUpIfDeadAsync(session, table, cancellationToken) is var dead and not SessionState.Open)
            {
                met[session] = dead;
            }
            else
            {
                waiting.Add(session, new Observation(table.Sessions[session].LastBeat, time.GetTimestamp()));
            }
        }

        await WaitAsync(waiting, met, onWaiting, cancellationToken);
        return new Settlement(met, areCollectorsOver, isClean);
    }

    /// <summary>The other sessions that are announced and not over, as far as anybody knows. What is certainly dead is given up first.</summary>
    public async Task<IReadOnlyList<AwaitedSession>> OpenSessionsAsync(CancellationToken cancellationToken)
    {
        SessionTable table = await SessionTable.ListAsync(repository, cancellationToken);
        List<AwaitedSession> open = [];
        foreach (SessionId session in table.Announced.Where(s => s != own).Order())
        {
            if (await LookAsync(session, cancellationToken) == SessionState.Open && await GiveUpIfDeadAsync(session, table, cancellationToken) == SessionState.Open)
            {
                open.Add(Describe(session, TimeSpan.Zero));
            }
        }

        return open;
    }

    /// <summary>
    /// Makes sure that a session whose snapshot was removed does not put it again, by a retry of its commit. False when the snapshot is there
    /// all the same, so that snapshots have to be listed again.
    /// </summary>
    public async Task<bool> TryBarAsync(SessionId session, CancellationToken cancellationToken)
    {
        await GiveUpAsync(session, cancellationToken);
        if (await ReadNameAsync(session, cancellationToken) != SessionState.Committed)
        {
            return true;
        }

        await repository.WaitForListingsAsync(time, cancellationToken);
        return false;
    }

    /// <summary>
    /// On storage without conditional put: takes away the snapshot of a session of which the caller has seen the fence, unless it is confirmed;
    /// then the answer is false.
    /// </summary>
    /// <remarks>
    /// A writer puts the confirmation, then looks for the fence; here the fence was seen, then the confirmation is looked for. If there is none,
    /// the writer will meet the fence whatever it does, so its snapshot never counts, and goes before anything that it needs. That holds whoever
    /// put the fence, and whenever: a writer that slept over its fence may put its snapshot, see the fence and die, so that every collector that
    /// meets the two has to tell. A dry run leaves the snapshot where it is.
    /// </remarks>
    public async Task<bool> TryRevokeAsync(SessionId session, CancellationToken cancellationToken)
    {
        await repository.WaitForListingsAsync(time, cancellationToken);
        if (await repository.Storage.StatAsync(RepositoryLayout.Confirmation(session), cancellationToken) is not null)
        {
            return false;
        }

        if (own != default && !options.Switches.CountConfirmedOnly)
        {
            await repository.Storage.DeleteAsync(RepositoryLayout.Snapshot(session), cancellationToken);
        }

        return true;
    }

    /// <summary>What a session says of itself; null when that cannot be read.</summary>
    public async Task<SessionDocument?> DocumentAsync(SessionId session, CancellationToken cancellationToken)
    {
        if (_documents.TryGetValue(session, out SessionDocument? known))
        {
            return known;
        }

        SessionDocument? document = null;
        try
        {
            document = await repository.TryReadObjectAsync(ObjectKind.SessionOpen, RepositoryLayout.SessionOpen(session), cancellationToken) is { } json
                ? JsonSerializer.Deserialize(json, SessionJson.Default.SessionDocument)
                : null;
        }
        catch (Exception e) when (e is JsonException || (e is BackupIQException known2 && DamageReading.IsDamage(known2)))
        {
            // Whoever it is: it is waited for like any other.
        }

        _documents[session] = document;
        return document;
    }

    private async Task<SessionState> LookAtCommitAsync(SessionId session, CancellationToken cancellationToken)
    {
        IStorageBackend storage = repository.Storage;
        if (repository.CommitsByName)
        {
            return await ReadNameAsync(session, cancellationToken);
        }

        return await storage.StatAsync(RepositoryLayout.Confirmation(session), cancellationToken) is not null &&
            await storage.StatAsync(RepositoryLayout.Snapshot(session), cancellationToken) is not null
                ? SessionState.Committed
                : SessionState.Open;
    }

    private async Task WaitAsync(
        Dictionary<SessionId, Observation> waiting,
        Dictionary<SessionId, SessionState> met,
        Action<IReadOnlyList<AwaitedSession>> onWaiting,
        CancellationToken cancellationToken)
    {
        while (true)
        {
            foreach ((SessionId session, Observation seen) in waiting.ToArray())
            {
                SessionState state = await LookAsync(session, cancellationToken);
                if (state == SessionState.Open)
                {
                    state = time.GetElapsedTime(seen.At) >= options.Lease || await IsGoneAsync(session, cancellationToken)
                        ? await GiveUpAsync(session, cancellationToken)
                        : SessionState.Open;
                }

                if (state != SessionState.Open)
                {
                    met[session] = state;
                    waiting.Remove(session);
                }
            }

            if (waiting.Count == 0)
            {
                return;
            }

            onWaiting([.. waiting.Select(w => Describe(w.Key, time.GetElapsedTime(w.Value.At)))]);
            await Task.Delay(options.PollInterval, time, cancellationToken);
            await ObserveBeatsAsync(waiting, cancellationToken);
        }
    }

    private async Task ObserveBeatsAsync(Dictionary<SessionId, Observation> waiting, CancellationToken cancellationToken)
    {
        SessionTable table = await SessionTable.ListAsync(repository, cancellationToken);
        foreach ((SessionId session, Observation seen) in waiting.ToArray())
        {
            if (table.Sessions.TryGetValue(session, out SessionObjects? objects) && objects.LastBeat > seen.Beat)
            {
                waiting[session] = new Observation(objects.LastBeat, time.GetTimestamp());
            }
        }
    }

    private AwaitedSession Describe(SessionId session, TimeSpan silence)
    {
        SessionDocument? document = _documents.GetValueOrDefault(session);
        return new AwaitedSession(session, document?.Purpose ?? "", document?.Hostname ?? "", document?.Opened, silence);
    }

    private async Task<bool> IsCollectorAsync(SessionId session, CancellationToken cancellationToken) =>
        await DocumentAsync(session, cancellationToken) is { Purpose: SessionPurpose.Prune };

    // Beside the lease, which needs somebody to watch: whose process is gone from here, and who by the storage's clock has been silent for longer
    // than can be. A collector is not waited for, so nobody watches its beat; of others only a day's silence is taken for an answer. Should
    // that clock be wrong it costs somebody a run, as all of this may.
    private async Task<SessionState> GiveUpIfDeadAsync(SessionId session, SessionTable table, CancellationToken cancellationToken)
    {
        if (await IsGoneAsync(session, cancellationToken))
        {
            return await GiveUpAsync(session, cancellationToken);
        }

        TimeSpan limit = await IsCollectorAsync(session, cancellationToken) ? options.Lease : options.Abandoned;
        return table.Sessions.TryGetValue(own, out SessionObjects? ours) && ours.LastSign - table.Sessions[session].LastSign > limit
            ? await GiveUpAsync(session, cancellationToken)
            : SessionState.Open;
    }

    private async Task<bool> IsGoneAsync(SessionId session, CancellationToken cancellationToken) =>
        await DocumentAsync(session, cancellationToken) is { } document && ProcessIdentity.IsGone(document);

    private async Task<SessionState> GiveUpAsync(SessionId session, CancellationToken cancellationToken)
    {
        if (await DocumentAsync(session, cancellationToken) is { } document && SessionPurpose.NeverCommits(document.Purpose))
        {
            await PutFenceAsync(RepositoryLayout.Fence(session), cancellationToken);
            return SessionState.Fenced;
        }

        return repository.CommitsByName
            ? await FenceByNameAsync(session, cancellationToken)
            : await FenceAndRevokeAsync(session, cancellationToken);
    }

    // Commit and fence are put-if-absent on the same name: whoever is first wins.
    private async Task<SessionState> FenceByNameAsync(SessionId session, CancellationToken cancellationToken) =>
        await PutFenceAsync(RepositoryLayout.Snapshot(session), cancellationToken) == PutOutcome.Stored
            ? SessionState.Fenced
            : await ReadNameAsync(session, cancellationToken);

    private async Task<SessionState> FenceAndRevokeAsync(SessionId session, CancellationToken cancellationToken)
    {
        await PutFenceAsync(RepositoryLayout.Fence(session), cancellationToken);
        return await TryRevokeAsync(session, cancellationToken) ? SessionState.Fenced : SessionState.Committed;
    }

    private async Task<PutOutcome> PutFenceAsync(StorageKey key, CancellationToken cancellationToken)
    {
        byte[] bytes = SealedObject.Seal(repository.Keys, ObjectKind.Fence, key, []);
        return await repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken);
    }

    // What stands under a snapshot's name. Bytes that cannot be read keep a commit from it as well as any.
    private async Task<SessionState> ReadNameAsync(SessionId session, CancellationToken cancellationToken)
    {
        try
        {
            (bool isThere, byte[]? document) = await repository.ReadUnlessFenceAsync(ObjectKind.Snapshot, RepositoryLayout.Snapshot(session), cancellationToken);
            return !isThere ? SessionState.Open : document is null ? SessionState.Fenced : SessionState.Committed;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return SessionState.Committed;
        }
    }

    private readonly record struct Observation(long Beat, long At);
}

/// <summary>What a collector's waiting came to.</summary>
/// <param name="Met">The sessions that were announced when it began, and what became of each.</param>
/// <param name="AreCollectorsOver">Whether other collectors among them are over, too.</param>
/// <param name="IsClean">
/// Whether every session that was over when it was met had said so itself, and no collector was among the others: then nobody is left who
/// could still name a pack that had its tombstone before.
/// </param>
internal sealed record Settlement(IReadOnlyDictionary<SessionId, SessionState> Met, bool AreCollectorsOver, bool IsClean)
{
    /// <summary>The packs that were marked, or had a tombstone, before the sessions were listed: these may go.</summary>
    public IReadOnlySet<PackId> Marks { get; init; } = new HashSet<PackId>(0);

    /// <summary>Those that had a tombstone.</summary>
    public IReadOnlySet<PackId> Tombstones { get; init; } = new HashSet<PackId>(0);

    /// <summary>The index segments that were there.</summary>
    public IReadOnlySet<StorageKey> Segments { get; init; } = new HashSet<StorageKey>(0);
}
