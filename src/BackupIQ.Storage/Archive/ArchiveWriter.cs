using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Archive;

/// <summary>
/// A storage that writes what is put, one object after the other, into a stream that need not be seekable: a repository becomes one file
/// (docs/format.md, Exports). What was put from memory and is small can be read again, which is all that making a repository and backing up
/// into it need; packs cannot. Nothing is durable before the caller has made the stream so after <see cref="FinishAsync"/>.
/// </summary>
public sealed class ArchiveWriter : IStorageBackend
{
    /// <summary>The text of the first entry.</summary>
    internal static readonly byte[] LabelText = """
        A snapshot of BackupIQ in one file, sealed. 'backupiq import FILE' puts it into a repository; with --repo FILE
        every verb that reads takes the file as it is: backupiq --repo FILE restore latest --target DIR
        It is a tar archive of a repository: unpacked it is one (docs/format.md), which reference/restore.py reads, too.

        """u8.ToArray();

    /// <summary>More than any key slot, configuration or session has.</summary>
    private const int MaxKept = 64 << 10;

    private readonly Stream _output;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _gate = new(1);
    private readonly ConcurrentDictionary<string, Item> _items = new(StringComparer.Ordinal);
    private bool _isBegun;

    /// <summary>Writes to <paramref name="output"/>, which stays the caller's.</summary>
    public ArchiveWriter(Stream output, TimeProvider time)
    {
        _output = output;
        _time = time;
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; } = new() { ConditionalPut = true, CanDelete = false };

    /// <inheritdoc/>
    public string Location => "archive:";

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Bytes written so far.</summary>
    public long Length { get; private set; }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            await _gate.WaitAsync(cancellationToken);
            try
            {
                if (_items.TryGetValue(key.Value, out Item? there))
                {
                    return content.File is null && there.Bytes is { } bytes && bytes.AsSpan().SequenceEqual(content.Bytes.Span) ? PutOutcome.Stored : PutOutcome.AlreadyThere;
                }

                await BeginAsync();
                long length = content.File is { } file ? await WriteFileAsync(key, file) : await WriteBytesAsync(key.Value, content.Bytes);
                byte[]? kept = content.File is null && length <= MaxKept ? content.Bytes.ToArray() : null;
                _items.TryAdd(key.Value, new Item(kept, length, _time.GetUtcNow()));
                return PutOutcome.Stored;
            }
            finally
            {
                _gate.Release();
            }
        }
        catch (IOException e)
        {
            throw new StorageException(ErrorCodes.Storage, $"The export cannot be written: {e.Message}", null, e);
        }
        finally
        {
            content.Discard();
        }
    }

    /// <inheritdoc/>
    public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        Item item = _items.TryGetValue(key.Value, out Item? found) ? found
            : throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The export has no object {key}.");
        byte[] bytes = item.Bytes ?? throw new StorageException(ErrorCodes.Storage, $"{key} was written to the export and cannot be read before that is finished.");
        ReadOnlySpan<byte> rest = bytes.AsSpan((int)Math.Min(offset, bytes.Length));
        int count = Math.Min(rest.Length, destination.Length);
        rest[..count].CopyTo(destination.Span);
        return ValueTask.FromResult(count);
    }

    /// <inheritdoc/>
    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        ValueTask.FromResult<StoredObject?>(_items.TryGetValue(key.Value, out Item? item) ? new StoredObject(key, item.Length, item.StoredAt) : null);

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        foreach ((string name, Item item) in _items)
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal))
            {
                yield return new StoredObject(new StorageKey(name), item.Length, item.StoredAt);
            }
        }

        await Task.CompletedTask;
    }

    /// <summary>What was written stays written.</summary>
    /// <exception cref="StorageException">Always.</exception>
    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) =>
        throw new StorageException(ErrorCodes.Storage, $"{key} is written to an export, and nothing can be taken out of that.");

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, Length, null));

    /// <summary>Writes the end, without which no reader takes the file for whole, and flushes.</summary>
    public async Task FinishAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            await BeginAsync();
            await WriteAsync(new byte[2 * ArchiveHeader.Size]);
            await _output.FlushAsync(cancellationToken);
        }
        catch (IOException e)
        {
            throw new StorageException(ErrorCodes.Storage, $"The export cannot be written: {e.Message}", null, e);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Leaves the stream as it is.</summary>
    public ValueTask DisposeAsync()
    {
        _gate.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task BeginAsync()
    {
        if (!_isBegun)
        {
            _isBegun = true;
            await WriteBytesAsync(ArchiveHeader.Label, LabelText);
        }
    }

    private async Task<long> WriteBytesAsync(string name, ReadOnlyMemory<byte> bytes)
    {
        await WriteHeaderAsync(name, bytes.Length);
        await WriteAsync(bytes);
        await PadAsync(bytes.Length);
        return bytes.Length;
    }

    private async Task<long> WriteFileAsync(StorageKey key, string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        long length = file.Length;
        await WriteHeaderAsync(key.Value, length);
        byte[] buffer = new byte[1 << 20];
        long left = length;
        while (left > 0)
        {
            int read = await file.ReadAsync(buffer.AsMemory(0, (int)Math.Min(left, buffer.Length)));
            if (read == 0)
            {
                throw new IOException($"{path} became shorter");
            }

            await WriteAsync(buffer.AsMemory(0, read));
            left -= read;
        }

        await PadAsync(length);
        return length;
    }

    private async Task WriteHeaderAsync(string name, long length)
    {
        byte[] header = new byte[ArchiveHeader.Size];
        ArchiveHeader.Write(header, name, length);
        await WriteAsync(header);
    }

    private Task PadAsync(long length) => WriteAsync(new byte[ArchiveHeader.Padded(length) - length]);

    // Not to be cancelled: a part of an object in the middle of a stream would spoil all that follows.
    private async Task WriteAsync(ReadOnlyMemory<byte> bytes)
    {
        await _output.WriteAsync(bytes, CancellationToken.None);
        Length += bytes.Length;
    }

    private sealed record Item(byte[]? Bytes, long Length, DateTimeOffset StoredAt);
}
