using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg wal-push NAME PATH</c>: for <c>archive_command</c>.</summary>
internal sealed class PgWalPushCommand : Verb
{
    public PgWalPushCommand()
        : base("wal-push", "Stores a file of PostgreSQL's log; for archive_command. Ends with 0 when it is durable, else with 1.") =>
        Positional("NAME PATH", "the server's name, and the file: %p", 2, 2);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["archive_command = 'backupiq --repo /mnt/backup --key-file /etc/backupiq/key pg wal-push main %p || exit 1'"];

    /// <inheritdoc/>
    public override int? FailsWith => ExitCodes.Failed;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string name = run.Arguments.Positional[0];
        string path = run.Arguments.Positional[1];
        PostgresServer.RequireName(name);
        run.MakeCacheFolder();
        WalSpool? spool = WalSpool.Open(run.RepositoryOptions.CacheFolder, run.RepositoryUrl ?? "", name, run.Host.Time);
        if (spool is not null && spool.TakePushed(path))
        {
            return ExitCodes.Done;
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        WalPushMonitor monitor = new()
        {
            OnNotice = notice => run.Screen.Warn(DisplayText.Of(notice), ErrorCodes.CorruptData),
            OnAheadFailure = failure => run.Screen.Note(DisplayText.Of($"not stored ahead: {failure}"), Verbosity.Detailed),
        };
        int ahead = await repository.PushWalAsync(name, path, spool, monitor, cancellationToken).ConfigureAwait(false);
        run.Screen.Note(DisplayText.Of($"{System.IO.Path.GetFileName(path)} is stored, and {Words.Count(ahead, "file")} ahead of its call"), Verbosity.Detailed);
        return ExitCodes.Done;
    }
}
