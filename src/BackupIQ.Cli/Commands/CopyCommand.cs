using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>copy</c></summary>
internal sealed class CopyCommand : SnapshotVerb
{
    public CopyCommand()
        : base("copy", "Copies snapshots from another repository into this one.", "only these snapshots of the other repository (default: all)")
    {
        Aliases.Add("upload");
        Value("--from-repo", "REPO", "the repository to copy from, or an export file");
        Value("--limit", "N", "only the newest N");
        CopyFlags.Declare(this, "that REPO");
        ArchiveFlags.Declare(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq copy --from-repo /mnt/disk/backup --from-password-file ~/disk.pw --repo /mnt/other/backup",
        "backupiq copy --from-repo /mnt/disk/backup --host server --limit 7 latest",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string from = run.Arguments.Value("--from-repo") ?? run.Settings.Environment("BACKUPIQ_FROM_REPO")
            ?? throw Misuse("--from-repo says what to copy from", "For example: backupiq copy --from-repo /mnt/disk/backup --repo /mnt/other/backup");
        return await CopyFlags.RunAsync(run, from, Selection(run), ArchiveFlags.Read(this, run), cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    protected override SnapshotQuery Query(Invocation run) => base.Query(run) with { Limit = Limit(run) };
}

/// <summary>What <c>copy</c> and <c>import</c> have in common.</summary>
internal static class CopyFlags
{
    /// <summary>Declares the flags; <paramref name="source"/> is what the secrets open.</summary>
    public static void Declare(Verb verb, string source)
    {
        verb.Value("--from-password-file", "FILE", $"password of {source}");
        verb.Value("--from-password-command", "CMD", $"command that prints the password of {source}");
        verb.Value("--from-password-from", "REF", $"reference to the password of {source}, as --password-from");
        verb.Value("--from-key-file", "FILE", $"key file of {source}");
        verb.Value("--from-kms", "URL", $"key of a key service that opens {source}, such as local:KEYSTORE#KEY");
        verb.Flag("--dry-run", "tell what would be copied, store nothing", "-n");
        verb.Flag("--verify", "read again what was stored before a copy counts");
        verb.Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
        verb.Value("--checkpoint-interval", "TIME", "how often a running copy is made resumable (5m)");
        verb.Value("--connections", "N", "packs on their way to the storage at once");
    }

    /// <summary>Copies and tells what came of it.</summary>
    public static async Task<int> RunAsync(Invocation run, string from, SnapshotSelection snapshots, RecallOptions recall, CancellationToken cancellationToken)
    {
        run.Settings.RequireValid();
        CopyRequest request = new()
        {
            Snapshots = snapshots,
            DryRun = run.Arguments.Has("--dry-run"),
            Verify = run.Settings.Switch("backup.verify"),
            Compression = run.Settings.Text("backup.compression")!,
            CheckpointInterval = run.Settings.Duration("backup.checkpoint-interval"),
            Connections = run.Settings.Number("backup.connections"),
            Recall = recall,
        };
        await using BackupIqRepository target = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        await using BackupIqRepository source = await run.OpenOtherAsync(from, "from-", cancellationToken).ConfigureAwait(false);
        CopyView view = new(run, request.DryRun);
        CopyReport report;
        await using (view.Show().ConfigureAwait(false))
        {
            report = await target.CopyFromAsync(source, request, view.Monitor, cancellationToken).ConfigureAwait(false);
        }

        return view.Finish(report);
    }
}
