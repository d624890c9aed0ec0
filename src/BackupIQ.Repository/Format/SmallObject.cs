using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>Reads objects of bounded size in one request.</summary>
internal static class SmallObject
{
    /// <summary>
    /// The object's bytes. Null with a problem when it is too large or the storage cannot read it; null without one when it is gone.
    /// What may go through later (no connection) is thrown.
    /// </summary>
    public static async Task<(byte[]? Bytes, string Problem)> ReadAsync(
        IStorageBackend storage, StorageKey key, int maxSize, CancellationToken cancellationToken)
    {
        try
        {
            var buffer = new byte[maxSize + 1];
            int length = await storage.ReadAsync(key, 0, buffer, cancellationToken);
            return length <= maxSize ? (buffer[..length], "") : (null, $"it is larger than {maxSize} bytes");
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return (null, "");
        }
        catch (StorageException e) when (e.Code == ErrorCodes.Storage)
        {
            return (null, "the storage cannot read it");
        }
    }
}
