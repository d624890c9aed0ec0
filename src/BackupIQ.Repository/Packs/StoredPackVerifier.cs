using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Packs;

/// <summary>Reads packs back: the name against the bytes, and every chunk opened against its id.</summary>
public static class StoredPackVerifier
{
    /// <summary>
    /// Verifies packs one after the other; returns when all of them are right and <paramref name="index"/> names each of their chunks.
    /// </summary>
    /// <exception cref="CorruptDataException">One is not; names it.</exception>
    public static async Task VerifyAsync(
        BackupRepository repository, ChunkIndex index, IEnumerable<(PackId Id, PackKind Kind)> packs, CancellationToken cancellationToken)
    {
        using PackPass pass = new(repository);
        foreach ((PackId id, PackKind kind) in packs)
        {
            PackPlan plan = await VerifyAsync(repository, pass, kind, id, cancellationToken);
            foreach (PlannedChunk chunk in plan.Chunks)
            {
                if (!index.TryFind(kind, chunk.Id, out _))
                {
                    throw new CorruptDataException($"Pack {id} holds chunk {chunk.Id}, and the index does not name it.");
                }
            }
        }
    }

    private static async Task<PackPlan> VerifyAsync(
        BackupRepository repository, PackPass pass, PackKind kind, PackId id, CancellationToken cancellationToken)
    {
        StoredObject stored = await repository.Storage.StatAsync(RepositoryLayout.Pack(kind, id), cancellationToken)
            ?? throw new CorruptDataException($"Pack {id} is not there.");
        (PackHead head, PackContents contents) = await PackReader.ReadContentsAsync(repository, kind, id, stored.Size, cancellationToken);
        PackPlan plan = PackPlan.Of(head, contents);
        string? problem = null;
        pass.OnBadFrame = (_, why) => problem ??= why;
        pass.OnBadChunk = (_, chunk) => problem ??= $"chunk {plan.Chunks[chunk].Id} has other bytes";
        bool isNamed = await pass.RunAsync(kind, id, plan, cancellationToken);
        problem ??= isNamed ? null : "its bytes are not those of its name";
        return problem is null ? plan : throw new CorruptDataException($"Pack {id} is damaged: {problem}.");
    }
}
