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
public sealed record SnapshotObject(SessionId Session, string Name, byte[]? Document, string Damage);

/// <summary>Reads the snapshots that count, by the rules of docs/format.md, Sessions.</summary>
public static class SnapshotObjects
{
    /// <summary>
    /// All complete snapshots, or all partial ones, in no particular order. A name that a fence holds is no snapshot; on storage without
    /// conditional put a snapshot counts once it is confirmed.
    /// </summary>
    public static async IAsyncEnumerable<SnapshotObject> ReadAllAsync(
        BackupRepository repository, bool partial, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string prefix = partial ? RepositoryLayout.PartialSnapshotPrefix : RepositoryLayout.SnapshotPrefix;
        List<(StorageKey Key, SessionId Session)> found = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
        {
            ReadOnlySpan<char> name = stored.Key.Value.AsSpan(prefix.Length);
            if (name.Length >= 2 * SessionId.Size && SessionId.TryParse(name[..(2 * SessionId.Size)], out SessionId session))
            {
                found.Add((stored.Key, session));
            }
        }

        foreach ((StorageKey key, SessionId session) in found)
        {
            if (!partial && !repository.Storage.Capabilities.ConditionalPut &&
                await repository.Storage.StatAsync(RepositoryLayout.Confirmation(session), cancellationToken) is null)
            {
                continue;
            }

            if (await TryReadAsync(repository, partial, key, session, cancellationToken) is { } snapshot)
            {
                yield return snapshot;
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
        catch (CorruptDataException e)
        {
            return new SnapshotObject(session, key.Value, null, e.Message);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
    }
}
