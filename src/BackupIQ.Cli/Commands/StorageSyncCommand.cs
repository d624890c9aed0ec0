using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage sync</c>: brings the repository's mirrors in step with it.</summary>
internal sealed class StorageSyncCommand : Verb
{
    public StorageSyncCommand()
        : base("sync", "Brings the repository's mirrors (--mirror) in step with it.")
    {
        Flag("--init", "fill a mirror on which nothing is");
        Flag("--delete", "remove from mirrors what the repository has not");
        Flag("--allow-mass", "even if more than half of a mirror's snapshots go by it");
        Flag("--verify", "read all packs on both sides; what is damaged on one is replaced by what is whole on the other");
        Flag("--dry-run", "compare, change nothing", "-n");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq storage sync --mirror /mnt/second/backup --init",
        "backupiq storage sync --delete --dry-run",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string url = StorageCommand.UrlOf(run);
        if (run.Mirrors.Count == 0)
        {
            throw Misuse("No mirror is named", "Name it with --mirror URL, or as mirrors: in the configuration file.");
        }

        MirrorSyncRequest request = new()
        {
            Fill = run.Arguments.Has("--init"),
            Delete = run.Arguments.Has("--delete"),
            AllowMass = run.Arguments.Has("--allow-mass"),
            Verify = run.Arguments.Has("--verify"),
            DryRun = run.Arguments.Has("--dry-run"),
        };
        if (request is { Delete: true, DryRun: false })
        {
            run.Confirm("What the repository has not is removed from its mirrors for good (--dry-run tells what). Go on?");
        }

        run.MakeCacheFolder();
        MirrorMonitor monitor = new();
        IReadOnlyList<MirrorReport> reports;
        await using (ProgressLoop.Start(run, () => Read(monitor), static (writer, figures, _) =>
        {
            writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
            writer.WriteNumber("total_files", figures.FilesTotal);
            writer.WriteNumber("files_done", figures.FilesDone);
            writer.WriteNumber("total_bytes", figures.BytesTotal);
            writer.WriteNumber("bytes_done", figures.BytesDone);
        }).ConfigureAwait(false))
        {
            reports = await BackupIqStorage.SyncAsync(url, request, run.MirroredOptions, monitor, run.Host.Time, cancellationToken).ConfigureAwait(false);
        }

        Tell(run, reports);
        return reports.Any(static mirror => mirror.Damaged.Count > 0) ? ExitCodes.Damage
            : reports.All(static mirror => mirror.IsInStep) ? ExitCodes.Done
            : ExitCodes.Warnings;
    }

    private static ProgressFigures Read(MirrorMonitor monitor) => new(
        monitor.Mirror is null ? "comparing" : "mirroring",
        monitor.ObjectsDone,
        monitor.ObjectsTotal,
        monitor.BytesDone,
        monitor.BytesTotal,
        monitor.BytesTotal > 0,
        0,
        monitor.Mirror is { } mirror ? System.Text.Encoding.UTF8.GetBytes(mirror) : null);

    private static void Tell(Invocation run, IReadOnlyList<MirrorReport> reports)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer => MirrorOutput.Write(writer, reports));
            return;
        }

        foreach (MirrorReport mirror in reports)
        {
            string line = $"{DisplayText.Of(mirror.Location)}: {MirrorOutput.State(mirror)}";
            if (mirror.Damaged.Count > 0)
            {
                run.Screen.Fail(line, ErrorCodes.DamageFound);
            }
            else if (!mirror.IsInStep)
            {
                run.Screen.Warn(line);
            }
            else if (run.Screen.Verbosity > Verbosity.Quiet)
            {
                run.Print(line + "\n");
            }
        }
    }
}
