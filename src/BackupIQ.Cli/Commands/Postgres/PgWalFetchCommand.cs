using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg wal-fetch NAME FILE PATH</c>: for <c>restore_command</c>.</summary>
internal sealed class PgWalFetchCommand : Verb
{
    // The server stops at a code above 125, where it would take any other for the end of the log and go on without the rest.
    private const int Unknown = 255;

    public PgWalFetchCommand()
        : base("wal-fetch", "Brings a file of PostgreSQL's log back; for restore_command. Ends with 0 when it is there, 1 when it is provably not archived, else 255.") =>
        Positional("NAME FILE PATH", "the server's name, the file's name: %f, and where to put it: %p", 3, 3);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["restore_command = 'backupiq --repo /mnt/backup --key-file /etc/backupiq/key pg wal-fetch main %f %p'"];

    /// <inheritdoc/>
    public override int? FailsWith => Unknown;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        (string archive, string file, string target) = (run.Arguments.Positional[0], run.Arguments.Positional[1], run.Arguments.Positional[2]);
        PostgresServer.RequireName(archive);
        run.MakeCacheFolder();
        WalSpool? spool = WalSpool.Open(run.RepositoryOptions.CacheFolder, run.RepositoryUrl ?? "", archive, run.Host.Time);
        if (spool is not null && spool.TryTake(file, target))
        {
            return ExitCodes.Done;
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (await repository.FetchWalAsync(archive, file, target, spool, cancellationToken).ConfigureAwait(false))
        {
            return ExitCodes.Done;
        }

        run.Screen.Note(DisplayText.Of($"{file} is not archived"), Verbosity.Detailed);
        return ExitCodes.Failed;
    }
}
