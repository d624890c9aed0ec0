using System.Diagnostics.CodeAnalysis;
using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>
/// What is to be put: bytes in memory or a closed local file. A backend that sends them over a line reads them with <see cref="OpenRead"/>,
/// so that whoever watches or paces the transfer sees them go; when it is done with them, whatever came of the put, it calls
/// <see cref="Discard"/>.
/// </summary>
[SuppressMessage("Performance", "CA1815", Justification = "Contents are passed on, not compared.")]
public readonly struct StorageContent
{
    private readonly Func<int, CancellationToken, ValueTask>? _moving;

    private StorageContent(ReadOnlyMemory<byte> bytes, string? file, bool isLent, Func<int, CancellationToken, ValueTask>? moving)
    {
        Bytes = bytes;
        File = file;
        IsLent = isLent;
        _moving = moving;
    }

    /// <summary>The bytes, when <see cref="File"/> is null.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>The path of the file whose bytes these are, or null.</summary>
    public string? File { get; }

    /// <summary>Whether the file stays its owner's: the storage reads it, and neither moves nor deletes it.</summary>
    public bool IsLent { get; }

    /// <summary>Bytes in memory; they must not change until the put returned.</summary>
    public static StorageContent FromBytes(ReadOnlyMemory<byte> bytes) => new(bytes, null, false, null);

    /// <summary>A closed file; the storage takes it over (see <see cref="IStorageBackend.PutAsync"/>) and makes it durable.</summary>
    public static StorageContent FromFile(string path) => new(default, path, false, null);

    /// <summary>The same content, whose file stays the caller's: for who may have to put it again.</summary>
    public StorageContent Lend() => new(Bytes, File, true, _moving);

    /// <summary>
    /// The same content; before bytes leave a stream of <see cref="OpenRead"/>, <paramref name="moving"/> is called with their number and
    /// may hold them back. What was attached before is called first.
    /// </summary>
    public StorageContent Watched(Func<int, CancellationToken, ValueTask> moving)
    {
        if (_moving is not { } before)
        {
            return new StorageContent(Bytes, File, IsLent, moving);
        }

        return new StorageContent(Bytes, File, IsLent, async (count, cancellationToken) =>
        {
            await before(count, cancellationToken);
            await moving(count, cancellationToken);
        });
    }

    /// <summary>How many bytes there are.</summary>
    /// <exception cref="StorageException">The file is not there.</exception>
    public long GetLength()
    {
        if (File is null)
        {
            return Bytes.Length;
        }

        FileInfo file = new(File);
        return file.Exists ? file.Length : throw Unreadable(File, new FileNotFoundException("There is no such file."));
    }

    /// <summary>
    /// The bytes, or <paramref name="length"/> of them from <paramref name="offset"/>, as a stream that can seek; streams of several parts
    /// may be open at once. Asynchronous reads are seen by <see cref="Watched"/>'s callers, synchronous ones (which only compute a
    /// checksum beforehand) are not.
    /// </summary>
    /// <exception cref="StorageException">The file cannot be opened.</exception>
    public Stream OpenRead(long offset = 0, long? length = null)
    {
        if (File is null)
        {
            return new StorageContentStream(Bytes.Slice((int)offset, (int)(length ?? (Bytes.Length - offset))), _moving);
        }

        try
        {
            return new StorageContentStream(System.IO.File.OpenHandle(File, options: FileOptions.Asynchronous), offset, length, _moving);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(File, e);
        }
    }

    /// <summary>Tells <see cref="Watched"/>'s callers that the put goes on while no bytes leave: what was sent, or was there before, is read back.</summary>
    public ValueTask GoOnAsync(CancellationToken cancellationToken) => _moving is { } moving ? moving(0, cancellationToken) : ValueTask.CompletedTask;

    /// <summary>Deletes the file if it is not lent: the storage has done with it.</summary>
    public void Discard()
    {
        if (File is not null && !IsLent)
        {
            System.IO.File.Delete(File);
        }
    }

    private static StorageException Unreadable(string file, Exception cause)
    {
        StorageException failure = new(ErrorCodes.Storage, $"The file that is to be stored cannot be read: {cause.Message}", null, cause);
        failure.With("file", file);
        return failure;
    }
}
