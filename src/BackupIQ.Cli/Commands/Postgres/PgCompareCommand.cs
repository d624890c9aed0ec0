using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg compare --source S --target T</c></summary>
internal sealed class PgCompareCommand : Verb
{
    public PgCompareCommand()
        : base("compare", "Compares a database with another one that should hold the same, as a restored one does; ends with 14 when they differ, and 3 with warnings.")
    {
        Value("--source", "SERVER", "what is right: a server of the configuration, a DSN, or the folder of a socket");
        Value("--target", "SERVER", "what is to be like it, likewise");
        VerifyOutput.DeclareLevel(this, "quick: tables; standard (default): columns and numbers of rows as well; comprehensive: indexes, constraints and the content of every row");
        Value("--database", "DB", "the database (default: the one that each DSN names)");
        Value("--target-database", "DB", "the database of the target, where it has another name");
        Flag("--all", "every database of the source with the one of the same name");
        VerifyOutput.DeclareReport(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq pg compare --source main --target /tmp/look --all",
        "backupiq pg compare --source main --target 'host=/run/postgresql dbname=shop_restored' --database shop --target-database shop_restored --level comprehensive",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string? database = run.Arguments.Value("--database");
        PostgresCompareRequest request = new()
        {
            Source = Server(run, "--source"),
            Target = Server(run, "--target"),
            SourceDatabase = database,
            TargetDatabase = run.Arguments.Value("--target-database") ?? database,
            AllDatabases = run.Arguments.Has("--all"),
            Level = VerifyOutput.Level(run) ?? throw Misuse(VerifyOutput.WrongLevel(run)),
        };
        if (request.AllDatabases && (request.SourceDatabase ?? request.TargetDatabase) is not null)
        {
            throw Misuse("--all compares every database, so --database and --target-database have no place beside it");
        }

        VerifyOutput.RequirePlace(run);
        VerifyMonitor monitor = new();
        VerifyReport report;
        await using (ProgressLoop.Start(run, () => VerifyOutput.Read(monitor), (writer, figures, left) => VerifyOutput.WriteStatus(writer, monitor, left)).ConfigureAwait(false))
        {
            report = await BackupIqPostgres.ComparePostgresAsync(request, monitor, run.Host.Time, cancellationToken).ConfigureAwait(false);
        }

        VerifyOutput.Finish(run, report);
        return report.ExitCode;
    }

    private PostgresServer Server(Invocation run, string flag)
    {
        string text = run.Arguments.Value(flag) ?? throw Misuse($"{flag} SERVER names what is compared");
        bool isDsn = text.Contains('=') || text.Contains("://", StringComparison.Ordinal);
        if (!isDsn && !text.StartsWith('/'))
        {
            return PgServers.Of(run, text);
        }

        string name = flag[2..];
        return PostgresServer.Read(name, new Dictionary<string, string>(StringComparer.Ordinal) { ["dsn"] = isDsn ? text : $"host='{text.Replace("'", "\\'", StringComparison.Ordinal)}' user=postgres dbname=postgres" });
    }
}
