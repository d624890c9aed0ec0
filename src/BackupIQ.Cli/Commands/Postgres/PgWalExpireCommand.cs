using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg wal expire NAME</c></summary>
internal sealed class PgWalExpireCommand : Verb
{
    public PgWalExpireCommand()
        : base("expire", "Removes what of a server's archived log no base backup needs; prune does the same for all servers.")
    {
        Positional("NAME", "the server's name", 1, 1);
        Value("--wal-keep", "HOW", "every moment is to be reached from all base backups that are kept (all, the default), from the newest N, or for a time: 14d");
        Flag("--dry-run", "say what would go, change nothing", "-n");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg wal expire main --dry-run", "backupiq pg wal expire main --wal-keep 14d"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string server = run.Arguments.Positional[0];
        string? keep = run.Arguments.Value("--wal-keep") ?? PgServers.WalKeep(run).GetValueOrDefault(server);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        WalExpiryInfo log = await repository.ExpireWalAsync(server, keep, run.Arguments.Has("--dry-run"), cancellationToken).ConfigureAwait(false);
        LockOutput.Tell(run, log.LocksExtended, log.LockProblem);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                WriteFields(writer, log);
                writer.WriteEndObject();
            });
        }
        else
        {
            Tell(run, log);
        }

        return log.Failures == 0 ? (log.LockProblem is null ? ExitCodes.Done : ExitCodes.Warnings) : log.IsLocked ? ErrorCodes.RetentionRefused.ExitCode : ErrorCodes.Storage.ExitCode;
    }

    /// <summary>Says what became of a log; nothing where there is nothing to say.</summary>
    public static void Tell(Invocation run, WalExpiryInfo log)
    {
        if (log.Failures > 0)
        {
            run.Screen.Warn(
                DisplayText.Of($"{Words.Count(log.Failures, "file")} of the log of {log.Server} could not be removed: {log.Failure}"), log.IsLocked ? ErrorCodes.RetentionRefused : ErrorCodes.Storage);
        }

        if (run.WantsJson)
        {
            return;
        }

        string islands = log.Islands == 0 ? "" : $"; {Words.Count(log.Islands, "base backup")} {(log.Islands == 1 ? "restores" : "restore")} to {(log.Islands == 1 ? "its" : "their")} own end alone";
        if (log.Files > 0)
        {
            run.Print(DisplayText.Of(
                $"{(log.DryRun ? "Would remove" : "Removed")} {Words.Count(log.Segments, "segment")} of the log of {log.Server}, {Words.Size(log.Bytes)}; it is kept from {log.OldestKept ?? "its next segment"} on{islands}") + "\n");
        }
        else
        {
            run.Screen.Note(DisplayText.Of($"nothing of the log of {log.Server} can go: {(log.Bases == 0 ? "it has no base backup" : $"{Words.Count(log.Bases, "base backup")} {(log.Bases == 1 ? "needs" : "need")} it")}{islands}"));
        }
    }

    /// <summary>Writes what became of a log, as fields.</summary>
    public static void WriteFields(Utf8JsonWriter writer, WalExpiryInfo log)
    {
        writer.WriteString("server", log.Server);
        writer.WriteBoolean("dry_run", log.DryRun);
        writer.WriteNumber("segments_removed", log.Segments);
        writer.WriteNumber("files_removed", log.Files - log.Failures);
        writer.WriteNumber("bytes_removed", log.Bytes);
        writer.WriteNumber("files_kept", log.FilesKept);
        writer.WriteNumber("bytes_kept", log.BytesKept);
        writer.WriteNumber("files_not_removed", log.Failures);
        writer.WriteString("oldest_kept", log.OldestKept);
        writer.WriteNumber("bases", log.Bases);
        writer.WriteNumber("islands", log.Islands);
    }
}
