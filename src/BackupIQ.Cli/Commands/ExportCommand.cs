using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>export SNAP FILE</c></summary>
internal sealed class ExportCommand : Verb
{
    public ExportCommand()
        : base("export", "Writes a snapshot as one sealed file with a password of its own.")
    {
        Positional("SNAP FILE", "the snapshot, and the file to make; - is standard output", 2, 2);
        Value("--to-password-file", "FILE", "password that will open the file");
        Value("--to-password-command", "CMD", "command that prints that password");
        Value("--to-password-from", "REF", "reference to that password, as --password-from");
        Value("--to-key-file", "FILE", "key file that will open the file");
        Value("--to-kms", "URL", "key of a key service that will open the file, such as local:KEYSTORE#KEY");
        Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq export latest accounts.biq",
        "backupiq export latest accounts.biq --to-kms local:/etc/backupiq/keystore#accounts",
        "backupiq export latest - --to-key-file ~/out.key | ssh host 'cat > accounts.biq'",
    ];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string snapshot = run.Arguments.Positional[0];
        string file = run.Arguments.Positional[1];
        bool toOutput = file == "-";
        if (toOutput && run.Host.OutputIsTerminal)
        {
            throw Misuse("An export would only upset a terminal", "Name a file, or write to a pipe.");
        }

        string compression = run.Settings.Text("backup.compression")!;
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (!toOutput && File.Exists(file))
        {
            throw new BackupIQException(ErrorCodes.RestoreTarget, "The file is there already and is not overwritten", "Choose another name.").With("file", file);
        }

        RepositorySecrets secrets = await run.Secrets.ForOtherAsync("to-", "password for the file: ", cancellationToken, twice: true).ConfigureAwait(false);
        try
        {
            ExportReport? report = null;
            CopyView view = new(run, dryRun: false, isSingle: true, outputIsData: toOutput);
            await using (view.Show().ConfigureAwait(false))
            {
                if (toOutput)
                {
                    await repository.ExportAsync(snapshot, run.Host.Output, secrets, compression, view.Monitor, cancellationToken).ConfigureAwait(false);
                }
                else
                {
                    await PrivateFile.WriteAsync(
                        file,
                        async stream => report = await repository.ExportAsync(snapshot, stream, secrets, compression, view.Monitor, cancellationToken).ConfigureAwait(false))
                        .ConfigureAwait(false);
                }
            }

            if (report is not null)
            {
                Tell(run, file, report);
            }

            return ExitCodes.Done;
        }
        finally
        {
            SecretReader.Wipe(secrets);
        }
    }

    private static void Tell(Invocation run, string file, ExportReport report)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteString("file", file);
                writer.WriteString("snapshot_id", report.Snapshot.Original.Id);
                writer.WriteNumber("bytes_read", report.Snapshot.BytesRead);
                writer.WriteNumber("size", report.Length);
                writer.WriteNumber("total_duration", Math.Round(report.Duration.TotalSeconds, 6));
            });
        }
        else if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            run.Print(
                $"Snapshot {report.Snapshot.Original.ShortId} is in {DisplayText.Of(file)}: {Words.Count(report.Snapshot.FilesRead, "file")}, {Words.Size(report.Snapshot.BytesRead)} as {Words.Size(report.Length)}, in {Words.Duration(report.Duration)}\n");
        }
    }
}
