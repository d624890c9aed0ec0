using System.Runtime.CompilerServices;
using BackupIQ.Storage;

namespace BackupIQ.Testing.Storage;

/// <summary>
/// A storage at the far end of a line: it is not local, has no spool, and reads contents as a stream, like backends that speak a protocol.
/// A test may slow the line down or stop it.
/// </summary>
public sealed class LineBackend(IStorageBackend inner, TimeProvider time) : DelegatingBackend(inner)
{
    private const int Slice = 16 * 1024;

    /// <inheritdoc/>
    public override StorageCapabilities Capabilities => base.Capabilities with { IsLocal = false };

    /// <inheritdoc/>
    public override string? SpoolFolder => null;

    /// <summary>Bytes per second of one connection; 0: as quick as it is.</summary>
    public long BytesPerSecond { get; set; }

    /// <summary>Called before each slice of a put or read, and before whatever else is asked: may wait, or fail.</summary>
    public Func<StorageOperation, string, CancellationToken, ValueTask> OnMove { get; set; } = static (_, _, _) => ValueTask.CompletedTask;

    /// <inheritdoc/>
    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            using MemoryStream sent = new();
            await using (Stream stream = content.OpenRead())
            {
                byte[] slice = new byte[Slice];
                int read;
                do
                {
                    await MoveAsync(StorageOperation.Put, key.Value, slice.Length, cancellationToken);
                    read = await stream.ReadAsync(slice, cancellationToken);
                    sent.Write(slice, 0, read);
                }
                while (read > 0);
            }

            return await Inner.PutAsync(key, StorageContent.FromBytes(sent.ToArray()), cancellationToken);
        }
        finally
        {
            content.Discard();
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[destination.Length];
        int count = await Inner.ReadAsync(key, offset, bytes, cancellationToken);
        for (int done = 0; done < count; done += Slice)
        {
            int slice = Math.Min(Slice, count - done);
            try
            {
                await MoveAsync(StorageOperation.Read, key.Value, slice, cancellationToken);
            }
            catch (StorageException e)
            {
                throw new StorageException(e.Code, e.Message, null, e) { BytesRead = done, RetryAfter = e.RetryAfter };
            }

            bytes.AsMemory(done, slice).CopyTo(destination[done..]);
        }

        return count;
    }

    /// <inheritdoc/>
    public override async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        await MoveAsync(StorageOperation.Stat, key.Value, 0, cancellationToken);
        return await Inner.StatAsync(key, cancellationToken);
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        int given = 0;
        await foreach (StoredObject item in Inner.ListAsync(prefix, cancellationToken))
        {
            // Pages of ten.
            if (given++ % 10 == 0)
            {
                await MoveAsync(StorageOperation.List, prefix, 0, cancellationToken);
            }

            yield return item;
        }

        await MoveAsync(StorageOperation.List, prefix, 0, cancellationToken);
    }

    /// <inheritdoc/>
    public override async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        await MoveAsync(StorageOperation.Delete, key.Value, 0, cancellationToken);
        await Inner.DeleteAsync(key, cancellationToken);
    }

    private async ValueTask MoveAsync(StorageOperation operation, string subject, int bytes, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        await OnMove(operation, subject, cancellationToken);
        if (BytesPerSecond > 0 && bytes > 0)
        {
            await Task.Delay(TimeSpan.FromSeconds(bytes / (double)BytesPerSecond), time, cancellationToken);
        }
    }
}
