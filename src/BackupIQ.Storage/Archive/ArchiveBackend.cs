using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Archive;

/// <summary>
/// The objects of a repository that was exported into one file (docs/format.md, Exports), to be read. Opening reads the header before each
/// object; what the objects hold is checked by whoever reads them, as on any storage.
/// </summary>
public sealed class ArchiveBackend : IStorageBackend
{
    private readonly SafeFileHandle _file;
    private readonly DateTimeOffset _writtenAt;
    private readonly long _length;
    private readonly Dictionary<string, Item> _items;

    private ArchiveBackend(string path, SafeFileHandle file, long length, DateTimeOffset writtenAt, Dictionary<string, Item> items)
    {
        Location = path;
        _file = file;
        _length = length;
        _writtenAt = writtenAt;
        _items = items;
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; } = new() { ConditionalPut = true, CanDelete = false, IsLocal = true };

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Opens an export.</summary>
    /// <exception cref="StorageException">
    /// <c>RepositoryNotFound</c>: the file is none. <c>CorruptData</c>: it is cut short or damaged. Or it cannot be read.
    /// </exception>
    public static ArchiveBackend Open(string path)
    {
        try
        {
            SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read, FileOptions.RandomAccess);
            try
            {
                long length = RandomAccess.GetLength(file);
                Dictionary<string, Item> items = ReadTable((bytes, at) => Fill(file, bytes, at), length, path);
                return new ArchiveBackend(path, file, length, new DateTimeOffset(File.GetLastWriteTimeUtc(path), TimeSpan.Zero), items);
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            StorageException failure = new(ErrorCodes.Storage, $"The file cannot be read: {e.Message}", null, e);
            failure.With("file", path);
            throw failure;
        }
    }

    /// <inheritdoc/>
    public ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        content.Discard();
        throw OnlyRead();
    }

    /// <inheritdoc/>
    public async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        if (!_items.TryGetValue(key.Value, out Item item))
        {
            throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The export has no object {key}.");
        }

        int wanted = (int)Math.Clamp(item.Length - offset, 0, destination.Length);
        int done = 0;
        try
        {
            while (done < wanted)
            {
                int read = await RandomAccess.ReadAsync(_file, destination[done..wanted], item.Offset + offset + done, cancellationToken);
                if (read == 0)
                {
                    break;
                }

                done += read;
            }
        }
        catch (IOException e)
        {
            throw new StorageException(ErrorCodes.Storage, $"{key} cannot be read: {e.Message}", null, e);
        }

        return done;
    }

    /// <inheritdoc/>
    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        ValueTask.FromResult<StoredObject?>(_items.TryGetValue(key.Value, out Item item) ? new StoredObject(key, item.Length, _writtenAt) : null);

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        foreach ((string name, Item item) in _items)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (name.StartsWith(prefix, StringComparison.Ordinal))
            {
                yield return new StoredObject(new StorageKey(name), item.Length, _writtenAt);
            }
        }

        await Task.CompletedTask;
    }

    /// <summary>An export is only read.</summary>
    /// <exception cref="StorageException">Always.</exception>
    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) => throw OnlyRead();

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(_length, _length, 0));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _file.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Where each object lies. For tests, too, which hand it any bytes.</summary>
    /// <param name="fill">Reads at a place until the span is full; returns false where the file ends before.</param>
    /// <param name="length">The file's length.</param>
    /// <param name="path">The file, for messages.</param>
    internal static Dictionary<string, Item> ReadTable(Func<byte[], long, bool> fill, long length, string path)
    {
        byte[] header = new byte[ArchiveHeader.Size];
        if (!fill(header, 0) || !ArchiveHeader.TryRead(header, out string name, out long size) || name != ArchiveHeader.Label)
        {
            throw Refuse(ErrorCodes.RepositoryNotFound, "The file is no export of BackupIQ, or its beginning is damaged", path);
        }

        Dictionary<string, Item> items = new(StringComparer.Ordinal);
        long at = 0;
        while (true)
        {
            long next = at + ArchiveHeader.Size + ArchiveHeader.Padded(size);
            if (next > length)
            {
                throw CutShort(path);
            }

            if (at > 0 && (!StorageKey.TryCreate(name, out _) || !items.TryAdd(name, new Item(at + ArchiveHeader.Size, size))))
            {
                throw Damaged(at, path);
            }

            at = next;
            if (!fill(header, at))
            {
                throw CutShort(path);
            }

            if (header.AsSpan().ContainsAnyExcept((byte)0))
            {
                if (!ArchiveHeader.TryRead(header, out name, out size))
                {
                    throw Damaged(at, path);
                }

                continue;
            }

            // Two empty blocks are the end, and there is nothing behind them.
            return !fill(header, at + ArchiveHeader.Size) ? throw CutShort(path)
                : header.AsSpan().ContainsAnyExcept((byte)0) || at + (2 * ArchiveHeader.Size) != length ? throw Damaged(at, path)
                : items;
        }
    }

    private static bool Fill(SafeFileHandle file, byte[] bytes, long at)
    {
        int done = 0;
        while (done < bytes.Length)
        {
            int read = RandomAccess.Read(file, bytes.AsSpan(done), at + done);
            if (read == 0)
            {
                return false;
            }

            done += read;
        }

        return true;
    }

    private static StorageException CutShort(string path) =>
        Refuse(ErrorCodes.CorruptData, "The export is cut short: its end is missing", path, "Copy the file again, or export again; nothing was imported.");

    private static StorageException Damaged(long at, string path) =>
        Refuse(ErrorCodes.CorruptData, $"The export is damaged at byte {at}", path, "Copy the file again, or export again; nothing was imported.");

    private static StorageException Refuse(ErrorCode code, string message, string path, string? guidance = null)
    {
        StorageException failure = new(code, message, guidance);
        failure.With("file", path);
        return failure;
    }

    private static StorageException OnlyRead() =>
        new(ErrorCodes.Storage, "An export is only read", "Put it into a repository with 'backupiq import FILE'.");

    /// <summary>Where an object lies.</summary>
    /// <param name="Offset">Its first byte.</param>
    /// <param name="Length">Bytes.</param>
    internal readonly record struct Item(long Offset, long Length);
}
