using System.Collections.Concurrent;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Mirroring;

/// <summary>
/// Brings a mirror in step with its storage by comparing what both list, so that it does not matter what kept it from being so: a mirror that was away, a run
/// that was killed, somebody who knows nothing of the mirror.
/// </summary>
/// <remarks>
/// The storage may be written meanwhile. It is listed in the opposite order to that in which things are put there, roots first, so that what a root needs was there
/// when it was listed; and the mirror gets contents, then the index, then the roots. What a collector took away meanwhile is found out when it is read, and
/// the listing begins anew. Workers live here.
/// </remarks>
public sealed class MirrorPipeline
{
    /// <summary>Objects on their way at once: what fills a line at 100 ms with objects of some mebibytes.</summary>
    private const int Workers = 8;

    /// <summary>What is larger goes through a file.</summary>
    private const int LargestInMemory = 1 << 20;

    /// <summary>So often something may be taken away from the storage while it is compared; who removes things is done some time.</summary>
    private const int Tries = 5;

    /// <summary>Bytes that are compared at a time.</summary>
    private const int Compared = 64 << 10;

    private const string SpoolSuffix = ".mirror";

    /// <summary>What is older was left behind by a run that was killed: no single object takes so long.</summary>
    private static readonly TimeSpan LeftBehindAfter = TimeSpan.FromDays(2);

    private readonly IStorageBackend _storage;
    private readonly IStorageBackend _mirror;
    private readonly MirrorLayout _layout;
    private readonly TimeProvider _time;
    private readonly ConcurrentBag<StorageKey> _damaged = [];
    private int _copied;
    private long _bytesCopied;
    private int _removed;
    private int _verified;
    private int _healed;
    private int _healedBack;

    /// <summary>Both storages stay their owner's.</summary>
    public MirrorPipeline(IStorageBackend storage, IStorageBackend mirror, MirrorLayout layout, TimeProvider time)
    {
        _storage = storage;
        _mirror = mirror;
        _layout = layout;
        _time = time;
    }

    /// <summary>Objects that the mirror got so far.</summary>
    public int Copied => Volatile.Read(ref _copied);

    /// <summary>Their bytes.</summary>
    public long BytesCopied => Interlocked.Read(ref _bytesCopied);

    /// <summary>Objects whose bytes were read and compared with their names so far.</summary>
    public int Verified => Volatile.Read(ref _verified);

    /// <summary>What came of all so far.</summary>
    public MirrorResult Result => new(_copied, BytesCopied, _removed, _verified, _healed, _healedBack, [.. _damaged.Distinct().OrderBy(static key => key.Value, StringComparer.Ordinal)]);

    /// <summary>Compares what both list.</summary>
    /// <param name="known">Names of objects that the storage has, though its listings may not show them yet.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="StorageException">One of them cannot be listed.</exception>
    public async Task<MirrorPlan> CompareAsync(IEnumerable<string> known, CancellationToken cancellationToken)
    {
        MirrorPlan plan = new(_layout);
        Dictionary<StorageKey, StoredObject> there = [];
        await ListAsync(_layout.Roots, MirrorRank.Root).ConfigureAwait(false);
        await ListAsync(_layout.Index, MirrorRank.Index).ConfigureAwait(false);
        await ListAsync("", null).ConfigureAwait(false);
        foreach (string name in known)
        {
            StorageKey key = new(name);
            if (!there.ContainsKey(key) && await _storage.StatAsync(key, cancellationToken).ConfigureAwait(false) is { } hidden)
            {
                there.Add(key, hidden);
            }
        }

        plan.Index.UnionWith(there.Keys.Where(key => _layout.RankOf(key) == MirrorRank.Index).Select(static key => key.Value));
        await foreach (StoredObject item in _mirror.ListAsync("", cancellationToken).ConfigureAwait(false))
        {
            MirrorRank rank = _layout.RankOf(item.Key);
            if (rank == MirrorRank.Own)
            {
                continue;
            }

            plan.MirrorRootCount += rank == MirrorRank.Root ? 1 : 0;
            if (there.Remove(item.Key, out StoredObject stored))
            {
                (stored.Size == item.Size ? plan.Common : plan.Differing).Add(stored);
            }
            else
            {
                (rank switch { MirrorRank.Root => plan.StrayRoots, MirrorRank.Index => plan.StrayIndex, _ => plan.Stray }).Add(item);
            }
        }

        plan.Missing.AddRange(there.Values);
        return plan;

        // The whole listing comes last; of what was listed before it tells nothing new.
        async Task ListAsync(string prefix, MirrorRank? only)
        {
            await foreach (StoredObject item in _storage.ListAsync(prefix, cancellationToken).ConfigureAwait(false))
            {
                MirrorRank rank = _layout.RankOf(item.Key);
                if (only is null ? rank is MirrorRank.Content or MirrorRank.Announcement or MirrorRank.Free : rank == only)
                {
                    there[item.Key] = item;
                }
            }
        }
    }

    /// <summary>
    /// Gives the mirror what it lacks; what it has beside that stays, but for parts of an index that the storage has not: they may name contents that go, and the storage's say all that
    /// its roots need. Compares until nothing was taken away meanwhile.
    /// </summary>
    /// <param name="known">As for <see cref="CompareAsync"/>.</param>
    /// <param name="mayRemove">Whether anything may be removed from the mirror; without that one whose index has more parts is not in step.</param>
    /// <param name="cancellationToken">Stops it; what the mirror has then is as good as before.</param>
    /// <returns>The last comparison, and whether the mirror now has all that the storage had then; without that no root was put.</returns>
    /// <exception cref="StorageException">One of them failed.</exception>
    public async Task<(MirrorPlan Plan, bool IsWhole)> FollowAsync(IReadOnlyCollection<string> known, bool mayRemove, CancellationToken cancellationToken)
    {
        Sweep();
        for (int attempt = 1; ; attempt++)
        {
            MirrorPlan plan = await CompareAsync(known, cancellationToken).ConfigureAwait(false);
            if (plan.StrayRootCount > 0 || plan.DifferingCount > 0)
            {
                return (plan, false);
            }

            if (await FillAsync(plan, cancellationToken).ConfigureAwait(false))
            {
                List<StoredObject> segments = plan.StrayIndex;
                bool isWhole = _damaged.IsEmpty && (mayRemove || segments.Count == 0);
                if (isWhole)
                {
                    await RemoveAsync(segments, cancellationToken).ConfigureAwait(false);
                }

                return (plan, isWhole);
            }

            if (attempt == Tries)
            {
                throw new StorageException(
                    ErrorCodes.RepositoryBusy, $"{_storage.Location} is being cleaned up, and what the mirror {_mirror.Location} lacks is gone when it is read", "Run again when 'prune' is done.");
            }
        }
    }

    /// <summary>
    /// Removes from the mirror what the storage has not: roots before the index that they need, and contents last. Between the two the mirror has to get what it
    /// lacks, for the storage's index may say of contents that they do not count any more.
    /// </summary>
    /// <exception cref="StorageException">Something could not be removed.</exception>
    public Task RemoveStrayRootsAsync(MirrorPlan plan, CancellationToken cancellationToken) => RemoveAsync(plan.StrayRoots, cancellationToken);

    /// <summary>The other half of <see cref="RemoveStrayRootsAsync"/>.</summary>
    /// <exception cref="StorageException">Something could not be removed.</exception>
    public async Task RemoveStrayAsync(MirrorPlan plan, CancellationToken cancellationToken)
    {
        await RemoveAsync(plan.StrayIndex, cancellationToken).ConfigureAwait(false);
        await RemoveAsync(plan.Stray, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Compares contents that both have with their names: those of different sizes, or with <paramref name="all"/> each of them. What is damaged on the mirror is replaced
    /// by the storage's, what is damaged on the storage by the mirror's. What has no name that tells, and another size or with <paramref name="all"/> other bytes, is damage that nobody can decide who
    /// has no key.
    /// </summary>
    /// <exception cref="StorageException">One of them failed.</exception>
    public async Task VerifyAsync(MirrorPlan plan, bool all, CancellationToken cancellationToken)
    {
        foreach (StoredObject item in plan.Differing.Where(item => _layout.RankOf(item.Key) != MirrorRank.Content))
        {
            _damaged.Add(item.Key);
        }

        IEnumerable<StoredObject> contents = (all ? plan.Common.Concat(plan.Differing) : plan.Differing).Where(item => _layout.RankOf(item.Key) == MirrorRank.Content);
        await Parallel.ForEachAsync(contents, Parallelism(cancellationToken), async (item, ct) => await VerifyAsync(item, ct).ConfigureAwait(false)).ConfigureAwait(false);
        IEnumerable<StoredObject> others = all ? plan.Common.Where(item => _layout.RankOf(item.Key) != MirrorRank.Content) : [];
        await Parallel.ForEachAsync(others, Parallelism(cancellationToken), async (item, ct) => await CompareBytesAsync(item, ct).ConfigureAwait(false)).ConfigureAwait(false);
    }

    /// <summary>Copies one object to the mirror.</summary>
    /// <returns>False: the storage has it no more.</returns>
    /// <exception cref="StorageException">One of them failed.</exception>
    internal async Task<bool> CopyAsync(StoredObject item, CancellationToken cancellationToken)
    {
        if (await FetchAsync(_storage, item.Key, _mirror.SpoolFolder, cancellationToken).ConfigureAwait(false) is not { } fetched)
        {
            return false;
        }

        using (fetched)
        {
            if (!fetched.IsWhole(_layout, item.Key))
            {
                _damaged.Add(item.Key);
            }
            else if (await _mirror.PutAsync(item.Key, fetched.GiveAway(), cancellationToken).ConfigureAwait(false) == PutOutcome.Stored)
            {
                Interlocked.Increment(ref _copied);
                Interlocked.Add(ref _bytesCopied, item.Size);
            }
            else
            {
                _damaged.Add(item.Key);
            }
        }

        return true;
    }

    // False: something was taken away meanwhile, and what else was listed may be wrong.
    private async Task<bool> FillAsync(MirrorPlan plan, CancellationToken cancellationToken)
    {
        ILookup<MirrorRank, StoredObject> ranks = plan.Missing.ToLookup(item => _layout.RankOf(item.Key));
        foreach (MirrorRank rank in (MirrorRank[])[MirrorRank.Content, MirrorRank.Announcement, MirrorRank.Index, MirrorRank.Free, MirrorRank.Root])
        {
            if (!_damaged.IsEmpty && rank != MirrorRank.Content)
            {
                // Nothing that may need what is damaged.
                return true;
            }

            int gone = 0;
            await Parallel.ForEachAsync(ranks[rank], Parallelism(cancellationToken), async (item, ct) =>
            {
                if (!await CopyAsync(item, ct).ConfigureAwait(false))
                {
                    Interlocked.Increment(ref gone);
                }
            }).ConfigureAwait(false);
            if (gone > 0 && rank is MirrorRank.Content or MirrorRank.Index or MirrorRank.Root)
            {
                return false;
            }
        }

        return true;
    }

    private async Task VerifyAsync(StoredObject item, CancellationToken cancellationToken)
    {
        using Fetched? mirrored = await FetchAsync(_mirror, item.Key, _storage.SpoolFolder, cancellationToken).ConfigureAwait(false);
        using Fetched? stored = await FetchAsync(_storage, item.Key, _mirror.SpoolFolder, cancellationToken).ConfigureAwait(false);
        if (stored is null)
        {
            // A collector took it.
            return;
        }

        Interlocked.Increment(ref _verified);
        bool isMirrored = mirrored?.IsWhole(_layout, item.Key) == true;
        bool isStored = stored.IsWhole(_layout, item.Key);
        if (isStored && !isMirrored)
        {
            await ReplaceAsync(_mirror, item.Key, stored, cancellationToken).ConfigureAwait(false);
            Interlocked.Increment(ref _healed);
        }
        else if (isMirrored && !isStored)
        {
            await ReplaceAsync(_storage, item.Key, mirrored!, cancellationToken).ConfigureAwait(false);
            Interlocked.Increment(ref _healedBack);
        }
        else if (!isStored)
        {
            _damaged.Add(item.Key);
        }
    }

    private async Task CompareBytesAsync(StoredObject item, CancellationToken cancellationToken)
    {
        using Fetched? mirrored = await FetchAsync(_mirror, item.Key, _storage.SpoolFolder, cancellationToken).ConfigureAwait(false);
        using Fetched? stored = await FetchAsync(_storage, item.Key, _mirror.SpoolFolder, cancellationToken).ConfigureAwait(false);
        if (mirrored is null || stored is null)
        {
            // Removed meanwhile.
            return;
        }

        Interlocked.Increment(ref _verified);
        if (!stored.IsSame(mirrored))
        {
            _damaged.Add(item.Key);
        }
    }

    // Objects never change, so the damaged one goes first. Whoever comes after a crash finds the whole one where it came from.
    private static async Task ReplaceAsync(IStorageBackend storage, StorageKey key, Fetched whole, CancellationToken cancellationToken)
    {
        await storage.DeleteAsync(key, cancellationToken).ConfigureAwait(false);
        await storage.PutAsync(key, whole.GiveAway(), cancellationToken).ConfigureAwait(false);
    }

    private async Task RemoveAsync(List<StoredObject> items, CancellationToken cancellationToken)
    {
        foreach (StoredObject[] batch in items.Chunk(1000))
        {
            await Deletions.RequireAsync(_mirror, [.. batch.Select(static item => item.Key)], cancellationToken).ConfigureAwait(false);
            _removed += batch.Length;
        }
    }

    private static ParallelOptions Parallelism(CancellationToken cancellationToken) => new() { MaxDegreeOfParallelism = Workers, CancellationToken = cancellationToken };

    // Null: it is not there (any more).
    private static async Task<Fetched?> FetchAsync(IStorageBackend from, StorageKey key, string? spool, CancellationToken cancellationToken)
    {
        if (await from.StatAsync(key, cancellationToken).ConfigureAwait(false) is not { } stored)
        {
            return null;
        }

        string? path = stored.Size <= LargestInMemory ? null : Path.Join(spool ?? Path.GetTempPath(), $"{SessionId.New()}{SpoolSuffix}");
        Fetched fetched = new(path, path is null ? new byte[stored.Size] : []);
        try
        {
            await fetched.FillAsync(from, stored, cancellationToken).ConfigureAwait(false);
            return fetched;
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            fetched.Dispose();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            fetched.Dispose();
            throw new StorageException(ErrorCodes.Resource, $"A file for what a mirror lacks cannot be written: {e.Message}", null, e);
        }
        catch
        {
            fetched.Dispose();
            throw;
        }
    }

    private void Sweep()
    {
        foreach (string folder in new[] { _storage.SpoolFolder, _mirror.SpoolFolder }.OfType<string>().Where(Directory.Exists))
        {
            foreach (string path in Directory.EnumerateFiles(folder, "*" + SpoolSuffix))
            {
                if (_time.GetUtcNow().UtcDateTime - File.GetLastWriteTimeUtc(path) > LeftBehindAfter)
                {
                    File.Delete(path);
                }
            }
        }
    }

    /// <summary>The bytes of an object on this machine: in memory, or in a file that goes with it unless it was given away.</summary>
    private sealed class Fetched(string? path, byte[] bytes) : IDisposable
    {
        private bool _isCut;

        public async Task FillAsync(IStorageBackend from, StoredObject stored, CancellationToken cancellationToken)
        {
            if (path is null)
            {
                _isCut = await from.ReadAsync(stored.Key, 0, bytes, cancellationToken).ConfigureAwait(false) < bytes.Length;
                return;
            }

            byte[] buffer = GC.AllocateUninitializedArray<byte>(LargestInMemory);
            FileStream file = new(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0, FileOptions.Asynchronous);
            await using (file.ConfigureAwait(false))
            {
                for (long offset = 0; offset < stored.Size;)
                {
                    int want = (int)Math.Min(buffer.Length, stored.Size - offset);
                    int read = await from.ReadAsync(stored.Key, offset, buffer.AsMemory(0, want), cancellationToken).ConfigureAwait(false);
                    await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                    if (read < want)
                    {
                        _isCut = true;
                        return;
                    }

                    offset += read;
                }
            }
        }

        public bool IsWhole(MirrorLayout layout, StorageKey key)
        {
            if (_isCut)
            {
                return false;
            }

            using Stream stream = Open();
            return layout.IsWhole(key, stream);
        }

        public bool IsSame(Fetched other)
        {
            using Stream mine = Open(), others = other.Open();
            byte[] first = new byte[Compared], second = new byte[Compared];
            while (true)
            {
                int read = mine.ReadAtLeast(first, Compared, throwOnEndOfStream: false);
                if (others.ReadAtLeast(second, Compared, throwOnEndOfStream: false) != read || !first.AsSpan(0, read).SequenceEqual(second.AsSpan(0, read)))
                {
                    return false;
                }

                if (read == 0)
                {
                    return true;
                }
            }
        }

        /// <summary>For a storage that takes the file over.</summary>
        public StorageContent GiveAway() => path is null ? StorageContent.FromBytes(bytes) : StorageContent.FromFile(path);

        public void Dispose()
        {
            if (path is not null)
            {
                File.Delete(path);
            }
        }

        private Stream Open() => path is null ? new MemoryStream(bytes, writable: false) : File.OpenRead(path);
    }
}
