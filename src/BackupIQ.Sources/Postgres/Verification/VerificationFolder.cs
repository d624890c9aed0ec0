using System.Diagnostics;
using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Postgres.Restore;

namespace BackupIQ.Sources.Postgres.Verification;

/// <summary>
/// A folder in which something is restored to be looked at. It goes when it is disposed, with a server that still runs in it. What a run left that was killed goes
/// with the next one beside it: whoever works in such a folder holds a lock in it.
/// </summary>
public sealed class VerificationFolder : IAsyncDisposable
{
    private const string Prefix = "backupiq-verify-";
    private const string LockName = "lock";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>A server that was told to start writes its number into its folder within this time.</summary>
    private static readonly TimeSpan Beginning = TimeSpan.FromSeconds(1);

    /// <summary>So long a folder without a lock may be one that is just being made.</summary>
    private static readonly TimeSpan Making = TimeSpan.FromHours(1);

    private readonly FileStream _lock;
    private readonly TimeProvider _time;
    private readonly List<string> _others = [];
    private bool _isGone;

    private VerificationFolder(string path, FileStream held, TimeProvider time)
    {
        Folder = path;
        _lock = held;
        _time = time;
    }

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>The path for what is restored; nothing is there yet.</summary>
    public string Data => Path.Combine(Folder, "data");

    /// <summary>Bytes that its file system has to give.</summary>
    public long Free => new DriveInfo(Folder).AvailableFreeSpace;

    /// <summary>Makes one below <paramref name="parent"/>, for its owner alone, and removes what killed runs left there.</summary>
    /// <exception cref="BackupIQException"><c>RestoreTarget</c>: it cannot be made.</exception>
    public static async Task<VerificationFolder> MakeAsync(string parent, TimeProvider time, CancellationToken cancellationToken)
    {
        string whole = Path.GetFullPath(parent);
        try
        {
            Directory.CreateDirectory(whole);
            await SweepAsync(whole, time, cancellationToken);
            string path = Path.Combine(whole, $"{Prefix}{Guid.NewGuid():n}"[..(Prefix.Length + 12)]);
            MakePrivate(path);
            return new VerificationFolder(path, new FileStream(Path.Combine(path, LockName), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None), time);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.RestoreTarget, $"No folder can be made for the verification: {e.Message}", "Name another place with --work.", e).With("path", whole);
        }
    }

    /// <summary>Lets another user enter it, as whom the server in it runs. Only root can.</summary>
    public void GiveTo(long user, long group) => GiveTo(Folder, user, group);

    /// <summary>Makes a folder in it that belongs to another user.</summary>
    public void MakeShared(string name, long user, long group)
    {
        string path = Path.Combine(Folder, name);
        MakePrivate(path);
        GiveTo(path, user, group);
    }

    /// <summary>This goes with it, too, if it is another folder: what a server has its socket in.</summary>
    public void Take(string other)
    {
        if (!other.StartsWith(Folder + "/", StringComparison.Ordinal))
        {
            _others.Add(other);
        }
    }

    /// <summary>Removes it now; why it could not be, or null.</summary>
    public async Task<string?> RemoveAsync()
    {
        if (_isGone)
        {
            return null;
        }

        string? problem = await RemoveAsync(Folder, _time);
        foreach (string other in _others)
        {
            problem ??= await RemoveAsync(other, _time);
        }

        _isGone = problem is null;
        await _lock.DisposeAsync();
        return problem;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await RemoveAsync();

    /// <summary>Lets everybody read a file of ours that a server of another user needs.</summary>
    internal static void LetRead(string file)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead | UnixFileMode.UserWrite);
        }
    }

    private static void MakePrivate(string folder)
    {
        if (!OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    private static void GiveTo(string path, long user, long group)
    {
        if (LibC.GetEUid() == 0 && Syscalls.ChangeOwner(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), (uint)user, (uint)group) is < 0 and var error)
        {
            throw new BackupIQException(ErrorCodes.RestoreTarget, $"The folder cannot be given to the server's user: {LinuxError.Describe(-error)}").With("path", path);
        }
    }

    // Only what this user made: whoever else may write there could lay traps.
    private static async Task SweepAsync(string parent, TimeProvider time, CancellationToken cancellationToken)
    {
        foreach (string left in Directory.EnumerateDirectories(parent, Prefix + "*").ToArray())
        {
            cancellationToken.ThrowIfCancellationRequested();
            string held = Path.Combine(left, LockName);
            if (Syscalls.Stat(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(held), out StatX stat) != 0)
            {
                if (IsOurs(left) && time.GetUtcNow() - new DateTimeOffset(new DirectoryInfo(left).LastWriteTimeUtc) > Making)
                {
                    await RemoveAsync(left, time);
                }

                continue;
            }

            if (!stat.IsFile || stat.ToSourceStat().UserId != LibC.GetEUid())
            {
                continue;
            }

            try
            {
                await using FileStream free = new(held, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                await RemoveAsync(left, time);
            }
            catch (IOException)
            {
                // Somebody works there.
            }
        }
    }

    private static bool IsOurs(string folder) =>
        Syscalls.Stat(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(folder), out StatX stat) == 0 && stat.IsDirectory && stat.ToSourceStat().UserId == LibC.GetEUid();

    private static async Task<string?> RemoveAsync(string folder, TimeProvider time)
    {
        try
        {
            await EndServerAsync(Path.Combine(folder, "data"), time);
            Directory.Delete(folder, recursive: true);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{folder} could not be removed: {e.Message}";
        }
    }

    // It ends at once: nobody needs what it wrote. That the process is the server of this folder, and not one that got its number since, its own folder tells.
    private static async Task EndServerAsync(string data, TimeProvider time)
    {
        long began = time.GetTimestamp();
        while (File.Exists(Path.Combine(data, "backupiq-start.log")) && !File.Exists(Path.Combine(data, "postmaster.pid")) && !HasEnded(data) && time.GetElapsedTime(began) < Beginning)
        {
            await Task.Delay(Pause, time);
        }

        if (RestoredServer.RunningServer(data) is not { } number || !Runs(number, data))
        {
            return;
        }

        using (Process signal = Process.Start(new ProcessStartInfo("sh", ["-c", "kill -QUIT \"$0\"", number.ToString(CultureInfo.InvariantCulture)]) { UseShellExecute = false })!)
        {
            await signal.WaitForExitAsync();
        }

        for (began = time.GetTimestamp(); Runs(number, data) && time.GetElapsedTime(began) < Patience;)
        {
            await Task.Delay(Pause, time);
        }
    }

    private static bool Runs(int number, string data) =>
        Syscalls.ReadLink(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes($"/proc/{number}/cwd"), out byte[] folder) >= 0 && Encoding.UTF8.GetString(folder) == Path.GetFullPath(data);

    private static bool HasEnded(string data) => File.ReadAllText(Path.Combine(data, "backupiq-start.log")).Contains("is shut down", StringComparison.Ordinal);
}
