using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// What was verified when (docs/format.md, Ledger): a help for choosing what to verify next, told by earlier checks. An entry counts for the pack
/// of exactly that name and no other; without the ledger everything is verified again, which costs time and nothing else.
/// </summary>
public sealed class VerificationLedger
{
    // An entry from further ahead was written by a clock that is wrong, and would count for too long.
    private static readonly TimeSpan Tolerance = TimeSpan.FromHours(1);

    private readonly Dictionary<PackId, Record> _packs = [];
    private readonly List<RepositoryFinding> _findings = [];
    private readonly List<StorageKey> _segments = [];
    private (SessionId Run, long Began)? _interrupted;

    private VerificationLedger()
    {
    }

    /// <summary>Pieces that cannot be read: what they said is verified again.</summary>
    public IReadOnlyList<RepositoryFinding> Findings => _findings;

    /// <summary>When the newest check began that meant to read everything and did not come to its end; null: there is none.</summary>
    public DateTimeOffset? Interrupted => _interrupted is { } run ? DateTimeOffset.FromUnixTimeSeconds(run.Began) : null;

    internal IReadOnlyList<StorageKey> Segments => _segments;

    internal SessionId? InterruptedRun => _interrupted?.Run;

    /// <summary>Reads the ledger.</summary>
    /// <exception cref="StorageException">The storage cannot be reached.</exception>
    public static async Task<VerificationLedger> LoadAsync(BackupRepository repository, TimeProvider time, CancellationToken cancellationToken)
    {
        VerificationLedger ledger = new();
        List<(StoredObject Stored, SessionId Run)> found = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.LedgerPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseLedger(stored.Key, out SessionId run))
            {
                found.Add((stored, run));
            }
        }

        Dictionary<SessionId, (long Began, bool ReadsEverything, bool IsOver)> runs = [];
        long latest = (time.GetUtcNow() + Tolerance).ToUnixTimeSeconds();
        foreach ((StoredObject stored, SessionId run) in found)
        {
            if (await ledger.TryReadAsync(repository, stored.Key, cancellationToken) is not { } segment)
            {
                continue;
            }

            ledger._segments.Add(stored.Key);
            (long began, bool everything, bool isOver) = runs.GetValueOrDefault(run);
            runs[run] = (Math.Max(began, segment.Began), everything || segment.ReadsEverything, isOver || segment.IsOver);
            long storedAt = repository.HasStoreTimes ? stored.StoredAt.ToUnixTimeSeconds() : long.MaxValue;
            foreach (LedgerEntry entry in segment.Entries)
            {
                ledger.Add(entry with { At = Math.Min(entry.At, storedAt) }, latest);
            }
        }

        ledger.FindInterrupted(runs, latest);
        return ledger;
    }

    /// <summary>When a pack was last found whole, at this level or a higher one; null: never, or it was found damaged since.</summary>
    public DateTimeOffset? LastVerified(PackId pack, VerifiedLevel level)
    {
        Record record = _packs.GetValueOrDefault(pack);
        long at = level == VerifiedLevel.Chunks ? record.Chunks : Math.Max(record.Chunks, record.Hash);
        return at > record.Damaged ? DateTimeOffset.FromUnixTimeSeconds(at) : null;
    }

    /// <summary>Begins a run that adds to it.</summary>
    /// <param name="repository">The repository.</param>
    /// <param name="time">The clock.</param>
    /// <param name="readsEverything">Whether the run means to read every pack whole, so that another may go on with it.</param>
    /// <param name="goesOn">Whether it goes on with the run that was interrupted.</param>
    public LedgerRun Begin(BackupRepository repository, TimeProvider time, bool readsEverything, bool goesOn) =>
        new(repository, this, time, readsEverything, goesOn ? Interrupted : null);

    /// <summary>All that it says, in as few entries as possible, about packs that are still there.</summary>
    internal IEnumerable<LedgerEntry> Compacted(Func<PackId, bool> isThere)
    {
        foreach ((PackId pack, Record record) in _packs.Where(one => isThere(one.Key)))
        {
            if (record.Damaged > 0)
            {
                yield return new LedgerEntry(pack, record.Damaged, VerifiedLevel.Damaged);
            }

            if (record.Chunks > record.Damaged)
            {
                yield return new LedgerEntry(pack, record.Chunks, VerifiedLevel.Chunks);
            }

            if (record.Hash > Math.Max(record.Damaged, record.Chunks))
            {
                yield return new LedgerEntry(pack, record.Hash, VerifiedLevel.Hash);
            }
        }
    }

    /// <summary>Notes what a run has found.</summary>
    internal void Add(LedgerEntry entry) => Add(entry, long.MaxValue);

    private void Add(LedgerEntry entry, long latest)
    {
        if (entry.At <= 0 || entry.At > latest)
        {
            return;
        }

        Record record = _packs.GetValueOrDefault(entry.Pack);
        _packs[entry.Pack] = entry.Level switch
        {
            VerifiedLevel.Damaged => record with { Damaged = Math.Max(record.Damaged, entry.At) },
            VerifiedLevel.Hash => record with { Hash = Math.Max(record.Hash, entry.At) },
            VerifiedLevel.Chunks => record with { Chunks = Math.Max(record.Chunks, entry.At) },
            _ => record,
        };
    }

    private void FindInterrupted(Dictionary<SessionId, (long Began, bool ReadsEverything, bool IsOver)> runs, long latest)
    {
        foreach ((SessionId run, (long began, bool readsEverything, bool isOver)) in runs)
        {
            // A run that went on with another has its beginning: of two with one beginning, that which is over speaks for both.
            if (readsEverything && began > 0 && began <= latest &&
                (_interrupted is not { } other || began > other.Began || (began == other.Began && isOver)))
            {
                _interrupted = (run, began);
            }
        }

        // The newest such run decides: when it is over, older ones that were interrupted are of no interest.
        if (_interrupted is { } newest && runs[newest.Run].IsOver)
        {
            _interrupted = null;
        }
    }

    private async Task<LedgerSegment?> TryReadAsync(BackupRepository repository, StorageKey key, CancellationToken cancellationToken)
    {
        try
        {
            // One that was put together with others since the listing is gone: those are read, or the next check reads them.
            return await repository.TryReadObjectAsync(ObjectKind.Ledger, key, cancellationToken) is { } plain ? LedgerSegment.Read(plain) : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            _findings.Add(new RepositoryFinding(key.Value, DamageReading.Problem(key.Value, e)));
            return null;
        }
    }

    private readonly record struct Record(long Damaged, long Hash, long Chunks);
}
