using BackupIQ.Repository.Format;
using BackupIQ.Repository.Parity;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>
/// Puts a mended object into the place of the damaged one. Objects never change, so the damaged one has to go first; at every moment
/// either it or the mended copy is there, and whoever comes after a crash goes on (docs/format.md, Parity).
/// </summary>
internal sealed class ObjectReplacement(BackupRepository repository)
{
    private readonly IStorageBackend _storage = repository.Storage;

    /// <summary>Puts the copy, which has been proven, under <paramref name="key"/>; its file is taken over.</summary>
    public async Task ReplaceAsync(StorageKey key, WorkingCopy copy, CancellationToken cancellationToken)
    {
        StorageKey mended = RepositoryLayout.MendedCopy(key);
        await _storage.DeleteAsync(mended, cancellationToken);
        await _storage.PutAsync(mended, copy.GiveAway(), cancellationToken);
        await FinishAsync(key, cancellationToken);
    }

    /// <summary>Finishes what an earlier run began; returns the objects that are whole again by it.</summary>
    public async Task<IReadOnlyList<StorageKey>> ResumeAsync(CancellationToken cancellationToken)
    {
        List<StorageKey> begun = [];
        await foreach (StoredObject stored in _storage.ListAsync(RepositoryLayout.ParityPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseParity(stored.Key, out StorageKey subject, out int shards) && shards == 0)
            {
                begun.Add(subject);
            }
        }

        List<StorageKey> finished = [];
        foreach (StorageKey key in begun)
        {
            if (await IsWholeAsync(key, key, cancellationToken))
            {
                await _storage.DeleteAsync(RepositoryLayout.MendedCopy(key), cancellationToken);
            }
            else if (await IsWholeAsync(key, RepositoryLayout.MendedCopy(key), cancellationToken))
            {
                await FinishAsync(key, cancellationToken);
                finished.Add(key);
            }
        }

        return finished;
    }

    private async Task FinishAsync(StorageKey key, CancellationToken cancellationToken)
    {
        StorageKey mended = RepositoryLayout.MendedCopy(key);
        using WorkingCopy copy = await WorkingCopy.OfAsync(_storage, mended, cancellationToken);
        await _storage.DeleteAsync(key, cancellationToken);
        await _storage.PutAsync(key, copy.GiveAway(), cancellationToken);
        await _storage.DeleteAsync(mended, cancellationToken);
    }

    private async Task<bool> IsWholeAsync(StorageKey key, StorageKey place, CancellationToken cancellationToken)
    {
        using WorkingCopy copy = await WorkingCopy.OfAsync(_storage, place, cancellationToken);
        return ObjectProof.PackOf(key) is { } pack ? copy.Hash() == pack : ObjectProof.ProblemOf(repository, key, copy.ReadAll()) is null;
    }
}
