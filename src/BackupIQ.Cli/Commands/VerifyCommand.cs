using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands;

/// <summary><c>verify SNAP</c></summary>
internal sealed class VerifyCommand : Verb
{
    public VerifyCommand()
        : base("verify", "Proves that one snapshot comes back, by looking, reading or really restoring it; ends with 14 when it does not, and 3 with warnings.")
    {
        Positional("SNAP", "the snapshot", 1, 1);
        VerifyOutput.DeclareLevel(this, "quick: all is there; standard (default): all is read and proven; comprehensive: restored into a folder that is removed again, a server started in it");
        Value("--work", "DIR", "where that folder is made (default: where temporary files go)");
        List("--assert", "'DB: SELECT …'", "comprehensive, of a database server: a statement that must answer with one row, true");
        List("--assert-file", "FILE", "the same, one a line");
        Value("--role", "NAME", "the role to connect as to the restored server (default: its superuser)");
        Value("--pg-bin", "DIR", "the folder of pg_ctl (default: where packages put it)");
        VerifyOutput.DeclareReport(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq verify latest --level quick",
        "backupiq verify latest --level comprehensive --work /mnt/space --assert 'shop: SELECT count(*) > 1000 FROM orders' --report proof.html",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        VerifyRequest request = new()
        {
            Snapshot = run.Arguments.Positional[0],
            Level = VerifyOutput.Level(run) ?? throw Misuse(VerifyOutput.WrongLevel(run)),
            Work = run.Arguments.Value("--work"),
            Role = run.Arguments.Value("--role"),
            Programs = run.Arguments.Value("--pg-bin"),
            Assertions = [.. run.Arguments.Values("--assert"), .. run.Arguments.Values("--assert-file").SelectMany(PostgresAssertion.ReadFile)],
        };
        VerifyOutput.RequirePlace(run);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        VerifyMonitor monitor = new();
        VerifyReport report;
        await using (ProgressLoop.Start(run, () => VerifyOutput.Read(monitor), (writer, figures, left) => VerifyOutput.WriteStatus(writer, monitor, left)).ConfigureAwait(false))
        {
            report = await repository.VerifyAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        VerifyOutput.Finish(run, report);
        if (report.NoteProblem is { } problem)
        {
            run.Screen.Warn(DisplayText.Of($"the outcome could not be noted beside the snapshot: {problem}"));
        }

        return report.ExitCode == ExitCodes.Done && report.NoteProblem is not null ? ExitCodes.Warnings : report.ExitCode;
    }
}
