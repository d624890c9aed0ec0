using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>Something that is said about a snapshot, as it is stored.</summary>
/// <param name="Snapshot">The snapshot.</param>
/// <param name="Id">Its own random id; null when its name is none that this version gives.</param>
/// <param name="IsWithdrawal">Whether it takes something away (docs/format.md, Annotations).</param>
/// <param name="Name">An object's name, for messages.</param>
/// <param name="Document">Its bytes, or null when no copy could be opened.</param>
/// <param name="Damage">Why not.</param>
/// <param name="StoredAt">When the older copy was stored, by the storage's clock where it has one.</param>
public sealed record AnnotationObject(
    SessionId Snapshot, SessionId? Id, bool IsWithdrawal, string Name, byte[]? Document, string Damage, DateTimeOffset StoredAt);

/// <summary>
/// Puts and reads what is said about snapshots: immutable objects, each under two names, so that the loss of any one changes nothing.
/// </summary>
public static class AnnotationObjects
{
    // A request each, so that a store far away is not asked one after the other; more would only crowd it.
    private const int ReadAtOnce = 16;

    /// <summary>All annotations and withdrawals of one snapshot, or of all.</summary>
    public static async Task<IReadOnlyList<AnnotationObject>> ReadAsync(
        BackupRepository repository, SessionId? snapshot, CancellationToken cancellationToken)
    {
        Dictionary<(SessionId Snapshot, SessionId Id, bool IsWithdrawal), Copies> known = [];
        List<AnnotationObject> read = [];
        string[] prefixes = snapshot is { } one
            ? [RepositoryLayout.Annotations(one), RepositoryLayout.Withdrawals(one)]
            : [RepositoryLayout.AnnotationPrefix, RepositoryLayout.WithdrawalPrefix];
        foreach (string prefix in prefixes)
        {
            await foreach (StoredObject stored in repository.Storage.ListAsync(prefix, cancellationToken))
            {
                if (!RepositoryLayout.TryParseAnnotation(stored.Key, out SessionId about, out bool isWithdrawal, out SessionId? id, out char copy) ||
                    stored.Key == RepositoryLayout.Confirmation(about))
                {
                    continue;
                }

                if (id is not { } unique)
                {
                    read.Add(new AnnotationObject(about, null, isWithdrawal, stored.Key.Value, null, "no annotation of this version has such a name", stored.StoredAt));
                    continue;
                }

                Copies copies = known.GetValueOrDefault((about, unique, isWithdrawal), new Copies(false, false, DateTimeOffset.MaxValue));
                known[(about, unique, isWithdrawal)] = new Copies(
                    copies.First || copy == 'a', copies.Second || copy == 'b', stored.StoredAt < copies.StoredAt ? stored.StoredAt : copies.StoredAt);
            }
        }

        foreach (KeyValuePair<(SessionId Snapshot, SessionId Id, bool IsWithdrawal), Copies>[] batch in known.Chunk(ReadAtOnce))
        {
            AnnotationObject?[] found = await Task.WhenAll(batch.Select(
                one => ReadOneAsync(repository, one.Key.Snapshot, one.Key.Id, one.Key.IsWithdrawal, one.Value, cancellationToken)));
            read.AddRange(found.OfType<AnnotationObject>());
        }

        return read;
    }

    /// <summary>Puts both copies; when this returns they are durable.</summary>
    /// <returns>When the second was stored, by the storage's clock where it has one.</returns>
    public static async Task<DateTimeOffset> PutAsync(
        BackupRepository repository, SessionId snapshot, SessionId id, bool isWithdrawal, ReadOnlyMemory<byte> document, CancellationToken cancellationToken)
    {
        StorageKey last = default;
        foreach (char copy in "ab")
        {
            last = RepositoryLayout.Annotation(snapshot, id, isWithdrawal, copy);
            byte[] bytes = SealedObject.Seal(repository.Keys, ObjectKind.Annotation, last, document.Span);
            await repository.Storage.PutAsync(last, StorageContent.FromBytes(bytes), cancellationToken);
        }

        return (await repository.Storage.StatAsync(last, cancellationToken))?.StoredAt ?? default;
    }

    /// <summary>Deletes both copies.</summary>
    public static async Task DeleteAsync(BackupRepository repository, AnnotationObject annotation, CancellationToken cancellationToken)
    {
        foreach (char copy in annotation.Id is null ? "" : "ab")
        {
            await repository.Storage.DeleteAsync(
                RepositoryLayout.Annotation(annotation.Snapshot, annotation.Id!.Value, annotation.IsWithdrawal, copy), cancellationToken);
        }
    }

    /// <summary>Waits, where listings may lag, until what was put before this call is listed: twice the lag.</summary>
    public static Task SettleAsync(BackupRepository repository, TimeProvider time, CancellationToken cancellationToken) =>
        repository.WaitForListingsAsync(time, cancellationToken);

    private static async Task<AnnotationObject?> ReadOneAsync(
        BackupRepository repository, SessionId snapshot, SessionId id, bool isWithdrawal, Copies copies, CancellationToken cancellationToken)
    {
        string name = "";
        string damage = "";
        foreach (char copy in "ab")
        {
            if (!(copy == 'a' ? copies.First : copies.Second))
            {
                continue;
            }

            StorageKey key = RepositoryLayout.Annotation(snapshot, id, isWithdrawal, copy);
            (byte[]? bytes, string problem) = await SmallObject.ReadAsync(repository.Storage, key, HeadedObject.MaxSize, cancellationToken);
            if (bytes is null && problem.Length == 0)
            {
                continue;
            }

            name = key.Value;
            try
            {
                if (bytes is not null)
                {
                    byte[] document = SealedObject.Open(repository.Keys, ObjectKind.Annotation, key, bytes);
                    return new AnnotationObject(snapshot, id, isWithdrawal, name, document, "", copies.StoredAt);
                }

                damage = problem;
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.CorruptData || e.Code == ErrorCodes.UnsupportedFormat)
            {
                damage = e.Message.Replace($"{name}: ", "", StringComparison.Ordinal).TrimEnd('.');
            }
        }

        // Both gone since the listing: it was swept with its snapshot.
        return name.Length == 0 ? null : new AnnotationObject(snapshot, id, isWithdrawal, name, null, damage, copies.StoredAt);
    }

    private readonly record struct Copies(bool First, bool Second, DateTimeOffset StoredAt);
}
