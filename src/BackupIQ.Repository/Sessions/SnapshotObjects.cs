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
    /// <summary>
    /// All complete snapshots, or all partial ones, in no particular order. A name that a fence holds is no snapshot; on storage without
    /// conditional put a snapshot counts once it is confirmed.
    /// </summary>
    public static IAsyncEnumerable<SnapshotObject> ReadAllAsync(BackupRepository repository, bool partial, CancellationToken cancellationToken) =>
        ReadAsync(repository, partial, needsConfirmation: !partial && !repository.Storage.Capabilities.ConditionalPut, cancellationToken);

    /// <summary>
    /// Every snapshot that a collector takes as a root, in no particular order: all that stand under <c>s/</c> and are no fence, forgotten or
    /// not, confirmed or not. A forgotten snapshot is a root until it is removed for good, and that is when its object goes. One with
    /// <see cref="SnapshotObject.Damage"/> is a root whose needs nobody can tell: nothing may be deleted while there is one. Partial snapshots
    /// are roots by rules of their own (docs/format.md, Sessions): <see cref="ReadAllAsync"/> reads them.
    /// </summary>
    public static IAsyncEnumerable<SnapshotObject> ReadRootsAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        ReadAsync(repository, partial: false, needsConfirmation: false, cancellationToken);

    /// <summary>Whether a snapshot is stored, damaged or not. A fence is none.</summary>
    public static async Task<bool> ExistsAsync(BackupRepository repository, SessionId session, CancellationToken cancellationToken) =>
        await TryReadAsync(repository, partial: false, RepositoryLayout.Snapshot(session), session, cancellationToken) is not null;

    private static async IAsyncEnumerable<SnapshotObject> ReadAsync(
        BackupRepository repository, bool partial, bool needsConfirmation, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string prefix = partial ? RepositoryLayout.PartialSnapshotPrefix : RepositoryLayout.SnapshotPrefix;
        List<(StoredObject Stored, SessionId Session)> found = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
        {
            ReadOnlySpan<char> name = stored.Key.Value.AsSpan(prefix.Length);
            if (name.Length >= 2 * SessionId.Size && SessionId.TryParse(name[..(2 * SessionId.Size)], out SessionId session))
            {
                found.Add((stored, session));
            }
        }

        foreach ((StoredObject stored, SessionId session) in found)
        {
            if (needsConfirmation &&
                await repository.Storage.StatAsync(RepositoryLayout.Confirmation(session), cancellationToken) is null)
            {
                continue;
            }

            if (await TryReadAsync(repository, partial, stored.Key, session, cancellationToken) is { } snapshot)
            {
                yield return snapshot with { StoredAt = stored.StoredAt };
            }
        }
    }

    private static async Task<SnapshotObject?> TryReadAsync(
        BackupRepository repository, bool partial, StorageKey key, SessionId session, CancellationToken cancellationToken)
    {
        try
        {
            ObjectKind kind = partial ? ObjectKind.PartialSnapshot : ObjectKind.Snapshot;
            byte[]? document = await repository.ReadUnlessFenceAsync(kind, key, cancellationToken);
            return document is null ? null : new SnapshotObject(session, key.Value, document, "");
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return new SnapshotObject(session, key.Value, null, $"{DamageReading.Problem(key.Value, e)}.");
        }
    }
}
