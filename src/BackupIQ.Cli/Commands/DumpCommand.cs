using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>dump SNAP:PATH</c></summary>
internal sealed class DumpCommand : Verb
{
    public DumpCommand()
        : base("dump", "Writes a file of a snapshot, or a folder as a tar archive, to standard output.")
    {
        Positional("SNAP[:PATH]", "the snapshot, and the file or folder in it", 1, 1);
        Value("--archive", "FORMAT", "of a folder: tar (default), or zip, which keeps less", "-a");
        Flag("--sparse", "keep holes as GNU tar and bsdtar do, in place of zeros");
        Value("--target", "FILE", "write to a new file instead", "-t");
        ArchiveFlags.Declare(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq dump latest:/etc/fstab",
        "backupiq dump latest:/home/ann | tar x --xattrs --xattrs-include='*' --acls -C /tmp/ann",
    ];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotPath source = SnapshotPath.Parse(run.Arguments.Positional[0]);
        string format = run.Arguments.Value("--archive") ?? "tar";
        if (format is not ("tar" or "zip"))
        {
            throw Misuse($"--archive: '{DisplayText.Of(format)}' is no format", "Use tar or zip.");
        }

        DumpRequest request = new()
        {
            Snapshot = source.Snapshot,
            Path = OsText.Encode(source.Path ?? "/"),
            Zip = format == "zip",
            KeepHoles = run.Arguments.Has("--sparse"),

            // An archive would only upset a terminal.
            FilesOnly = run.Host.OutputIsTerminal && !run.Arguments.Has("--target"),
            Recall = ArchiveFlags.Read(this, run, isOutputData: true),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);

        // Standard output is the data, so nothing else may be written there, with --json neither.
        DumpMonitor monitor = new(failure => run.Screen.Warn($"{DisplayText.Of(failure.Path)}: {DisplayText.Of(failure.Message.TrimEnd('.'))}", failure.Code));
        if (request.FilesOnly)
        {
            await repository.DumpAsync(request, run.Host.Output, monitor, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await using (ProgressLoop.Start(run, () => Read(monitor)).ConfigureAwait(false))
            {
                await DumpAsync(run, repository, request, monitor, cancellationToken).ConfigureAwait(false);
            }
        }

        return monitor.HasDamage || repository.Findings.Count > 0 ? ExitCodes.Damage : monitor.Errors > 0 ? ExitCodes.Warnings : ExitCodes.Done;
    }

    private static async Task DumpAsync(
        Invocation run, BackupIqRepository repository, DumpRequest request, DumpMonitor monitor, CancellationToken cancellationToken)
    {
        if (run.Arguments.Value("--target") is not { } target)
        {
            await repository.DumpAsync(request, run.Host.Output, monitor, cancellationToken).ConfigureAwait(false);
            return;
        }

        FileStream file = Create(target);
        await using (file.ConfigureAwait(false))
        {
            await repository.DumpAsync(request, file, monitor, cancellationToken).ConfigureAwait(false);
        }
    }

    private static ProgressFigures Read(DumpMonitor monitor) =>
        new("dumping", monitor.Entries, monitor.Entries, monitor.Bytes, monitor.Bytes, false, monitor.Errors, monitor.CurrentPath);

    private static FileStream Create(string path)
    {
        try
        {
            return new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, 1);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.RestoreTarget, "The file cannot be made", "Choose another: what is there is not overwritten.", fault)
                .With("path", path).With("reason", fault.Message);
        }
    }
}
