using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Restore;

namespace BackupIQ.Sources.Postgres.Verification;

/// <summary>What a program of PostgreSQL ended with.</summary>
/// <param name="Code">Its exit code.</param>
/// <param name="Lines">What it wrote to standard output and standard error.</param>
public sealed record ProgramEnd(int Code, IReadOnlyList<string> Lines);

/// <summary>
/// A restored server that runs to be looked at and nothing else: on a socket in its own folder, which only its owner enters, letting any role in without a password;
/// with little memory, and without what would have it act on others: it replicates nothing and runs no jobs.
/// </summary>
/// <param name="folder">The data directory, restored and not started.</param>
/// <param name="document">What the backup says of it.</param>
/// <param name="programs">The folder of <c>pg_ctl</c>; null: where packages put it.</param>
/// <param name="time">The clock.</param>
public sealed class PrivateInstance(string folder, PostgresDocument document, string? programs, TimeProvider time)
{
    /// <summary>More of what a program says is of no use to anybody.</summary>
    private const int MostLines = 1000;

    private const string AccessFile = "backupiq-verify.conf";

    private readonly ServerStart _start = new(folder, document, programs, "promote", time)
    {
        Settings = $"-c hba_file='{Path.Combine(folder, AccessFile)}' -c shared_buffers=64MB -c huge_pages=off -c autovacuum=off -c max_logical_replication_workers=0 -c cron.launch_active_jobs=off",
    };

    /// <summary>Starts it and waits until it has recovered.</summary>
    /// <exception cref="BackupIQException"><c>Restore</c>: it did not start, or not recover. <c>MissingLibrary</c>: PostgreSQL of its version is not installed.</exception>
    public async Task<ServerReached> StartAsync(CancellationToken cancellationToken)
    {
        string access = Path.Combine(folder, AccessFile);
        await File.WriteAllTextAsync(access, "local all all trust\n", cancellationToken);
        VerificationFolder.LetRead(access);
        return await _start.RunAsync(cancellationToken);
    }

    /// <summary>Whether one of PostgreSQL's programs is installed beside <c>pg_ctl</c>.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: not even that is.</exception>
    public bool Has(string program) => File.Exists(Path.Combine(_start.FindPrograms(), program));

    /// <summary>Runs one of PostgreSQL's programs, as the server's user.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: it cannot be run.</exception>
    public Task<ProgramEnd> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        RunAsync([.. ServerStart.Prefix(document.OwnerUserId, document.OwnerGroupId), Path.Combine(_start.FindPrograms(), program), .. arguments], cancellationToken);

    /// <summary>Ends it in order, so that its files are those of a server at rest.</summary>
    /// <exception cref="BackupIQException"><c>Restore</c>: it does not end.</exception>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        ProgramEnd end = await RunAsync("pg_ctl", ["-D", folder, "-m", "fast", "-w", "-t", "600", "-s", "stop"], cancellationToken);
        if (end.Code != 0)
        {
            throw new BackupIQException(ErrorCodes.Restore, $"The restored server could not be ended: {end.Lines.LastOrDefault() ?? $"exit status {end.Code}"}").With("path", folder);
        }
    }

    private static async Task<ProgramEnd> RunAsync(string[] words, CancellationToken cancellationToken)
    {
        ProcessStartInfo start = new(words[0], words[1..])
        {
            UseShellExecute = false,
            WorkingDirectory = "/",
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        start.Environment["LC_ALL"] = "C";
        foreach (string name in start.Environment.Keys.Where(static name => name.StartsWith("PG", StringComparison.Ordinal)).ToArray())
        {
            // What is set for other servers is not for this one.
            start.Environment.Remove(name);
        }

        List<string> lines = [];
        using Process process = new() { StartInfo = start };
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        try
        {
            process.Start();
        }
        catch (Win32Exception e)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, $"'{words[0]}' cannot be run: {e.Message}", null, e);
        }

        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            await process.WaitForExitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        return new ProgramEnd(process.ExitCode, lines);

        void Keep(string? line)
        {
            lock (lines)
            {
                if (line is { Length: > 0 } && lines.Count < MostLines)
                {
                    lines.Add(line);
                }
            }
        }
    }
}
