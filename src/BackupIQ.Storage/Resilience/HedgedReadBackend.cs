using System.Buffers;
using System.Collections.Concurrent;

namespace BackupIQ.Storage.Resilience;

/// <summary>
/// Asks a second time for a read whose answer is late: a tenth later than 95 % of the last ones of its size. The first answer is taken and the other
/// request cancelled. Only a share of all reads is asked twice, and none while the provider's bulkhead is full.
/// </summary>
internal sealed class HedgedReadBackend(IStorageBackend inner, StorageProvider provider, double share, TimeProvider time) : DelegatingBackend(inner)
{
    /// <summary>Before so many reads of a size nobody knows what late is.</summary>
    private const int LeastSamples = 20;

    /// <summary>Larger reads take as long as the line takes; a second one would only share it.</summary>
    private const int LargestRead = 4 << 20;

    /// <summary>Reads that were saved up to be asked twice, at most: a storage that gets slow as a whole is not asked twice for everything.</summary>
    private const double MostSaved = 5;

    private readonly Lock _gate = new();
    private readonly ConcurrentDictionary<Task, bool> _losers = new();
    private double _saved;

    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) => Inner.DeleteAllAsync(keys, cancellationToken);

    public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        LatencyWindow latencies = provider.Health.ReadsLike(destination.Length);
        bool isEligible = destination.Length <= LargestRead && latencies.Count >= LeastSamples && Save();
        long began = time.GetTimestamp();
        if (!isEligible)
        {
            int count = await Inner.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
            provider.Health.ReadTook(destination.Length, time.GetElapsedTime(began));
            return count;
        }

        // Each request has a buffer of its own: one that lost may still be writing when the other's bytes are given.
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Request first = new(this, key, offset, destination.Length, stop.Token);
        using (CancellationTokenSource early = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken))
        {
            Task late = Task.Delay((latencies.Percentile(0.95) ?? TimeSpan.Zero) * 1.1, time, early.Token);
            if (await Task.WhenAny(first.Answer, late).ConfigureAwait(false) == first.Answer || cancellationToken.IsCancellationRequested || !Spend())
            {
                await early.CancelAsync().ConfigureAwait(false);
                return await TakeAsync(first, destination, began).ConfigureAwait(false);
            }
        }

        provider.Health.Hedged();
        Request second = new(this, key, offset, destination.Length, stop.Token) { HasPlace = true };
        Request winner = await Task.WhenAny(first.Answer, second.Answer).ConfigureAwait(false) == first.Answer ? first : second;
        Request other = winner == first ? second : first;
        if (!winner.Answer.IsCompletedSuccessfully)
        {
            // What failed first did not win: the other may still answer.
            (winner, other) = (other, winner);
            await ((Task)winner.Answer).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await stop.CancelAsync().ConfigureAwait(false);
        Forget(other);
        if (winner == second && second.Answer.IsCompletedSuccessfully)
        {
            provider.Health.HedgeWon();
        }

        return await TakeAsync(winner, destination, began).ConfigureAwait(false);
    }

    public override async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_losers.Keys).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    private async ValueTask<int> TakeAsync(Request request, Memory<byte> destination, long began)
    {
        try
        {
            int count = await request.Answer.ConfigureAwait(false);
            request.Buffer.AsMemory(0, count).CopyTo(destination);
            provider.Health.ReadTook(destination.Length, time.GetElapsedTime(began));
            return count;
        }
        catch (StorageException e) when (e.BytesRead > 0)
        {
            request.Buffer.AsMemory(0, Math.Min(e.BytesRead, destination.Length)).CopyTo(destination);
            throw;
        }
        finally
        {
            request.Release();
        }
    }

    // Whoever lost ends on its own; its buffer is given back then.
    private void Forget(Request loser)
    {
        Task end = EndAsync(loser);
        _losers.TryAdd(end, true);
        _ = end.ContinueWith(static (done, all) => ((ConcurrentDictionary<Task, bool>)all!).TryRemove(done, out _), _losers, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

        static async Task EndAsync(Request loser)
        {
            await ((Task)loser.Answer).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            loser.Release();
        }
    }

    // Each read saves a share of a second request.
    private bool Save()
    {
        lock (_gate)
        {
            _saved = Math.Min(MostSaved, _saved + share);
            return _saved >= 1;
        }
    }

    private void LeavePlace() => provider.Concurrency.Leave();

    private bool Spend()
    {
        lock (_gate)
        {
            if (_saved < 1 || !provider.Concurrency.TryEnter())
            {
                return false;
            }

            _saved--;
            return true;
        }
    }

    private sealed class Request
    {
        private readonly HedgedReadBackend _owner;

        public Request(HedgedReadBackend owner, StorageKey key, long offset, int length, CancellationToken cancellationToken)
        {
            _owner = owner;
            Buffer = ArrayPool<byte>.Shared.Rent(length);
            Answer = ReadAsync(key, offset, length, cancellationToken);
        }

        public byte[] Buffer { get; }

        public Task<int> Answer { get; }

        /// <summary>Whether it has a place of its own in the bulkhead; the first request's is its caller's.</summary>
        public bool HasPlace { get; init; }

        public void Release()
        {
            ArrayPool<byte>.Shared.Return(Buffer);
            if (HasPlace)
            {
                _owner.LeavePlace();
            }
        }

        private async Task<int> ReadAsync(StorageKey key, long offset, int length, CancellationToken cancellationToken) =>
            await _owner.Inner.ReadAsync(key, offset, Buffer.AsMemory(0, length), cancellationToken).ConfigureAwait(false);
    }
}
