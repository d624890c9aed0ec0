using BackupIQ.Primitives;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>
/// A copy of a damaged object in a file of its own, to be mended there. What the storage cannot read is zero; of an object that is not there
/// nothing is left. The file goes with it, unless it was given away.
/// </summary>
internal sealed class WorkingCopy : IDisposable
{
    private const int ReadSize = 1 << 20;
    private const int SmallReadSize = 4096;

    private WorkingCopy(string path, SafeFileHandle file)
    {
        Path = path;
        File = file;
    }

    public string Path { get; }

    public SafeFileHandle File { get; }

    /// <summary>Copies what lies under <paramref name="key"/>.</summary>
    /// <exception cref="StorageException">The storage cannot be reached, or there is no room for the copy.</exception>
    public static Task<WorkingCopy> OfAsync(IStorageBackend storage, StorageKey key, CancellationToken cancellationToken) => OfAsync(storage, key, storage.SpoolFolder, cancellationToken);

    /// <summary>The same into the spool of the storage that will get it.</summary>
    /// <exception cref="StorageException">The storage cannot be reached, or there is no room for the copy.</exception>
    public static async Task<WorkingCopy> OfAsync(IStorageBackend storage, StorageKey key, string? spoolFolder, CancellationToken cancellationToken)
    {
        string path = System.IO.Path.Join(spoolFolder ?? System.IO.Path.GetTempPath(), $"{SessionId.New()}.mend");
        try
        {
            WorkingCopy copy = new(path, System.IO.File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete));
            try
            {
                if (await storage.StatAsync(key, cancellationToken) is { } stored)
                {
                    await copy.FillAsync(storage, stored, cancellationToken);
                }

                return copy;
            }
            catch
            {
                copy.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw SpoolFault.Translate(e, path);
        }
    }

    /// <summary>The BLAKE3 of the copy as it is now.</summary>
    public PackId Hash()
    {
        Blake3Hasher hasher = new();
        byte[] buffer = GC.AllocateUninitializedArray<byte>(ReadSize);
        long length = RandomAccess.GetLength(File);
        for (long offset = 0; offset < length;)
        {
            int read = RandomAccess.Read(File, buffer, offset);
            hasher.Update(buffer.AsSpan(0, read));
            offset += read;
        }

        Span<byte> digest = stackalloc byte[PackId.Size];
        hasher.Finish(digest);
        return PackId.Read(digest);
    }

    /// <summary>The bytes of a copy that is no pack.</summary>
    public byte[] ReadAll()
    {
        byte[] bytes = new byte[RandomAccess.GetLength(File)];
        int read = 0;
        while (read < bytes.Length)
        {
            read += RandomAccess.Read(File, bytes.AsSpan(read), read);
        }

        return bytes;
    }

    /// <summary>Closes the copy so that a storage can take its file over.</summary>
    public StorageContent GiveAway()
    {
        File.Dispose();
        return StorageContent.FromFile(Path);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        File.Dispose();
        System.IO.File.Delete(Path);
    }

    private async Task FillAsync(IStorageBackend storage, StoredObject stored, CancellationToken cancellationToken)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(ReadSize);
        for (long offset = 0; offset < stored.Size; offset += ReadSize)
        {
            int length = (int)Math.Min(ReadSize, stored.Size - offset);
            int read;
            try
            {
                read = await storage.ReadAsync(stored.Key, offset, buffer.AsMemory(0, length), cancellationToken);
            }
            catch (StorageException e) when (e.Code == ErrorCodes.Storage)
            {
                read = await ReadAroundAsync(storage, stored.Key, offset, buffer.AsMemory(0, length), cancellationToken);
            }

            RandomAccess.Write(File, buffer.AsSpan(0, read), offset);
            if (read < length)
            {
                return;
            }
        }
    }

    // A disk that cannot read one sector refuses the whole read.
    private static async Task<int> ReadAroundAsync(
        IStorageBackend storage, StorageKey key, long offset, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        buffer.Span.Clear();
        for (int done = 0; done < buffer.Length; done += SmallReadSize)
        {
            Memory<byte> part = buffer.Slice(done, Math.Min(SmallReadSize, buffer.Length - done));
            try
            {
                await storage.ReadAsync(key, offset + done, part, cancellationToken);
            }
            catch (StorageException e) when (e.Code == ErrorCodes.Storage)
            {
                part.Span.Clear();
            }
        }

        return buffer.Length;
    }
}
