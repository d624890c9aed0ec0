using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Maintenance.Repair;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Parity;

/// <summary>Adds, replaces and removes parity objects, several at once. A run that ends early leaves whole parity objects; the next goes on.</summary>
public sealed class ParityPipeline(BackupRepository repository, ParityProgress progress, int workers)
{
    private readonly ConcurrentBag<ParityEncoder> _encoders = [];
    private readonly ConcurrentQueue<RepositoryFinding> _damaged = new();
    private readonly string _spool = repository.Storage.SpoolFolder ?? Path.GetTempPath();
    private int _covered;
    private long _written;

    /// <summary>What parity there is.</summary>
    public static async Task<ParityStatus> StatusAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        (await ParityInventory.ReadAsync(repository.Storage, cancellationToken)).Status();

    /// <summary>
    /// What is to be done so that every object has <paramref name="percent"/> (1 to 100) of parity, no more and no less. Parity objects that
    /// <see cref="FindDamagedAsync"/> found are made again.
    /// </summary>
    public static async Task<ParityPlan> PlanAsync(
        BackupRepository repository, int percent, IReadOnlySet<StorageKey>? damaged, CancellationToken cancellationToken) =>
        (await ParityInventory.ReadAsync(repository.Storage, cancellationToken)).PlanFor(percent, damaged ?? new HashSet<StorageKey>());

    /// <summary>What is to be done so that there is no parity.</summary>
    public static async Task<ParityPlan> PlanRemovalAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        (await ParityInventory.ReadAsync(repository.Storage, cancellationToken)).PlanRemoval();

    /// <summary>Reads all parity objects and returns those that are not whole: they may still mend something, but not all that they should.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached.</exception>
    public async Task<IReadOnlySet<StorageKey>> FindDamagedAsync(CancellationToken cancellationToken)
    {
        ConcurrentBag<StorageKey> damaged = [];
        ParallelOptions parallelism = new() { MaxDegreeOfParallelism = Math.Clamp(workers, 1, 64), CancellationToken = cancellationToken };
        ParityInventory inventory = await ParityInventory.ReadAsync(repository.Storage, cancellationToken);
        await Parallel.ForEachAsync(inventory.All, parallelism, async (stored, ct) =>
        {
            using WorkingCopy copy = await WorkingCopy.OfAsync(repository.Storage, stored.Key, ct);
            if (!ParityDecoder.IsWhole(copy.File, ct))
            {
                damaged.Add(stored.Key);
            }

            progress.AddObject();
            progress.AddBytes(stored.Size);
        });
        return damaged.ToHashSet();
    }

    /// <summary>Does it. Objects that turn out to be damaged get no parity and are told.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached or is full; what was put so far stays.</exception>
    public async Task<ParityOutcome> RunAsync(ParityPlan plan, CancellationToken cancellationToken)
    {
        ParallelOptions parallelism = new() { MaxDegreeOfParallelism = Math.Clamp(workers, 1, 64), CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(plan.Tasks.OrderByDescending(static task => task.Layout.Size), parallelism, async (task, ct) =>
        {
            ParityEncoder encoder = _encoders.TryTake(out ParityEncoder? free) ? free : new ParityEncoder(repository.Storage) { OnBytes = progress.AddBytes };
            try
            {
                await CoverAsync(encoder, task, ct);
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
            {
                // A collector or a forget took it since the listing.
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Tell(task.Subject, DamageReading.Problem(task.Subject.Value, e));
            }

            _encoders.Add(encoder);
            progress.AddObject();
        });

        // What is replaced goes only where its successor is there: a damaged object keeps the parity that it has.
        HashSet<string> damaged = [.. _damaged.Select(static finding => finding.ObjectName)];
        StoredObject[] removals = [.. plan.Removals.Where(removal => !RepositoryLayout.TryParseParity(removal.Key, out StorageKey subject, out _) || !damaged.Contains(subject.Value))];
        await Parallel.ForEachAsync(removals, parallelism, async (removal, ct) => await repository.Storage.DeleteAsync(removal.Key, ct));
        return new ParityOutcome(_covered, _written, removals.Length, [.. _damaged.OrderBy(static finding => finding.ObjectName, StringComparer.Ordinal)]);
    }

    private async Task CoverAsync(ParityEncoder encoder, ParityTask task, CancellationToken cancellationToken)
    {
        string path = Path.Join(_spool, $"{SessionId.New()}.parity");
        try
        {
            ParityHead head;
            using (SafeFileHandle file = Create(path))
            {
                head = await EncodeAsync(encoder, task, path, file, cancellationToken);
            }

            if (await ProblemOfAsync(task, head, cancellationToken) is { } problem)
            {
                Tell(task.Subject, problem);
                return;
            }

            StorageKey key = RepositoryLayout.Parity(task.Subject, task.Layout.ParityShards);
            if (await repository.Storage.PutAsync(key, StorageContent.FromFile(path), cancellationToken) == PutOutcome.AlreadyThere)
            {
                // The same object always gives the same bytes, so these are damaged.
                await ReplaceAsync(encoder, task, key, cancellationToken);
            }

            Interlocked.Increment(ref _covered);
            Interlocked.Add(ref _written, ParityHead.ObjectSizeFor(task.Layout));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private async Task ReplaceAsync(ParityEncoder encoder, ParityTask task, StorageKey key, CancellationToken cancellationToken)
    {
        string path = Path.Join(_spool, $"{SessionId.New()}.parity");
        try
        {
            using (SafeFileHandle file = Create(path))
            {
                await EncodeAsync(encoder, task, path, file, cancellationToken);
            }

            await repository.Storage.DeleteAsync(key, cancellationToken);
            await repository.Storage.PutAsync(key, StorageContent.FromFile(path), cancellationToken);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static SafeFileHandle Create(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw SpoolFault.Translate(e, path);
        }
    }

    private static async Task<ParityHead> EncodeAsync(
        ParityEncoder encoder, ParityTask task, string path, SafeFileHandle file, CancellationToken cancellationToken)
    {
        try
        {
            return await encoder.EncodeAsync(task.Subject, task.Layout, file, cancellationToken);
        }
        catch (IOException e)
        {
            throw SpoolFault.Translate(e, path);
        }
    }

    // Parity of damaged bytes would make the damage last.
    private async Task<string?> ProblemOfAsync(ParityTask task, ParityHead head, CancellationToken cancellationToken)
    {
        const string Changed = "its bytes are not those of its name";
        if (ObjectProof.PackOf(task.Subject) is { } pack)
        {
            return head.Hash == pack ? null : Changed;
        }

        (byte[]? bytes, string problem) = await SmallObject.ReadAsync(repository.Storage, task.Subject, (int)Math.Min(task.Layout.Size, ObjectProof.MaxSize), cancellationToken);
        if (bytes is null)
        {
            return problem.Length > 0 ? problem : "it is gone";
        }

        byte[] digest = new byte[Blake3.DigestSize];
        Blake3.Hash(bytes, digest);
        return PackId.Read(digest) == head.Hash ? ObjectProof.ProblemOf(repository, task.Subject, bytes) : "its bytes change while they are read";
    }

    private void Tell(StorageKey subject, string problem) => _damaged.Enqueue(new RepositoryFinding(subject.Value, problem));
}
