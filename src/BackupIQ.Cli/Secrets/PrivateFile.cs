using BackupIQ.Primitives;

namespace BackupIQ.Cli.Secrets;

/// <summary>
/// Files that only their owner may read, in folders that only their owner may enter, all of them durable: a repository whose key was lost to a
/// power cut is lost itself.
/// </summary>
internal static class PrivateFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Makes a folder 0700 where it is not there yet; what is missing above it, too.</summary>
    public static void MakeFolder(string folder)
    {
        if (!Directory.Exists(folder) && Path.GetDirectoryName(Path.GetFullPath(folder)) is { } parent)
        {
            MakeFolder(parent);
            Directory.CreateDirectory(folder, OwnerOnly | UnixFileMode.UserExecute);
            DurableFile.SyncFolder(parent);
        }
    }

    /// <summary>Writes a new file, 0600 from its first moment, and makes it durable; its folder is made 0700.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: something is there already, or it cannot be written.</exception>
    public static void Write(string path, ReadOnlySpan<byte> bytes)
    {
        bool isTaken = File.Exists(path);
        try
        {
            string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
            MakeFolder(folder);
            using (FileStream file = new(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = OwnerOnly,
                BufferSize = 0,
            }))
            {
                file.Write(bytes);
                file.Flush(flushToDisk: true);
            }

            DurableFile.SyncFolder(folder);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            string why = isTaken ? "is there already and is not overwritten" : $"cannot be written: {fault.Message}";
            throw new BackupIQException(ErrorCodes.Configuration, $"The file {why}", "Choose another file.", fault).With("file", path);
        }
    }

    /// <summary>
    /// Makes a new file of what <paramref name="write"/> writes, 0600 and durable; it has its name only once it is whole. When that fails, what
    /// was written is deleted.
    /// </summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.RestoreTarget"/>: something is there already, or it cannot be written.</exception>
    public static async Task WriteAsync(string path, Func<Stream, Task> write)
    {
        string partial = path + ".partial";
        try
        {
            FileStream file = new(partial, new FileStreamOptions
            {
                Mode = FileMode.Create,
                Access = FileAccess.Write,
                UnixCreateMode = OwnerOnly,
                BufferSize = 0,
            });
            await using (file.ConfigureAwait(false))
            {
                await write(file).ConfigureAwait(false);
                file.Flush(flushToDisk: true);
            }

            File.Move(partial, path, overwrite: false);
            DurableFile.SyncFolder(Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            File.Delete(partial);
            throw new BackupIQException(ErrorCodes.RestoreTarget, $"The file cannot be written: {fault.Message}", "Choose another file.", fault).With("file", path);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }
}
