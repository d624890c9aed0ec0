using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Parity;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>How an object was made whole again, or why it could not be.</summary>
public enum MendingMeans
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>Its own other parts, or the index, had what was lost.</summary>
    Structure,

    /// <summary>Its parity.</summary>
    Parity,

    /// <summary>Its own seal, which shows damage of a few bytes.</summary>
    Seal,

    /// <summary>A mirror has it whole.</summary>
    Mirror,

    /// <summary>Not to its old bytes, but what can be read of it stands in other packs now, and the next backup stores the rest again if it can.</summary>
    Moved,
}

/// <summary>What came of mending an object.</summary>
/// <param name="Means">How; <see cref="MendingMeans.None"/>: it is as damaged as before.</param>
/// <param name="Told">More about it, half a sentence.</param>
public readonly record struct Mending(MendingMeans Means, string Told);

/// <summary>Makes damaged objects whole again, to the very bytes that they had.</summary>
internal sealed class ObjectMender(BackupRepository repository, ParityInventory parities)
{
    private const string BySealTold = "its own seal shows the few bytes that were wrong";

    private readonly ObjectReplacement _replacement = new(repository);

    /// <summary>
    /// Mends a pack; <paramref name="indexed"/> is what the index says of it, or null. With <paramref name="isTrial"/> nothing is put.
    /// </summary>
    public async Task<Mending> MendPackAsync(PackKind kind, PackId id, PackPlan? indexed, bool isTrial, CancellationToken cancellationToken)
    {
        StorageKey key = RepositoryLayout.Pack(kind, id);
        using WorkingCopy copy = await WorkingCopy.OfAsync(repository.Storage, key, cancellationToken);
        Mending mending = await PutAsync(key, copy, await MendAsync(kind, id, indexed, copy, cancellationToken), isTrial, cancellationToken);
        return mending.Means != MendingMeans.None ? mending : await ByMirrorAsync(key, mending, copy => copy.Hash() == id, isTrial, cancellationToken);
    }

    /// <summary>A copy of a pack that cannot be mended wholly, mended as far as can be; the caller disposes it.</summary>
    public async Task<WorkingCopy> CopyOfPackAsync(PackKind kind, PackId id, PackPlan indexed, CancellationToken cancellationToken)
    {
        WorkingCopy copy = await WorkingCopy.OfAsync(repository.Storage, RepositoryLayout.Pack(kind, id), cancellationToken);
        try
        {
            await MendAsync(kind, id, indexed, copy, cancellationToken);
            return copy;
        }
        catch
        {
            copy.Dispose();
            throw;
        }
    }

    /// <summary>Mends any other object that has parity.</summary>
    public async Task<Mending> MendAsync(StorageKey key, bool isTrial, CancellationToken cancellationToken)
    {
        using WorkingCopy copy = await WorkingCopy.OfAsync(repository.Storage, key, cancellationToken);
        Mending mending = BySeal(key, copy)
            ? new Mending(MendingMeans.Seal, BySealTold)
            : await ByParityAsync(key, copy, null, _ => ObjectProof.ProblemOf(repository, key, copy.ReadAll()) is null, cancellationToken);
        mending = await PutAsync(key, copy, mending, isTrial, cancellationToken);
        return mending.Means != MendingMeans.None
            ? mending
            : await ByMirrorAsync(key, mending, copy => ObjectProof.ProblemOf(repository, key, copy.ReadAll()) is null, isTrial, cancellationToken);
    }

    private async Task<Mending> ByMirrorAsync(StorageKey key, Mending before, Func<WorkingCopy, bool> isWhole, bool isTrial, CancellationToken cancellationToken)
    {
        await foreach (StorageCopy other in repository.Storage.CopiesAsync(cancellationToken))
        {
            using WorkingCopy? copy = await TryCopyAsync(other, key, cancellationToken);
            if (copy is not null && isWhole(copy))
            {
                return await PutAsync(key, copy, new Mending(MendingMeans.Mirror, $"its mirror {other.Name} has it whole"), isTrial, cancellationToken);
            }
        }

        return before;
    }

    // Null: the mirror cannot be asked now, and mends nothing.
    private async Task<WorkingCopy?> TryCopyAsync(StorageCopy other, StorageKey key, CancellationToken cancellationToken)
    {
        try
        {
            return await WorkingCopy.OfAsync(other.Storage, key, repository.Storage.SpoolFolder, cancellationToken);
        }
        catch (StorageException e) when (e.IsTransient)
        {
            return null;
        }
    }

    private bool BySeal(StorageKey key, WorkingCopy copy)
    {
        byte[] bytes = RandomAccess.GetLength(copy.File) <= ObjectProof.MaxSize ? copy.ReadAll() : [];
        if (!SealedObject.TryMend(repository.Keys, key, bytes) || ObjectProof.ProblemOf(repository, key, bytes) is not null)
        {
            return false;
        }

        RandomAccess.Write(copy.File, bytes, 0);
        return true;
    }

    private async Task<Mending> MendAsync(PackKind kind, PackId id, PackPlan? indexed, WorkingCopy copy, CancellationToken cancellationToken)
    {
        PackReconstruction structure = new(repository.Keys, copy.File, kind, id);
        structure.TryRun(indexed);
        if (copy.Hash() == id)
        {
            return new Mending(MendingMeans.Structure, "its other parts and the index had what was lost");
        }

        if (indexed is not null && structure.TryMendFrames(indexed) && structure.TryRun(indexed) && copy.Hash() == id)
        {
            return new Mending(MendingMeans.Seal, BySealTold);
        }

        Mending mending = await ByParityAsync(RepositoryLayout.Pack(kind, id), copy, id, static _ => true, cancellationToken);
        if (mending.Means == MendingMeans.None && structure.TryRun(indexed) && copy.Hash() == id)
        {
            return new Mending(MendingMeans.Parity, "parity had part of what was lost, the index the rest");
        }

        return mending;
    }

    private async Task<Mending> PutAsync(StorageKey key, WorkingCopy copy, Mending mending, bool isTrial, CancellationToken cancellationToken)
    {
        if (mending.Means != MendingMeans.None && !isTrial)
        {
            await _replacement.ReplaceAsync(key, copy, cancellationToken);
        }

        return mending;
    }

    private async Task<Mending> ByParityAsync(
        StorageKey key, WorkingCopy copy, PackId? hash, Func<PackId, bool> isProven, CancellationToken cancellationToken)
    {
        string told = "it has no parity";
        foreach ((StorageKey name, _) in parities.ParitiesOf(key))
        {
            using WorkingCopy parity = await WorkingCopy.OfAsync(repository.Storage, name, cancellationToken);
            if (ParityDecoder.ReadHead(parity.File) is not { } head)
            {
                told = "its parity is damaged, too";
                continue;
            }

            if (hash is { } wanted && head.Hash != wanted)
            {
                told = "its parity is that of other bytes";
                continue;
            }

            ParityMending result = ParityDecoder.Mend(copy.File, parity.File, head, cancellationToken);
            if (result.IsWhole && isProven(head.Hash))
            {
                return new Mending(MendingMeans.Parity, $"{Blocks(result.DamagedBlocks, head)} came back from its parity");
            }

            told = result.LostBlocks == 0
                ? "its parity is that of bytes that do not open"
                : $"{Blocks(result.DamagedBlocks, head)} are damaged, of which its parity of {PercentOf(head.Layout)} % cannot give back {result.LostBlocks}";
        }

        return new Mending(MendingMeans.None, told);
    }

    private static int PercentOf(in ParityLayout layout) => layout.ParityShards * 100 / layout.DataShards;

    private static string Blocks(int count, ParityHead head) => $"{count} {(count == 1 ? "block" : "blocks")} of {head.Layout.BlockSize} bytes";
}
