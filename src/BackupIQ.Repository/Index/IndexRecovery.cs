using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Index;

/// <summary>
/// Finds again, from the packs' own contents tables, what damaged or lost index segments knew: for reading, in the local cache only. The
/// repository is not changed.
/// </summary>
public static class IndexRecovery
{
    /// <summary>Reads the contents of every pack that the index does not name and adds them. Returns what it found, one sentence each.</summary>
    public static async Task<IReadOnlyList<string>> AddUnindexedPacksAsync(
        BackupRepository repository, ChunkIndex index, CancellationToken cancellationToken)
    {
        List<string> findings = [];
        HashSet<PackId> known = [.. index.Packs().Select(static p => p.Id)];
        IndexSegmentBuilder segment = new();
        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            string prefix = kind == PackKind.Data ? RepositoryLayout.DataPackPrefix : RepositoryLayout.MetadataPackPrefix;
            await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
            {
                string name = stored.Key.Value[(stored.Key.Value.LastIndexOf('/') + 1)..];
                if (!PackId.TryParse(name, out PackId id) || !known.Add(id))
                {
                    continue;
                }

                try
                {
                    (PackHead head, PackContents contents) = await PackReader.ReadContentsAsync(repository, kind, id, stored.Size, cancellationToken);
                    segment.AddPack(id, (ulong)stored.Size, head.Salts, contents);
                }
                catch (BackupIQException e) when (DamageReading.IsDamage(e))
                {
                    findings.Add(e.Message);
                }
            }
        }

        if (!segment.IsEmpty)
        {
            findings.Add($"{segment.PackCount} packs that no readable index segment names were found by their own contents tables.");
            index.Add([], segment.Build(default, 0, 0));
        }

        return findings;
    }
}
