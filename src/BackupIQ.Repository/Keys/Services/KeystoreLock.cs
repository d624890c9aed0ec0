using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>
/// Keeps processes apart that change a keystore, or add to a log of key uses. .NET's exclusive opening is an advisory lock of the whole file,
/// which ends with the process that held it.
/// </summary>
internal static class KeystoreLock
{
    // Others hold the lock for some milliseconds; who waits longer waits for something that hangs.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>Takes the lock of <paramref name="path"/>, which is the file with <c>.lock</c> behind its name; disposing gives it back.</summary>
    /// <exception cref="BackupIQException"><c>KeyService</c>: it cannot be had.</exception>
    public static async Task<FileStream> TakeAsync(string path, TimeProvider time, CancellationToken cancellationToken)
    {
        long begun = time.GetTimestamp();
        while (true)
        {
            try
            {
                return DurableFile.OpenPrivate(path + ".lock", FileMode.OpenOrCreate, FileShare.None);
            }
            catch (IOException e) when (e is not (DirectoryNotFoundException or FileNotFoundException or PathTooLongException) && File.Exists(path + ".lock"))
            {
                if (time.GetElapsedTime(begun) > Patience)
                {
                    throw Unusable("Another process holds the keystore or log", path, e);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw Unusable("The keystore or log cannot be locked beside its file", path, e);
            }

            await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The failure of a file that does not do what it must.</summary>
    public static BackupIQException Unusable(string what, string path, Exception e) =>
        new BackupIQException(ErrorCodes.KeyService, what, "Check its file and the folder around it.", e).With("file", path).With("problem", e.Message);
}
