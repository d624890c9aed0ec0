using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg check NAME</c></summary>
internal sealed class PgCheckCommand : Verb
{
    public PgCheckCommand()
        : base("check", "Looks at all that can make a backup or a recovery of a server fail later; exit code 2 when something can.")
    {
        Positional("NAME", "the server, as the configuration calls it", 1, 1);
        Flag("--no-archive-test", "do not let the server archive a segment to see that it comes into the repository");
        Value("--archive-timeout", "TIME", "how long that may take (default: 1m)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg check main", "backupiq pg check main --no-archive-test --json"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresServer server = PgServers.Of(run);
        IReadOnlyList<PostgresFinding> seen = await CheckAsync(run, server, cancellationToken).ConfigureAwait(false);
        Finding[] findings = [.. seen.Select(static one => new Finding(Enum.Parse<FindingLevel>(one.Level, ignoreCase: true), one.Check, one.Message, one.Guidance))];
        int code = findings.Any(static finding => finding.Level == FindingLevel.Failed) ? ExitCodes.Usage : ExitCodes.Done;
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("server", server.Name);
                writer.WriteBoolean("ok", code == ExitCodes.Done);
                Finding.Write(writer, findings);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print(output => Finding.Show(output, findings));
        }

        return code;
    }

    // A repository that cannot be opened is a finding like others: what comes of the server is told all the same.
    private async Task<IReadOnlyList<PostgresFinding>> CheckAsync(Invocation run, PostgresServer server, CancellationToken cancellationToken)
    {
        PostgresCheckRequest request = new()
        {
            Server = server,
            TestArchive = !run.Arguments.Has("--no-archive-test"),
            ArchivePatience = Duration(run, "--archive-timeout", "30s or 5m") ?? TimeSpan.FromMinutes(1),
        };
        if (run.RepositoryUrl is not null)
        {
            try
            {
                await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
                return await repository.CheckPostgresAsync(request, cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e)
            {
                return
                [
                    .. await BackupIqPostgres.CheckAsync(server, run.Host.Time, cancellationToken).ConfigureAwait(false),
                    new PostgresFinding("failed", "repository", e.Message, e.Guidance),
                ];
            }
        }

        return await BackupIqPostgres.CheckAsync(server, run.Host.Time, cancellationToken).ConfigureAwait(false);
    }
}
