using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>A snapshot's document as it is stored.</summary>
/// <param name="Session">The session that put it; the snapshot's id.</param>
/// <param name="Name">The object's name, for messages.</param>
/// <param name="Document">Its bytes, or null when it could not be opened.</param>
/// <param name="Damage">Why it could not.</param>
public sealed record SnapshotObject(SessionId Session, string Name, byte[]? Document, string Damage)
{
    /// <summary>When it was stored, by the storage's clock where it has one.</summary>
    public DateTimeOffset StoredAt { get; init; }
}

/// <summary>Reads the snapshots that count, by the rules of docs/format.md, Sessions.</summary>
public static class SnapshotObjects
{
    private static readonly HashSet<SessionId> EmptySet = [];

    /// <summary>
    /// All complete snapshots, or all partial ones, in no particular order. A name that a fence holds is no snapshot; on storage without
    /// conditional put a snapshot counts once it is confirmed.
    /// </summary>
    public static IAsyncEnumerable<SnapshotObject> ReadAllAsync(BackupRepository repository, bool partial, CancellationToken cancellationToken) =>
        ReadAsync(repository, partial, needsConfirmation: !partial && !repository.CommitsByName, EmptySet, cancellationToken);

    /// <summary>
    /// Every snapshot that a collector takes as a root, in no particular order: all that stand under <c>s/</c> and are no fence, forgotten or
    /// not, confirmed or not. A forgotten snapshot is a root until it is removed for good, and that is when its object goes. One with
    /// <see cref="SnapshotObject.Damage"/> is a root whose needs nobody can tell: nothing may be deleted while there is one. Partial snapshots
    /// are roots by rules of their own (docs/format.md, Sessions): <see cref="ReadAllAsync"/> reads them.
    /// </summary>
    public static IAsyncEnumerable<SnapshotObject> ReadRootsAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        ReadRootsAsync(repository, EmptySet, cancellationToken);

    /// <summary>The same without those that are <paramref name="known"/>.</summary>
    internal static IAsyncEnumerable<SnapshotObject> ReadRootsAsync(
        BackupRepository repository, IReadOnlySet<SessionId> known, CancellationToken cancellationToken) =>
        ReadAsync(repository, partial: false, needsConfirmation: false, known, cancellationToken);

    /// <summary>Whether a snapshot is stored, damaged or not. A fence is none.</summary>
    public static async Task<bool> ExistsAsync(BackupRepository repository, SessionId session, CancellationToken cancellationToken) =>
        await TryReadAsync(repository, partial: false, RepositoryLayout.Snapshot(session), session, cancellationToken) is not null;

    /// <summary>
    /// Removes a snapshot for good: its document, then what is said about it. From then on it is no root. Whoever calls this has condemned it
    /// (docs/format.md, Annotations).
    /// </summary>
    /// <remarks>
    /// Should its session not have ended, a retry of its commit may bring it back, whole: collectors take a session without an end, whose name
    /// is free, for one that is at work, and bar it by a fence before they delete anything that it may have relied on.
    /// </remarks>
    public static async Task RemoveAsync(BackupRepository repository, SessionId session, CancellationToken cancellationToken)
    {
        await repository.Storage.DeleteAsync(RepositoryLayout.Snapshot(session), cancellationToken);
        await RemoveAnnotationsAsync(repository, session, cancellationToken);
    }

    /// <summary>
    /// Removes what is said about a snapshot that is not there any more: annotations before withdrawals, so that nothing which is forgotten
    /// or withdrawn ever looks as if it were not.
    /// </summary>
    public static async Task RemoveAnnotationsAsync(BackupRepository repository, SessionId session, CancellationToken cancellationToken)
    {
        foreach (string prefix in (string[])[RepositoryLayout.Annotations(session), RepositoryLayout.Withdrawals(session)])
        {
            List<StorageKey> keys = [];
            await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
            {
                keys.Add(stored.Key);
            }

            foreach (StorageKey key in keys)
            {
                await repository.Storage.DeleteAsync(key, cancellationToken);
            }
        }
    }

    /// <summary>
    /// Those of which something was said, as an earlier listing has it, but that are not there: a removal was interrupted. Empty where listings
    /// lag, for there it cannot be told.
    /// </summary>
    public static async Task<IReadOnlyList<SessionId>> FindGoneAsync(
        BackupRepository repository, IEnumerable<SessionId> annotated, CancellationToken cancellationToken)
    {
        if (repository.Storage.Capabilities.ListingLag > TimeSpan.Zero)
        {
            return [];
        }

        HashSet<string> there = new(StringComparer.Ordinal);
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.SnapshotPrefix, cancellationToken))
        {
            there.Add(stored.Key.Value);
        }

        return [.. annotated.Where(session => !there.Contains(RepositoryLayout.Snapshot(session).Value))];
    }

    private static async IAsyncEnumerable<SnapshotObject> ReadAsync(
        BackupRepository repository,
        bool partial,
        bool needsConfirmation,
        IReadOnlySet<SessionId> known,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string prefix = partial ? RepositoryLayout.PartialSnapshotPrefix : RepositoryLayout.SnapshotPrefix;
        List<(StoredObject Stored, SessionId Session)> found = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
        {
            ReadOnlySpan<char> name = stored.Key.Value.AsSpan(prefix.Length);
            if (name.Length >= 2 * SessionId.Size && SessionId.TryParse(name[..(2 * SessionId.Size)], out SessionId session) && !known.Contains(session))
            {
                found.Add((stored, session));
            }
        }

        await foreach (SnapshotObject? snapshot in ReadAheadPipeline.RunAsync(found, ReadAheadPipeline.WidthFor(repository.Storage), ReadOneAsync, cancellationToken))
        {
            if (snapshot is not null)
            {
                yield return snapshot;
            }
        }

        async Task<SnapshotObject?> ReadOneAsync((StoredObject Stored, SessionId Session) one, CancellationToken stop)
        {
            bool counts = !needsConfirmation || await repository.Storage.StatAsync(RepositoryLayout.Confirmation(one.Session), stop) is not null;
            return counts && await TryReadAsync(repository, partial, one.Stored.Key, one.Session, stop) is { } snapshot ? snapshot with { StoredAt = one.Stored.StoredAt } : null;
        }
    }

    private static async Task<SnapshotObject?> TryReadAsync(
        BackupRepository repository, bool partial, StorageKey key, SessionId session, CancellationToken cancellationToken)
    {
        try
        {
            ObjectKind kind = partial ? ObjectKind.PartialSnapshot : ObjectKind.Snapshot;
            return await repository.ReadUnlessFenceAsync(kind, key, cancellationToken) is (_, { } document) ? new SnapshotObject(session, key.Value, document, "") : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return new SnapshotObject(session, key.Value, null, $"{DamageReading.Problem(key.Value, e)}.");
        }
    }
}
