using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg check NAME</c></summary>
internal sealed class PgCheckCommand : Verb
{
    public PgCheckCommand()
        : base("check", "Looks at all that can make a backup or a recovery of a server fail later; exit code 2 when something can.") =>
        Positional("NAME", "the server, as the configuration calls it", 1, 1);

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresServer server = PgServers.Of(run);
        IReadOnlyList<PostgresFinding> seen = await BackupIqPostgres.CheckAsync(server, run.Host.Time, cancellationToken).ConfigureAwait(false);
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
}
