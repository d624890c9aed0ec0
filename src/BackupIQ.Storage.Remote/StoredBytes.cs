using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>What a put of a taken key comes to: the object that is there is read back and compared.</summary>
internal static class StoredBytes
{
    private const int Slice = 1024 * 1024;

    /// <summary><see cref="PutOutcome.Stored"/> when <paramref name="there"/> has the very bytes of <paramref name="content"/>, else <see cref="PutOutcome.AlreadyThere"/>.</summary>
    /// <exception cref="StorageException">It could not be read.</exception>
    public static async Task<PutOutcome> CompareAsync(IStorageBackend storage, StoredObject there, StorageContent content, CancellationToken cancellationToken)
    {
        if (there.Size != content.GetLength())
        {
            return PutOutcome.AlreadyThere;
        }

        return await AreThoseOfAsync(content, there.Size, (offset, part, stop) => storage.ReadAsync(there.Key, offset, part, stop), cancellationToken).ConfigureAwait(false)
            ? PutOutcome.Stored
            : PutOutcome.AlreadyThere;
    }

    /// <summary>Whether what is read is, byte for byte, a content of this length. What follows behind is not looked at.</summary>
    public static async Task<bool> AreThoseOfAsync(
        StorageContent content, long length, Func<long, Memory<byte>, CancellationToken, ValueTask<int>> read, CancellationToken cancellationToken)
    {
        // Not sent anywhere, so it does not count as such: synchronous reads are not seen. That it goes on is.
        await using Stream ours = content.OpenRead();
        byte[] expected = new byte[(int)Math.Min(Slice, length)];
        byte[] found = new byte[expected.Length];
        for (long offset = 0; offset < length; offset += Slice)
        {
            int count = (int)Math.Min(Slice, length - offset);
            cancellationToken.ThrowIfCancellationRequested();
            await content.GoOnAsync(cancellationToken).ConfigureAwait(false);
            ours.ReadExactly(expected, 0, count);
            if (await read(offset, found.AsMemory(0, count), cancellationToken).ConfigureAwait(false) != count || !expected.AsSpan(0, count).SequenceEqual(found.AsSpan(0, count)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The same for a key that was taken a moment ago: our own bytes are success, for the answer to an earlier try may have been lost.</summary>
    /// <exception cref="StorageException">The object was deleted meanwhile, or cannot be read.</exception>
    public static async Task<PutOutcome> CompareAsync(IStorageBackend storage, StorageKey key, StorageContent content, CancellationToken cancellationToken) =>
        await storage.StatAsync(key, cancellationToken).ConfigureAwait(false) is { } there
            ? await CompareUnlessArchivedAsync(storage, there, content, cancellationToken).ConfigureAwait(false)
            : throw Vanished(key);

    // What lies in an archive cannot be compared for hours. Only packs do, which are named by the hash of their bytes: one of the same name and size is the same.
    private static async Task<PutOutcome> CompareUnlessArchivedAsync(IStorageBackend storage, StoredObject there, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            return await CompareAsync(storage, there, content, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageArchived)
        {
            return PutOutcome.Stored;
        }
    }

    /// <summary>The key was taken a moment ago and is not any more.</summary>
    public static StorageException Vanished(StorageKey key) => new(ErrorCodes.StorageConnection, $"The object {key} was deleted while it was put", "Run again.");

    /// <summary>The storage's folder was there when it was connected.</summary>
    public static StorageException RootGone() =>
        new(ErrorCodes.StorageConnection, "The storage's folder is not there any more", "Check what became of it; nothing was deleted by this run.");
}
