using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Verification;

/// <summary>Which packs a check looks into, how deep, and in which order.</summary>
internal sealed class CheckPlan
{
    private readonly HashSet<PackId> _ids;

    private CheckPlan(IReadOnlyList<CheckedPack> packs, IReadOnlyList<(CheckedPack Pack, PackDepth Depth)> tasks)
    {
        Packs = packs;
        Tasks = tasks;
        _ids = [.. packs.Select(static pack => pack.Id)];
    }

    /// <summary>Every pack that is there.</summary>
    public IReadOnlyList<CheckedPack> Packs { get; }

    /// <summary>What is to be done, in this order.</summary>
    public IReadOnlyList<(CheckedPack Pack, PackDepth Depth)> Tasks { get; }

    /// <summary>Packs that are not read because the ledger says that they were verified recently enough.</summary>
    public int Fresh { get; private init; }

    /// <summary>Whether every pack will have been read whole when this is done, by this run or by one that it goes on with.</summary>
    public bool ReadsEverything { get; private init; }

    /// <summary>Plans.</summary>
    public static CheckPlan Make(RepositoryCheck check, VerificationLedger ledger, CheckOptions options, DateTimeOffset now)
    {
        CheckedPack[] there = [.. check.Packs.Where(static pack => !pack.IsMissing)];
        bool goesByLedger = options.MaxAge is not null || options.Resume;
        ReadDataSubset? wanted = options.ReadData ?? (goesByLedger || options.Budget is not null ? ReadDataSubset.All : null);
        DateTimeOffset? since = options.Resume ? ledger.Interrupted : options.MaxAge is { } age ? now - age : null;
        bool IsFresh(CheckedPack pack) => since is { } from && ledger.LastVerified(pack.Id, VerifiedLevel.Chunks) >= from;

        CheckedPack[] candidates = [.. there.Where(pack => !IsFresh(pack))];
        List<CheckedPack> whole = wanted?.Choose(candidates, there.Length, id => ledger.LastVerified(id, VerifiedLevel.Chunks)) ?? [];
        HashSet<PackId> chosen = [.. whole.Select(static pack => pack.Id)];

        // Whoever says what is to be read, or for how long, wants no more read than that.
        bool isLimited = goesByLedger || options.Budget is not null;
        PackDepth others = (options.HashPacks ?? (check.IsLocal && !isLimited)) ? PackDepth.Hash : PackDepth.Contents;

        // Without a limit the largest first, so that no worker is left alone at the end.
        IEnumerable<CheckedPack> inOrder = isLimited ? whole : whole.OrderByDescending(static pack => pack.Size);
        IEnumerable<CheckedPack> rest = there.Where(pack => !chosen.Contains(pack.Id)).OrderByDescending(static pack => pack.Size);
        return new CheckPlan(there, [.. inOrder.Select(static pack => (pack, PackDepth.Chunks)), .. rest.Select(pack => (pack, others))])
        {
            Fresh = there.Length - candidates.Length,
            ReadsEverything = wanted is { IsAll: true } && (options.Resume || (options.MaxAge is null && options.Budget is null)),
        };
    }

    /// <summary>Tells how much there is to do.</summary>
    public void Tell(CheckProgress progress)
    {
        foreach ((CheckedPack pack, PackDepth depth) in Tasks)
        {
            progress.WillRead(1, depth == PackDepth.Contents ? 0 : pack.Size);
        }
    }

    /// <summary>Whether a pack is there.</summary>
    public bool IsThere(PackId pack) => _ids.Contains(pack);
}

/// <summary>How much is read whole, and what came of it. Safe for any thread.</summary>
internal sealed class ReadingLimit(TimeProvider time, TimeSpan? budget, LedgerRun run)
{
    private readonly long _started = time.GetTimestamp();
    private long _read;
    private long _left;
    private long _archived;

    /// <summary>Packs that were read whole and verified.</summary>
    public long Read => Interlocked.Read(ref _read);

    /// <summary>Packs that were not, because the budget was used up.</summary>
    public long Left => Interlocked.Read(ref _left);

    /// <summary>Packs that were not, because they lie in an archive.</summary>
    public long Archived => Interlocked.Read(ref _archived);

    /// <summary>Whether all that was to be read was.</summary>
    public bool IsDone => Left == 0 && Archived == 0;

    /// <summary>How deep a pack may be looked into that should be looked into so deep.</summary>
    public PackDepth Allow(PackDepth depth)
    {
        if (depth != PackDepth.Chunks || budget is not { } most || time.GetElapsedTime(_started) < most)
        {
            return depth;
        }

        Interlocked.Increment(ref _left);
        return PackDepth.Contents;
    }

    /// <summary>Notes what was found.</summary>
    public async ValueTask NoteAsync(CheckedPack pack, PackDepth depth)
    {
        if (pack.IsArchived)
        {
            Interlocked.Add(ref _archived, depth == PackDepth.Chunks ? 1 : 0);
        }
        else if (pack.IsBroken)
        {
            await run.NoteAsync(pack.Id, VerifiedLevel.Damaged);
        }
        else if (!pack.IsMissing && depth != PackDepth.Contents)
        {
            await run.NoteAsync(pack.Id, depth == PackDepth.Chunks ? VerifiedLevel.Chunks : VerifiedLevel.Hash);
            Interlocked.Add(ref _read, depth == PackDepth.Chunks ? 1 : 0);
        }
    }
}
