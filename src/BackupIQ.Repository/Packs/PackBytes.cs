using System.Runtime.ExceptionServices;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Packs;

/// <summary>Raw reads of packs, for whoever plans its own requests.</summary>
public static class PackBytes
{
    /// <summary>Reads from a pack until <paramref name="destination"/> is full or the pack ends; returns the bytes read.</summary>
    /// <exception cref="BackupIQException"><c>StorageObjectNotFound</c> when the pack is gone, or another storage failure.</exception>
    public static ValueTask<int> ReadPackAsync(
        this BackupRepository repository, PackKind kind, PackId pack, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
        repository.Storage.ReadAsync(RepositoryLayout.Pack(kind, pack), offset, destination, cancellationToken);

    /// <summary>
    /// Reads a frame into <paramref name="stored"/> (exactly <see cref="FrameReference.StoredLength"/>), whose bytes are then used up, and opens it into <paramref name="plain"/>. What does not open
    /// is read again from where the storage has copies.
    /// </summary>
    /// <exception cref="BackupIQException">It is damaged here and whole nowhere, or the storage does not give it.</exception>
    public static async ValueTask ReadFrameAsync(
        this BackupRepository repository, FrameReference frame, FrameOpener opener, Memory<byte> stored, Memory<byte> plain, CancellationToken cancellationToken)
    {
        CorruptDataException damage;
        try
        {
            await OpenAsync(repository.Storage, frame, opener, stored, plain, cancellationToken);
            return;
        }
        catch (CorruptDataException e)
        {
            damage = e;
        }

        if (!await repository.TryReadFrameElsewhereAsync(frame, opener, stored, plain, cancellationToken))
        {
            ExceptionDispatchInfo.Throw(damage);
        }
    }

    /// <summary>Reads a frame from where the storage has copies, after what that gave did not open; false: there is none, or none is whole.</summary>
    public static async ValueTask<bool> TryReadFrameElsewhereAsync(
        this BackupRepository repository, FrameReference frame, FrameOpener opener, Memory<byte> stored, Memory<byte> plain, CancellationToken cancellationToken)
    {
        await foreach (StorageCopy copy in repository.Storage.CopiesAsync(cancellationToken))
        {
            try
            {
                await OpenAsync(copy.Storage, frame, opener, stored, plain, cancellationToken);
                copy.OnUsed(RepositoryLayout.Pack(frame.Kind, frame.Pack));
                return true;
            }
            catch (BackupIQException e) when (e is StorageException || DamageReading.IsDamage(e))
            {
                // The next one.
            }
        }

        return false;
    }

    private static async ValueTask OpenAsync(
        IStorageBackend storage, FrameReference frame, FrameOpener opener, Memory<byte> stored, Memory<byte> plain, CancellationToken cancellationToken)
    {
        int read = await storage.ReadAsync(RepositoryLayout.Pack(frame.Kind, frame.Pack), frame.Offset, stored, cancellationToken);
        opener.OpenInPlace(frame, stored.Span[..read], plain.Span);
    }
}
