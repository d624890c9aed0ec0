using System.Buffers;
using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>Reads objects of bounded size: in one request, unless they are unusually large.</summary>
internal static class SmallObject
{
    // What may be found is far larger than what mostly is: room for it for each of thousands would fill the heap of large objects.
    private const int Mostly = 16 << 10;

    /// <summary>
    /// The object's bytes. Null with a problem when it is too large or the storage cannot read it; null without one when it is gone.
    /// What may go through later (no connection) is thrown.
    /// </summary>
    public static async Task<(byte[]? Bytes, string Problem)> ReadAsync(
        IStorageBackend storage, StorageKey key, int maxSize, CancellationToken cancellationToken)
    {
        byte[] first = ArrayPool<byte>.Shared.Rent(Mostly);
        try
        {
            int length = await storage.ReadAsync(key, 0, first.AsMemory(0, Math.Min(Mostly, maxSize + 1)), cancellationToken);
            if (length < Mostly)
            {
                return length <= maxSize ? (first[..length], "") : TooLarge(maxSize);
            }

            var whole = new byte[maxSize + 1];
            length = await storage.ReadAsync(key, 0, whole, cancellationToken);
            return length <= maxSize ? (whole[..length], "") : TooLarge(maxSize);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return (null, "");
        }
        catch (StorageException e) when (e.Code == ErrorCodes.Storage)
        {
            return (null, "the storage cannot read it");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(first);
        }
    }

    private static (byte[]? Bytes, string Problem) TooLarge(int maxSize) => (null, $"it is larger than {maxSize} bytes");
}
