using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Parity;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>An object that was damaged, and what came of mending it.</summary>
/// <param name="ObjectName">Its name in the repository.</param>
/// <param name="Problem">What was wrong with it, half a sentence.</param>
/// <param name="Mending">What came of it.</param>
public sealed record MendedObject(string ObjectName, string Problem, Mending Mending);

/// <summary>Mends damaged objects of a repository to the bytes that they had: by their parity, by their other parts, by the index.</summary>
public sealed class RepositoryRepair
{
    // Plans of so many packs are held at once.
    private const int PlansAtOnce = 64;

    private static readonly string[] SmallPrefixes =
        [RepositoryLayout.ConfigurationPrefix, RepositoryLayout.KeyPrefix, RepositoryLayout.SnapshotPrefix, RepositoryLayout.IndexPrefix];

    private readonly BackupRepository _repository;
    private readonly ObjectMender _mender;

    private RepositoryRepair(BackupRepository repository, ParityInventory parities)
    {
        _repository = repository;
        _mender = new ObjectMender(repository, parities);
    }

    /// <summary>Learns what parity there is.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, or only a newer version may change this repository.</exception>
    public static async Task<RepositoryRepair> OpenAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Delete);
        return new RepositoryRepair(repository, await ParityInventory.ReadAsync(repository.Storage, cancellationToken));
    }

    /// <summary>Finishes what a repair that was killed had begun; returns the names of the objects that are whole by it.</summary>
    public async Task<IReadOnlyList<string>> ResumeAsync(CancellationToken cancellationToken) =>
        [.. (await new ObjectReplacement(_repository).ResumeAsync(cancellationToken)).Select(static key => key.Value)];

    /// <summary>
    /// Mends configurations, key slots, snapshots and index segments that are damaged, by their parity. With <paramref name="isTrial"/> nothing
    /// is put: the answer says what would come of it.
    /// </summary>
    public async Task<IReadOnlyList<MendedObject>> MendSmallObjectsAsync(bool isTrial, CancellationToken cancellationToken)
    {
        List<MendedObject> mended = [];
        foreach (string prefix in SmallPrefixes)
        {
            List<StoredObject> objects = [];
            await foreach (StoredObject stored in _repository.Storage.ListAsync(prefix, cancellationToken))
            {
                objects.Add(stored);
            }

            foreach (StoredObject stored in objects)
            {
                if (await ProblemOfAsync(stored, cancellationToken) is { } problem)
                {
                    mended.Add(new MendedObject(stored.Key.Value, problem, await _mender.MendAsync(stored.Key, isTrial, cancellationToken)));
                }
            }
        }

        return mended;
    }

    /// <summary>Mends packs that a check found broken or missing, as far as they can have their old bytes again.</summary>
    public async Task<IReadOnlyList<MendedObject>> MendPacksAsync(
        RepositoryCheck check, IEnumerable<CheckedPack> packs, bool isTrial, CancellationToken cancellationToken)
    {
        List<MendedObject> mended = [];
        foreach (CheckedPack[] batch in packs.Chunk(PlansAtOnce))
        {
            Dictionary<CheckedPack, PackPlan> plans = check.PlansByIndex(batch, cancellationToken);
            foreach (CheckedPack pack in batch)
            {
                string problem = pack.IsMissing ? "it is missing" : string.Join("; ", pack.Problems);
                Mending mending = await _mender.MendPackAsync(pack.Kind, pack.Id, plans.GetValueOrDefault(pack), isTrial, cancellationToken);
                mended.Add(new MendedObject(pack.ObjectName, problem, mending));
            }
        }

        return mended;
    }

    /// <summary>
    /// Marks packs that could not be mended, so that nothing new relies on them and the next backup stores again what it has of them, and moves
    /// what can still be read into new packs. The damaged packs themselves stay until a collector finds that nothing needs them.
    /// </summary>
    /// <returns>For each pack, in their order, what came of it.</returns>
    public async Task<IReadOnlyList<Mending>> SalvagePacksAsync(
        RepositoryCheck check, IReadOnlyList<CheckedPack> packs, UploadOptions options, string? cacheFolder, TimeProvider time, CancellationToken cancellationToken)
    {
        if (packs.Count == 0)
        {
            return [];
        }

        using PackSalvage salvage = new(_repository.Keys);
        List<Mending> told = [];
        if (options.DryRun)
        {
            await SalvageAllAsync(null);
            return told;
        }

        await _repository.RequireNewestEpochAsync(cancellationToken);

        // A mark before anything else: what stands in these packs alone counts as absent from here on, for this session too.
        await using UploadSession session = await UploadSession.OpenAsync(_repository, options, cacheFolder, time, cancellationToken);
        foreach (CheckedPack pack in packs.Where(static pack => !pack.IsMarked))
        {
            StorageKey mark = RepositoryLayout.Mark(pack.Id);
            byte[] bytes = SealedObject.Seal(_repository.Keys, ObjectKind.Mark, mark, MarkDocument.Write(session.Id, "damaged"));
            await _repository.Storage.PutAsync(mark, StorageContent.FromBytes(bytes), cancellationToken);
        }

        session.Index.Mark([.. packs.Select(static pack => pack.Id)]);
        await SalvageAllAsync(session);
        await session.FlushAsync(cancellationToken);
        await session.EndAsync(cancellationToken);
        return told;

        async Task SalvageAllAsync(UploadSession? writer)
        {
            foreach (CheckedPack[] batch in packs.Chunk(PlansAtOnce))
            {
                Dictionary<CheckedPack, PackPlan> plans = check.PlansByIndex(batch, cancellationToken);
                foreach (CheckedPack pack in batch)
                {
                    told.Add(await SalvageAsync(salvage, pack, plans.GetValueOrDefault(pack), writer, cancellationToken));
                }
            }
        }
    }

    private async Task<Mending> SalvageAsync(
        PackSalvage salvage, CheckedPack pack, PackPlan? plan, UploadSession? writer, CancellationToken cancellationToken)
    {
        string then = writer is null ? "it would be marked" : "it is marked";
        if (plan is null || pack.IsMissing)
        {
            string why = pack.IsMissing ? "nothing of it is left" : "nothing tells what is in it";
            return new Mending(pack.IsMissing ? MendingMeans.Moved : MendingMeans.None, $"{why}; {then}, so that the next backup stores again what it can");
        }

        using WorkingCopy copy = await _mender.CopyOfPackAsync(pack.Kind, pack.Id, plan, cancellationToken);
        Salvage found = await salvage.RunAsync(pack.Kind, pack.Id, copy.File, plan, writer, cancellationToken);
        string moved = writer is null ? "would be kept in new packs where they stand nowhere else" : $"{found.Moved} were put into new packs, the others stand elsewhere";
        return new Mending(
            MendingMeans.Moved,
            $"{found.Readable} of its {found.Frames} frames can be read: {moved}; {then}, so that the next backup stores again what it can");
    }

    private async Task<string?> ProblemOfAsync(StoredObject stored, CancellationToken cancellationToken)
    {
        int size = (int)Math.Min(Math.Max(stored.Size, 1), ObjectProof.MaxSize);
        (byte[]? bytes, string problem) = await SmallObject.ReadAsync(_repository.Storage, stored.Key, size, cancellationToken);
        return bytes is not null ? ObjectProof.ProblemOf(_repository, stored.Key, bytes) : problem.Length > 0 ? problem : null;
    }
}
