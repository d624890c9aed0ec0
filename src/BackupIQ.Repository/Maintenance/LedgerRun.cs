using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// One run's part of the ledger: notes from any thread, put in pieces while the run goes on, so that an interruption costs little. A ledger that
/// cannot be written stops no check. Disposed it puts what is left.
/// </summary>
public sealed class LedgerRun : IAsyncDisposable
{
    // What a kill costs: what was read in so long is read again.
    private static readonly TimeSpan PutEvery = TimeSpan.FromSeconds(30);

    // A plain check of a local repository may hash every pack every hour; that is not worth a line each time.
    private static readonly TimeSpan HashNotedAgain = TimeSpan.FromDays(1);

    // Pieces beyond this are put together: one request each, at every check.
    private const int CompactAt = 16;

    private readonly BackupRepository _repository;
    private readonly VerificationLedger _ledger;
    private readonly TimeProvider _time;
    private readonly bool _readsEverything;
    private readonly SessionId _id = SessionId.New();
    private readonly DateTimeOffset _began;
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _putting = new(1);
    private readonly List<LedgerEntry> _pending = [];
    private readonly List<StorageKey> _own = [];
    private long _lastPut;
    private int _number;

    internal LedgerRun(BackupRepository repository, VerificationLedger ledger, TimeProvider time, bool readsEverything, DateTimeOffset? goesOnFrom)
    {
        _repository = repository;
        _ledger = ledger;
        _time = time;
        _readsEverything = readsEverything;
        _began = goesOnFrom ?? time.GetUtcNow();
        _lastPut = time.GetTimestamp();
    }

    /// <summary>Why the ledger could not be written; null: it could.</summary>
    public string? Problem { get; private set; }

    /// <summary>Notes that a pack was verified, or found damaged, now.</summary>
    public async ValueTask NoteAsync(PackId pack, VerifiedLevel level)
    {
        bool isDue;
        DateTimeOffset now = _time.GetUtcNow();
        lock (_gate)
        {
            if (level == VerifiedLevel.Hash && _ledger.LastVerified(pack, level) > now - HashNotedAgain)
            {
                return;
            }

            _pending.Add(new LedgerEntry(pack, now.ToUnixTimeSeconds(), level));
            isDue = _pending.Count >= LedgerSegment.MaxEntries || _time.GetElapsedTime(_lastPut) >= PutEvery;
            _lastPut = isDue ? _time.GetTimestamp() : _lastPut;
        }

        if (isDue)
        {
            await PutAsync(isOver: false);
        }
    }

    /// <summary>Says that the run came to its end, and puts pieces together where there are many.</summary>
    /// <param name="isComplete">Whether it read all that it meant to; false where its budget was used up, so that another may go on with it.</param>
    /// <param name="isThere">Whether a pack still exists: what was said of others is dropped.</param>
    /// <param name="cancellationToken">Ends it; what is put by then stays.</param>
    public async Task EndAsync(Func<PackId, bool> isThere, bool isComplete, CancellationToken cancellationToken)
    {
        await PutAsync(isComplete);
        StorageKey[] others = [.. _ledger.Segments.Where(key => !(RepositoryLayout.TryParseLedger(key, out SessionId run) && run == _ledger.InterruptedRun && !_readsEverything))];
        if (Problem is null && _repository.Storage.Capabilities.CanDelete && others.Length + _own.Count > CompactAt)
        {
            try
            {
                await CompactAsync(isThere, [.. others, .. _own], cancellationToken);
            }
            catch (StorageException e)
            {
                Problem = e.Message;
            }
        }
    }

    /// <summary>Puts what is left.</summary>
    public async ValueTask DisposeAsync()
    {
        await PutAsync(isOver: false);
        _putting.Dispose();
    }

    private async Task PutAsync(bool isOver)
    {
        await _putting.WaitAsync();
        try
        {
            List<LedgerEntry> entries;
            lock (_gate)
            {
                entries = [.. _pending];
                _pending.Clear();
                entries.ForEach(_ledger.Add);
            }

            if (Problem is not null || (entries.Count == 0 && !(isOver && (_readsEverything || _own.Count > 0))))
            {
                return;
            }

            LedgerEntry[][] pieces = [.. entries.Chunk(LedgerSegment.MaxEntries).DefaultIfEmpty([])];
            for (int i = 0; i < pieces.Length; i++)
            {
                bool isLast = isOver && i == pieces.Length - 1;
                _own.Add(await PutAsync(_id, _number++, new LedgerSegment(_began.ToUnixTimeSeconds(), _readsEverything, isLast, pieces[i])));
            }
        }
        catch (StorageException e)
        {
            Problem = e.Message;
        }
        finally
        {
            _putting.Release();
        }
    }

    // The union is there before any of its parts goes; who reads in between reads the same twice.
    private async Task CompactAsync(Func<PackId, bool> isThere, StorageKey[] parts, CancellationToken cancellationToken)
    {
        SessionId union = SessionId.New();
        int number = 0;
        foreach (LedgerEntry[] piece in _ledger.Compacted(isThere).Chunk(LedgerSegment.MaxEntries))
        {
            await PutAsync(union, number++, new LedgerSegment(0, ReadsEverything: false, IsOver: true, piece));
        }

        foreach (StorageKey part in parts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            await _repository.Storage.DeleteAsync(part, cancellationToken);
        }
    }

    private async Task<StorageKey> PutAsync(SessionId run, int number, LedgerSegment segment)
    {
        StorageKey key = RepositoryLayout.Ledger(run, number);
        byte[] bytes = SealedObject.Seal(_repository.Keys, ObjectKind.Ledger, key, segment.Write());
        await _repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), CancellationToken.None);
        return key;
    }
}
