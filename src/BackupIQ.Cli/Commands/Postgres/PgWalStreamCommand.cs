using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg wal-stream NAME</c>: receives a server's log as it is written.</summary>
internal sealed class PgWalStreamCommand : Verb
{
    private static readonly TimeSpan LeastPartial = TimeSpan.FromSeconds(1);

    public PgWalStreamCommand()
        : base("wal-stream", "Receives a PostgreSQL server's log as it is written, until it is interrupted, so that seconds of it are lost with the server and not a segment.")
    {
        Positional("NAME", "the server, as the configuration calls it", 1, 1);
        Value("--slot", "SLOT", "the replication slot, which is made where it is not there (backupiq_NAME)");
        Value("--partial-every", "TIME", "how often what is in an unfinished segment is made durable (10s); each time costs an object");
        Flag("--once", "only up to where the server is now; the first failure ends it");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg wal-stream main", "backupiq pg wal-stream main --partial-every 2s --json"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresServer server = PgServers.Of(run);
        TimeSpan every = run.Arguments.Value("--partial-every") is { } text ? Duration(text) : TimeSpan.FromSeconds(10);
        WalStreamRequest request = new() { Server = server, Slot = run.Arguments.Value("--slot"), PartialEvery = every, Once = run.Arguments.Has("--once") };
        run.MakeCacheFolder();
        WalSpool? spool = WalSpool.Open(run.RepositoryOptions.CacheFolder, run.RepositoryUrl ?? "", server.Name, run.Host.Time);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        await repository.StreamWalAsync(request, MonitorOf(run), spool, cancellationToken).ConfigureAwait(false);
        run.Screen.Draw("");
        return ExitCodes.Done;
    }

    private TimeSpan Duration(string text) => Quantity.TryParseDuration(text, out TimeSpan every) && every >= LeastPartial
        ? every
        : throw Misuse($"--partial-every: '{DisplayText.Of(text)}' is no time of a second or more", "Write it as 10s or 1m.");

    private static WalStreamMonitor MonitorOf(Invocation run)
    {
        WalStreamStatus? before = null;
        return new WalStreamMonitor
        {
            OnStreaming = (timeline, lsn, slot) => Tell(
                run,
                "streaming",
                $"receiving timeline {timeline} from {lsn} on by slot {slot}",
                writer =>
                {
                    writer.WriteNumber("timeline", timeline);
                    writer.WriteString("from_lsn", lsn);
                    writer.WriteString("slot", slot);
                }),
            OnStatus = status =>
            {
                long rate = before is null ? 0 : status.Bytes - before.Bytes;
                before = status;
                if (run.WantsJson)
                {
                    if (run.Screen.Verbosity > Verbosity.Quiet)
                    {
                        run.Json.Line("status", writer => Write(writer, status));
                    }
                }
                else if (run.Screen.IsTerminal && run.Screen.Verbosity > Verbosity.Quiet && !run.Arguments.Has("--no-progress"))
                {
                    run.Screen.Draw(
                        $"durable to {status.DurableLsn}  {Words.Size(rate)}/s  {Words.Size(status.LagBytes)} behind{(status.Lag is { } lag ? $", {Words.Duration(lag)}" : "")}  {Words.Count(status.Segments, "segment")}");
                }
            },
            OnGap = gap =>
            {
                run.Screen.Warn(
                    DisplayText.Of($"the log from {gap.FromLsn} to {gap.ToLsn} of timeline {gap.Timeline} is lost: {gap.Cause}. Make a base backup: no moment behind it is reached from older ones"),
                    ErrorCodes.SourceServer);
                if (run.WantsJson)
                {
                    run.Json.Line("gap", writer =>
                    {
                        writer.WriteNumber("timeline", gap.Timeline);
                        PgWalCommand.Write(writer, gap);
                    });
                }
            },
            OnNotice = notice => run.Screen.Warn(DisplayText.Of(notice), ErrorCodes.SourceServer),
            OnRetry = (why, pause) => Tell(
                run,
                "retry",
                $"{why}; again in {Words.Duration(pause)}",
                writer =>
                {
                    writer.WriteString("message", why);
                    writer.WriteNumber("seconds", pause.TotalSeconds);
                }),
        };
    }

    private static void Tell(Invocation run, string what, string line, Action<Utf8JsonWriter> fields)
    {
        if (run.WantsJson)
        {
            run.Json.Line(what, fields);
        }
        else
        {
            run.Screen.Note(DisplayText.Of(line));
        }
    }

    private static void Write(Utf8JsonWriter writer, WalStreamStatus status)
    {
        writer.WriteNumber("timeline", status.Timeline);
        writer.WriteString("received_lsn", status.ReceivedLsn);
        writer.WriteString("durable_lsn", status.DurableLsn);
        writer.WriteString("server_lsn", status.ServerLsn);
        writer.WriteNumber("lag_bytes", status.LagBytes);
        writer.WriteNumber("lag_seconds", Math.Round(status.Lag?.TotalSeconds ?? 0, 3));
        writer.WriteNumber("bytes", status.Bytes);
        writer.WriteNumber("segments", status.Segments);
    }
}
