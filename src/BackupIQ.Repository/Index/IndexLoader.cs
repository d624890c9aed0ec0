using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Index;

/// <summary>A loaded index and what was found damaged on the way.</summary>
/// <param name="Index">Everything that could be read.</param>
/// <param name="Findings">One sentence for each segment that is damaged.</param>
/// <param name="DamagedSegments">Names of the segments that could not be read.</param>
public sealed record IndexLoad(ChunkIndex Index, IReadOnlyList<string> Findings, IReadOnlyList<string> DamagedSegments);

/// <summary>Brings the repository's index segments into the local cache and opens them.</summary>
public static class IndexLoader
{
    /// <summary>
    /// Loads the index: cached runs are reused, what is missing is fetched. A damaged segment is left out and told; its chunks count as
    /// absent, which costs a writer space and never data. <paramref name="cacheFolder"/> null: a temporary folder.
    /// </summary>
    /// <exception cref="StorageException">The storage cannot be listed or read.</exception>
    public static async Task<IndexLoad> LoadAsync(BackupRepository repository, string? cacheFolder, CancellationToken cancellationToken)
    {
        ChunkIndex index = new(cacheFolder is null ? null : Path.Combine(cacheFolder, repository.Id.ToString(), "index"));
        try
        {
            List<string> findings = [];
            List<string> damaged = [];
            HashSet<string> segments = [];
            await foreach (StoredObject segment in repository.Storage.ListAsync(RepositoryLayout.IndexPrefix, cancellationToken))
            {
                segments.Add(segment.Key.Value);
            }

            index.AdoptCached(segments);
            foreach (string name in segments.Except(index.Covered).ToArray())
            {
                await AddAsync(repository, index, name, findings, damaged, cancellationToken);
            }

            await MarkAsync(repository, index, cancellationToken);
            return new IndexLoad(index, findings, damaged);
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    private static async Task AddAsync(
        BackupRepository repository, ChunkIndex index, string name, List<string> findings, List<string> damaged, CancellationToken cancellationToken)
    {
        try
        {
            byte[] plain = await repository.ReadObjectAsync(ObjectKind.Index, new StorageKey(name), cancellationToken);
            index.Add([name], plain);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            // Compacted away between the listing and the read: its entries stand in a segment that the next listing shows. Until then they
            // count as absent, which costs space or time.
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            damaged.Add(name);
            findings.Add($"Index segment {name} is damaged: {DamageReading.Problem(name, e)}.");
        }
    }

    // A mark is an object named after its pack; what is in it matters to collectors only.
    private static async Task MarkAsync(BackupRepository repository, ChunkIndex index, CancellationToken cancellationToken)
    {
        await foreach (StoredObject mark in repository.Storage.ListAsync(RepositoryLayout.MarkPrefix, cancellationToken))
        {
            string name = mark.Key.Value[(mark.Key.Value.LastIndexOf('/') + 1)..];
            if (name.Length >= 2 * PackId.Size && PackId.TryParse(name.AsSpan(0, 2 * PackId.Size), out PackId pack))
            {
                index.Mark(pack);
            }
        }
    }
}
