using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Index;

/// <summary>A loaded index and what was found damaged on the way.</summary>
/// <param name="Index">Everything that could be read.</param>
/// <param name="Findings">One sentence for each segment that is damaged.</param>
/// <param name="DamagedSegments">Names of the segments that could not be read.</param>
public sealed record IndexLoad(ChunkIndex Index, IReadOnlyList<string> Findings, IReadOnlyList<string> DamagedSegments);

/// <summary>
/// Brings the repository's index segments into the local cache and opens them. The order is the protocol's (docs/format.md, Sessions): marks,
/// then announced sessions, then index. A mark that is gone from its place has become a tombstone in the index, which is listed later; a
/// segment whose session is not announced any more was put by somebody long taken for dead, and vouches for nothing.
/// </summary>
public static class IndexLoader
{
    /// <summary>More compactions than this do not happen while one index is loaded.</summary>
    private const int MaxListings = 20;

    /// <summary>
    /// Loads the index: cached runs are reused, what is missing is fetched; what was compacted away meanwhile is listed again. A damaged
    /// segment is left out and told; its chunks count as absent, which costs a writer space and never data.
    /// <paramref name="cacheFolder"/> null: a temporary folder.
    /// </summary>
    /// <exception cref="StorageException">The storage cannot be listed or read.</exception>
    public static async Task<IndexLoad> LoadAsync(BackupRepository repository, string? cacheFolder, CancellationToken cancellationToken)
    {
        if (cacheFolder is not null)
        {
            repository.OnCacheUse?.Invoke();
        }

        ChunkIndex index = new(cacheFolder is null ? null : Path.Combine(cacheFolder, repository.Id.ToString(), "index"));
        try
        {
            List<string> findings = [];
            List<string> damaged = [];
            await AddAllAsync(repository, index, isNew: true, findings, damaged, cancellationToken);
            return new IndexLoad(index, findings, damaged);
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Adds to a loaded index what was put since: for readers who find an object gone, because maintenance has moved what was in it.
    /// </summary>
    public static Task RefreshAsync(BackupRepository repository, ChunkIndex index, CancellationToken cancellationToken) =>
        AddAllAsync(repository, index, isNew: false, [], [], cancellationToken);

    /// <summary>The packs that are marked for collection.</summary>
    internal static async Task<HashSet<PackId>> ListMarksAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        HashSet<PackId> marks = [];
        await foreach (StoredObject mark in repository.Storage.ListAsync(RepositoryLayout.MarkPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseMark(mark.Key, out PackId pack))
            {
                marks.Add(pack);
            }
        }

        return marks;
    }

    private static async Task AddAllAsync(
        BackupRepository repository, ChunkIndex index, bool isNew, List<string> findings, List<string> damaged, CancellationToken cancellationToken)
    {
        index.Mark(await ListMarksAsync(repository, cancellationToken));

        HashSet<SessionId> announced = await ListAnnouncedAsync(repository, cancellationToken);
        for (int listing = 1; ; listing++)
        {
            Dictionary<string, bool> segments = await ListSegmentsAsync(repository, announced, cancellationToken);
            if (isNew && listing == 1)
            {
                index.AdoptCached(segments.Where(static s => s.Value).Select(static s => s.Key).ToHashSet(StringComparer.Ordinal));
            }

            int gone = 0;
            string[] missing = [.. segments.Keys.Except(index.Covered).Except(damaged)];
            int done = 0;
            await foreach (Segment segment in ReadAheadPipeline.RunAsync(
                missing, ReadAheadPipeline.WidthForLarge(repository.Storage), (name, stop) => ReadAsync(repository, name, stop), cancellationToken))
            {
                repository.OnIndexRead?.Invoke(done++, missing.Length);
                gone += TryAdd(index, segment, segments[segment.Name], findings, damaged) ? 0 : 1;
            }

            if (gone == 0)
            {
                break;
            }

            if (listing == MaxListings)
            {
                throw new StorageException(
                    ErrorCodes.StorageConnection, "The index changes faster than it can be read: segments are listed that are not there.");
            }
        }

        if (damaged.Count > 0)
        {
            await MarkMissingAsync(repository, index, cancellationToken);
        }
    }

    // A segment that cannot be read may hold tombstones: then only what is there is believed.
    private static async Task MarkMissingAsync(BackupRepository repository, ChunkIndex index, CancellationToken cancellationToken)
    {
        HashSet<PackId> missing = [.. index.Packs().Select(static p => p.Id)];
        foreach (string prefix in (string[])[RepositoryLayout.MetadataPackPrefix, RepositoryLayout.DataPackPrefix])
        {
            await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
            {
                if (RepositoryLayout.TryParsePack(stored.Key, out _, out PackId pack))
                {
                    missing.Remove(pack);
                }
            }
        }

        index.Mark(missing);
    }

    private static async Task<HashSet<SessionId>> ListAnnouncedAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        HashSet<SessionId> announced = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.SessionPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseSession(stored.Key, out SessionId session, out ReadOnlySpan<char> part) && part is RepositoryLayout.OpenPart)
            {
                announced.Add(session);
            }
        }

        return announced;
    }

    // Each segment with whether its session vouches for it.
    private static async Task<Dictionary<string, bool>> ListSegmentsAsync(
        BackupRepository repository, HashSet<SessionId> announced, CancellationToken cancellationToken)
    {
        Dictionary<string, bool> segments = new(StringComparer.Ordinal);
        await foreach (StoredObject segment in repository.Storage.ListAsync(RepositoryLayout.IndexPrefix, cancellationToken))
        {
            bool isVouchedFor = RepositoryLayout.TryParseIndex(segment.Key, out SessionId session, out _, out _) && announced.Contains(session);
            segments.Add(segment.Key.Value, isVouchedFor);
        }

        return segments;
    }

    private static async Task<Segment> ReadAsync(BackupRepository repository, string name, CancellationToken cancellationToken)
    {
        try
        {
            return new Segment(name, await repository.TryReadObjectAsync(ObjectKind.Index, new StorageKey(name), cancellationToken), null);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return new Segment(name, null, e);
        }
    }

    // False when the segment is gone.
    private static bool TryAdd(ChunkIndex index, Segment segment, bool isVouchedFor, List<string> findings, List<string> damaged)
    {
        BackupIQException? damage = segment.Damage;
        try
        {
            if (segment.Plain is { } plain)
            {
                index.Add([segment.Name], plain, isVouchedFor);
                return true;
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            damage = e;
        }

        if (damage is null)
        {
            return false;
        }

        damaged.Add(segment.Name);
        findings.Add($"Index segment {segment.Name} is damaged: {DamageReading.Problem(segment.Name, damage)}.");
        return true;
    }

    /// <summary>A segment as it was read. Without bytes it is gone, or damaged.</summary>
    private sealed record Segment(string Name, byte[]? Plain, BackupIQException? Damage);
}
