using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Restore;

/// <summary>Starts a restored server where nobody but its owner reaches it, and waits until it has recovered.</summary>
/// <param name="folder">The data directory.</param>
/// <param name="document">What the backup says of the server.</param>
/// <param name="programs">The folder of <c>pg_ctl</c>; null: where packages put it.</param>
/// <param name="action">What the server was told to do where it stops: <c>promote</c>, <c>pause</c> or <c>shutdown</c>.</param>
/// <param name="time">The clock.</param>
public sealed partial class ServerStart(string folder, PostgresDocument document, string? programs, string action, TimeProvider time)
{
    /// <summary>The longest path that a socket may have is 107 bytes; its name takes some.</summary>
    private const int LongestSocketFolder = 80;

    private const int ShutDownInRecovery = 2;
    private const int InProduction = 6;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    /// <summary>Further settings for the server, as <c>postgres</c> takes them: <c>-c NAME=VALUE</c>.</summary>
    public string Settings { get; init; } = "";

    private string Log => Path.Combine(folder, "backupiq-start.log");

    /// <summary>Starts it and waits until recovery has ended.</summary>
    /// <param name="cancellationToken">Stops waiting; the server is left to itself.</param>
    /// <exception cref="BackupIQException"><c>Restore</c>: it did not start, or not recover. <c>MissingLibrary</c>: PostgreSQL of this version is not installed.</exception>
    public async Task<ServerReached> RunAsync(CancellationToken cancellationToken)
    {
        string control = Path.Combine(FindPrograms(), "pg_ctl");
        string sockets = folder.Length <= LongestSocketFolder ? folder : Directory.CreateTempSubdirectory("backupiq-pg-").FullName;
        if (sockets != folder && LibC.GetEUid() == 0)
        {
            _ = Syscalls.ChangeOwner(AtFlags.WorkingFolder, System.Text.Encoding.UTF8.GetBytes(sockets), (uint)document.OwnerUserId, (uint)document.OwnerGroupId);
        }

        string options = $"-c listen_addresses='' -c unix_socket_directories='{sockets}' -c port=5432 -c logging_collector=off -c log_destination=stderr -c lc_messages=C -c log_min_messages=warning {Settings}";
        string[] words = [control, "-D", folder, "-l", Log, "-W", "-s", "-o", options, "start"];

        using (Process process = Start([.. Prefix(document.OwnerUserId, document.OwnerGroupId), .. words]))
        {
            await process.WaitForExitAsync(cancellationToken);
            if (process.ExitCode != 0)
            {
                throw new BackupIQException(ErrorCodes.Restore, $"pg_ctl failed with exit status {process.ExitCode}: {LastWords()}", $"The server's log is {Log}.").With("path", folder);
            }
        }

        while (true)
        {
            await Task.Delay(Pause, time, cancellationToken);
            if (HasRecovered())
            {
                return Reached(sockets);
            }

            if (RestoredServer.RunningServer(folder) is null && HasEnded())
            {
                throw new BackupIQException(ErrorCodes.Restore, $"The restored server did not recover: {LastWords()}", $"Its log is {Log}.").With("path", folder);
            }
        }
    }

    // The server takes recovery.signal away when it has recovered, and then says in pg_control that it is in production, as it did in the backup. That it
    // takes connections says nothing: it takes them while it recovers, too. Where it pauses it says so in its log alone.
    private bool HasRecovered() => action switch
    {
        "pause" => LogText().Contains("pausing at the end of recovery", StringComparison.Ordinal) && RestoredServer.RunningServer(folder) is not null,
        "shutdown" => LogText().Contains("shutdown at recovery target", StringComparison.Ordinal) && RestoredServer.RunningServer(folder) is null && State() == ShutDownInRecovery,
        _ => !File.Exists(Path.Combine(folder, "recovery.signal")) && State() == InProduction && RestoredServer.RunningServer(folder) is not null,
    };

    private int? State() => ControlFile.TryRead(File.ReadAllBytes(Path.Combine(folder, "global", "pg_control")))?.State;

    // Before it has written anything it has not begun.
    private bool HasEnded() => LogText() is var log && (log.Contains("FATAL", StringComparison.Ordinal) || log.Contains("PANIC", StringComparison.Ordinal) || log.Contains("is shut down", StringComparison.Ordinal));

    private string LogText() => File.Exists(Log) ? File.ReadAllText(Log) : "";

    private string LastWords() => LogText().Split('\n').LastOrDefault(static line => line.Contains("FATAL", StringComparison.Ordinal) || line.Contains("PANIC", StringComparison.Ordinal)) is { } line
        ? line[(line.IndexOf(": ", StringComparison.Ordinal) + 2)..].Trim()
        : "its log does not say why";

    private ServerReached Reached(string sockets)
    {
        string log = LogText();
        return new ServerReached(
            sockets,
            Find(RedoDone(), log),
            Find(StoppedAt(), log) is { } stop && Lsn.TryParse(stop, out Lsn place) ? place : null,
            log.Contains("recovery stopping before", StringComparison.Ordinal),
            log.Contains("recovery stopping after reaching consistency", StringComparison.Ordinal),
            Find(LastTransaction(), log),
            Find(NewTimeline(), log) is { } timeline ? long.Parse(timeline, CultureInfo.InvariantCulture) : null);
    }

    /// <summary>What stands before a program of the server's: it refuses to run as root, so it runs as whom its files belong to.</summary>
    internal static string[] Prefix(long user, long group) => LibC.GetEUid() == 0 ? ["setpriv", $"--reuid={user}", $"--regid={group}", "--clear-groups", "--"] : [];

    private static string? Find(Regex pattern, string log) => pattern.Matches(log).LastOrDefault()?.Groups[1].Value;

    /// <summary>The folder of PostgreSQL's programs, of the version of the backup.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: it is not installed.</exception>
    internal string FindPrograms()
    {
        foreach (string place in programs is not null ? [programs] : (string[])[$"/usr/lib/postgresql/{document.Major}/bin", $"/usr/pgsql-{document.Major}/bin", .. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')])
        {
            if (File.Exists(Path.Combine(place, "pg_ctl")) && File.Exists(Path.Combine(place, "postgres")))
            {
                return place;
            }
        }

        throw new BackupIQException(
            ErrorCodes.MissingLibrary, $"PostgreSQL {document.Major} is not installed here, so the restored server cannot be started", "Install it, or name the folder of pg_ctl with --pg-bin. The restore itself is complete.");
    }

    private static Process Start(string[] words)
    {
        ProcessStartInfo start = new(words[0], words[1..]) { UseShellExecute = false, WorkingDirectory = "/" };
        start.Environment["LC_ALL"] = "C";
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, $"'{words[0]}' cannot be run: {e.Message}", null, e);
        }
    }

    [GeneratedRegex(@"redo done at ([0-9A-F]+/[0-9A-F]+)", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex RedoDone();

    [GeneratedRegex(@"recovery stopping (?:before|after) WAL location \(LSN\) ""([0-9A-F]+/[0-9A-F]+)""", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex StoppedAt();

    [GeneratedRegex(@"last completed transaction was at log time ([^\n]+)", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex LastTransaction();

    [GeneratedRegex(@"selected new timeline ID: (\d+)", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex NewTimeline();
}

/// <summary>What a restored server reached.</summary>
/// <param name="Sockets">The folder of its socket.</param>
/// <param name="Lsn">The last record that it replayed; null: it had none to replay, or has not ended recovery.</param>
/// <param name="StoppedAt">The record at which it stopped, by its own word; null: it was given none.</param>
/// <param name="IsBefore">It stopped before that one; else behind it.</param>
/// <param name="IsImmediate">It stopped as soon as it was consistent.</param>
/// <param name="LastTransaction">The time of the last transaction that it replayed, in the server's words; null: there was none.</param>
/// <param name="Timeline">The timeline that it is on now.</param>
public sealed record ServerReached(string Sockets, string? Lsn, Lsn? StoppedAt, bool IsBefore, bool IsImmediate, string? LastTransaction, long? Timeline);
