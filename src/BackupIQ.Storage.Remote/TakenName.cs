using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>What a put of a name that is taken comes to.</summary>
internal static class TakenName
{
    private const int PieceSize = 4 << 20;

    /// <summary>Reads what is there and compares: our own bytes are success, for the answer to an earlier try may have been lost.</summary>
    /// <exception cref="StorageException">It was deleted meanwhile, or cannot be read.</exception>
    public static async Task<PutOutcome> CompareAsync(IStorageBackend storage, StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        StoredObject there = await storage.StatAsync(key, cancellationToken)
            ?? throw new StorageException(ErrorCodes.StorageConnection, $"Object {key} was deleted while it was put");
        long length = content.GetLength();
        if (there.Size != length)
        {
            return PutOutcome.AlreadyThere;
        }

        byte[] ours = new byte[Math.Min(PieceSize, length)];
        byte[] theirs = new byte[ours.Length];
        await using Stream stream = content.OpenRead();
        for (long offset = 0; offset < length;)
        {
            // Not watched: these bytes do not leave this machine.
            int read = stream.ReadAtLeast(ours, (int)Math.Min(ours.Length, length - offset));
            if (await storage.ReadAsync(key, offset, theirs.AsMemory(0, read), cancellationToken) != read || !ours.AsSpan(0, read).SequenceEqual(theirs.AsSpan(0, read)))
            {
                return PutOutcome.AlreadyThere;
            }

            offset += read;
        }

        return PutOutcome.Stored;
    }
}
