using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>What a sweep has removed.</summary>
/// <param name="Segments">Index segments that greater ones have replaced.</param>
/// <param name="Marks">Marks that have become tombstones.</param>
/// <param name="Sessions">Sessions that are over and name nothing any more.</param>
/// <param name="Partials">Partial snapshots that nobody will take up.</param>
public sealed record SweepCounts(int Segments, int Marks, int Sessions, int Partials);

/// <summary>
/// Removes what nobody can need any more, beside packs. The rule is the same for index segments and marks: what takes their place was visible,
/// then sessions were listed, and all of them were over, collectors too; so nobody is left who might have listed neither the old nor the new.
/// What is not allowed yet is left to the next sweep.
/// </summary>
internal sealed class RepositorySweep(Collector collector, IndexCompactor compactor)
{
    private readonly IStorageBackend _storage = collector.Repository.Storage;

    public async Task<SweepCounts> RunAsync(IReadOnlyCollection<string> stalePartials, CancellationToken cancellationToken)
    {
        // Whatever this collector has put is visible before the sessions are listed.
        await collector.Repository.WaitForListingsAsync(collector.Time, cancellationToken);
        bool isQuiet = (await collector.Watch.OpenSessionsAsync(cancellationToken)).Count == 0;
        bool isSettled = isQuiet || collector.Settlement is { AreCollectorsOver: true };
        int segments = isSettled ? await SweepSegmentsAsync(isQuiet, cancellationToken) : 0;
        int marks = isSettled ? await SweepMarksAsync(isQuiet, cancellationToken) : 0;
        int sessions = await SweepSessionsAsync(cancellationToken);
        foreach (string partial in stalePartials)
        {
            // A partial snapshot is a hint: whoever looks for it does without.
            await _storage.DeleteAsync(new StorageKey(partial), cancellationToken);
        }

        await SweepParityAsync(cancellationToken);
        if (_storage.SpoolFolder is { } spool)
        {
            await SessionSweep.RunAsync(collector.Repository, spool, collector.Time, cancellationToken);
        }

        return new SweepCounts(segments, marks, sessions, stalePartials.Count);
    }

    private async Task<int> SweepSegmentsAsync(bool isQuiet, CancellationToken cancellationToken)
    {
        List<SegmentRecord> redundant = [.. collector.Segments.Where(s => IsRedundant(s, isQuiet))];
        await ProveAsync([.. redundant.Where(static s => !s.IsProvenCovered)], cancellationToken);
        int deleted = 0;
        foreach (SegmentRecord segment in redundant.Where(static s => s.IsProvenCovered))
        {
            await _storage.DeleteAsync(segment.Key, cancellationToken);
            segment.IsDeleted = true;
            deleted++;
        }

        return deleted;
    }

    // Only ever in favour of greater segments, so that two collectors never let two go in favour of each other.
    private bool IsRedundant(SegmentRecord segment, bool isQuiet)
    {
        if (!isQuiet && !segment.IsSettled)
        {
            return false;
        }

        foreach (CollectedPack pack in segment.Packs)
        {
            bool isDead = pack.Size < 0 && (isQuiet ? pack.IsTombstoned : pack.WasTombstoned);
            SegmentRecord? home = isQuiet ? pack.Home : pack.HomeAtFirst;
            if (!isDead && (home is null || !home.IsGreaterThan(segment)))
            {
                return false;
            }
        }

        foreach (PackId tombstone in segment.Tombstones)
        {
            SegmentRecord greatest = collector.Tombstones[tombstone];
            bool isElsewhere = greatest.IsVouchedFor && greatest.IsGreaterThan(segment) && (isQuiet || greatest.IsSettled);
            if (!isElsewhere && !(isQuiet && compactor.IsObsolete(tombstone)))
            {
                return false;
            }
        }

        return true;
    }

    // Segment by segment of those that stay: all that the others say of its packs, it says too.
    private async Task ProveAsync(List<SegmentRecord> unproven, CancellationToken cancellationToken)
    {
        Dictionary<SegmentRecord, int> open = unproven.ToDictionary(static s => s, static s => s.Packs.Count(static p => !(p.Size < 0 && p.IsTombstoned)));
        foreach (IGrouping<SegmentRecord, SegmentRecord> home in unproven
            .SelectMany(static s => s.Packs.Where(static p => p.Home is not null && !(p.Size < 0 && p.IsTombstoned)).Select(p => (Home: p.Home!, Segment: s)))
            .Distinct().GroupBy(static p => p.Home, static p => p.Segment).ToArray())
        {
            using IndexRun run = await compactor.ReadAsync(home.Key.Key, cancellationToken);
            PackFrames frames = new(run);
            Dictionary<PackId, uint> numbers = [];
            for (uint i = 0; i < run.Layout.Packs; i++)
            {
                numbers.Add(run.PackAt(i).Id, i);
            }

            foreach (SegmentRecord segment in home)
            {
                using IndexRun old = await compactor.ReadAsync(segment.Key, cancellationToken);
                bool isCovered = IndexProof.IsCovered(old, id =>
                    ReferenceEquals(collector.Index.Packs[id].Home, home.Key) ? new PackPlace(run, frames, numbers[id]) : null);
                open[segment] = isCovered ? open[segment] - segment.Packs.Count(p => ReferenceEquals(p.Home, home.Key) && !(p.Size < 0 && p.IsTombstoned)) : int.MinValue;
            }
        }

        foreach ((SegmentRecord segment, int count) in open)
        {
            segment.IsProvenCovered = count == 0;
        }
    }

    private async Task<int> SweepMarksAsync(bool isQuiet, CancellationToken cancellationToken)
    {
        int deleted = 0;
        foreach (PackId mark in collector.Marks.Order().ToArray())
        {
            bool isGone = !collector.Index.Packs.TryGetValue(mark, out CollectedPack? pack) || pack.Size < 0;
            bool isTombstoned = isQuiet ? collector.Tombstones.ContainsKey(mark) : collector.Settlement!.Tombstones.Contains(mark);
            if (isGone && (isTombstoned || collector.Options.Switches.PutNoTombstones))
            {
                await _storage.DeleteAsync(RepositoryLayout.Mark(mark), cancellationToken);
                collector.ForgetMark(mark);
                deleted++;
            }
        }

        return deleted;
    }

    // Parity of what has gone is waste. Only of what a collector has deleted: what is gone for another reason may be about to be mended.
    private async Task SweepParityAsync(CancellationToken cancellationToken)
    {
        HashSet<StorageKey> deleted = [.. collector.DeletedSegments];
        List<StorageKey> waste = [];
        await foreach (StoredObject stored in _storage.ListAsync(RepositoryLayout.ParityPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseParity(stored.Key, out StorageKey subject, out int shards) && shards > 0 &&
                (deleted.Contains(subject) || (RepositoryLayout.TryParsePack(subject, out _, out PackId pack) && IsBuried(pack))))
            {
                waste.Add(stored.Key);
            }
        }

        await Deletions.RequireAsync(_storage, waste, cancellationToken);
    }

    private bool IsBuried(PackId pack) =>
        collector.Tombstones.ContainsKey(pack) && (!collector.Index.Packs.TryGetValue(pack, out CollectedPack? known) || known.Size < 0);

    // A session that is over and of which no segment is left: should one come yet, nobody vouches for it. Its announcement goes first, so that
    // what is left after a kill is nobody's.
    private async Task<int> SweepSessionsAsync(CancellationToken cancellationToken)
    {
        HashSet<SessionId> named = [.. collector.Segments.Select(static s => s.Session)];
        int deleted = 0;
        foreach ((SessionId session, SessionObjects objects) in collector.Sessions.Sessions.OrderBy(static s => s.Key))
        {
            if (session == collector.Session.Id || named.Contains(session) || !await IsOverForGoodAsync(session, objects, cancellationToken))
            {
                continue;
            }

            // A fence that keeps a commit from counting is for ever: its writer may sleep as long as it likes.
            bool keepsFence = !collector.Repository.CommitsByName &&
                !(await collector.Watch.DocumentAsync(session, cancellationToken) is { } document && SessionPurpose.NeverCommits(document.Purpose));
            await RemoveAsync(session, objects, keepsFence, cancellationToken);
            deleted++;
        }

        return deleted;
    }

    /// <summary>Removes the objects of a session that has ended and names nothing.</summary>
    public async Task RemoveSessionAsync(SessionId session, CancellationToken cancellationToken)
    {
        SessionTable table = await SessionTable.ListAsync(collector.Repository, cancellationToken);
        if (table.Sessions.TryGetValue(session, out SessionObjects? objects))
        {
            await RemoveAsync(session, objects, keepsFence: false, cancellationToken);
        }
    }

    private async Task RemoveAsync(SessionId session, SessionObjects objects, bool keepsFence, CancellationToken cancellationToken)
    {
        await _storage.DeleteAsync(RepositoryLayout.SessionOpen(session), cancellationToken);
        foreach (StorageKey beat in objects.Beats)
        {
            await _storage.DeleteAsync(beat, cancellationToken);
        }

        if (objects.HasEnd)
        {
            await _storage.DeleteAsync(RepositoryLayout.SessionEnd(session), cancellationToken);
        }

        if (objects.HasFence && !keepsFence)
        {
            await _storage.DeleteAsync(RepositoryLayout.Fence(session), cancellationToken);
        }
    }

    private async Task<bool> IsOverForGoodAsync(SessionId session, SessionObjects objects, CancellationToken cancellationToken)
    {
        if (!objects.IsAnnounced)
        {
            // Left over from a sweep that was cut short; a lone fence of a store without conditional put is not.
            return objects.HasEnd || objects.Beats.Count > 0 || (objects.HasFence && collector.Repository.CommitsByName);
        }

        // What ended after the sessions were listed may have put segments since the index was.
        if (objects.HasEnd)
        {
            return true;
        }

        return await collector.Watch.LookAsync(session, cancellationToken) switch
        {
            SessionState.Fenced => true,

            // Without an end a retry of the commit may come yet, after the snapshot was removed, unless the process is gone.
            SessionState.Committed => collector.IsKnownRoot(session) &&
                await collector.Watch.DocumentAsync(session, cancellationToken) is { } document && ProcessIdentity.IsGone(document),
            _ => false,
        };
    }
}
