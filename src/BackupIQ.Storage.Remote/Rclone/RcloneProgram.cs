using System.ComponentModel;
using System.Diagnostics;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>The program rclone on this machine.</summary>
public sealed class RcloneProgram
{
    /// <summary>The oldest with which this was run.</summary>
    internal static readonly Version Oldest = new(1, 60);

    private RcloneProgram(string path) => Path = path;

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>Finds it by the variable PATH; null where it is not installed.</summary>
    public static RcloneProgram? Find()
    {
        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string? path = folders.Select(static folder => System.IO.Path.Join(folder, "rclone")).FirstOrDefault(File.Exists);
        return path is null ? null : new RcloneProgram(path);
    }

    /// <summary>Whether it has a kind of storage: <c>iclouddrive</c>. False also where it cannot be run.</summary>
    public async Task<bool> HasBackendAsync(string name, CancellationToken cancellationToken)
    {
        try
        {
            string backends = await RunAsync(["help", "backends"], "", cancellationToken).ConfigureAwait(false);
            return backends.Split('\n').Any(line => line.TrimStart().StartsWith(name + " ", StringComparison.Ordinal));
        }
        catch (BackupIQException)
        {
            return false;
        }
    }

    /// <summary>Finds it.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: it is not installed.</exception>
    internal static RcloneProgram Require() =>
        Find() ?? throw new BackupIQException(ErrorCodes.MissingLibrary, "This storage is reached through rclone, which is not installed", "Install it: apt install rclone");

    /// <summary>A password in the spelling in which rclone takes one from a variable: it is only turned, anybody can turn it back.</summary>
    internal async Task<string> ObscureAsync(string password, CancellationToken cancellationToken) =>
        (await RunAsync(["obscure", "-"], password + "\n", cancellationToken).ConfigureAwait(false)).Trim();

    /// <summary>What it is started with: nothing of BackupIQ's own secrets, and nothing with which its S3 client fails.</summary>
    internal static void Prepare(ProcessStartInfo start)
    {
        foreach (string name in start.Environment.Keys.Where(static name => name is "AWS_CA_BUNDLE" || name.StartsWith("BACKUPIQ_", StringComparison.Ordinal) || name.StartsWith("RCLONE_RC", StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(name);
        }

        start.Environment["RCLONE_ASK_PASSWORD"] = "false";
    }

    private async Task<string> RunAsync(string[] arguments, string input, CancellationToken cancellationToken)
    {
        ProcessStartInfo start = new(Path, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        Prepare(start);
        using Process process = Start(start);
        try
        {
            await process.StandardInput.WriteAsync(input).ConfigureAwait(false);
            process.StandardInput.Close();
            Task<string> errors = process.StandardError.ReadToEndAsync(cancellationToken);
            string output = await process.StandardOutput.ReadToEndAsync(cancellationToken).ConfigureAwait(false);
            _ = await errors.ConfigureAwait(false);
            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            return process.ExitCode == 0 ? output : throw Unusable($"it ended with exit code {process.ExitCode}", null);
        }
        catch (IOException e)
        {
            throw Unusable(e.Message, e);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }

    /// <summary>Starts a process.</summary>
    /// <exception cref="BackupIQException">It cannot be started.</exception>
    internal static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start) ?? throw new Win32Exception("it did not start");
        }
        catch (Win32Exception e)
        {
            throw Unusable(e.Message, e);
        }
    }

    internal static BackupIQException Unusable(string reason, Exception? cause) =>
        new BackupIQException(ErrorCodes.Storage, "The program rclone cannot be run", "Try 'rclone version'.", cause).With("reason", reason);
}
