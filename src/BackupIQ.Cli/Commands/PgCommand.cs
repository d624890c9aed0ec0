using BackupIQ.Cli.Commands.Postgres;

namespace BackupIQ.Cli.Commands;

/// <summary><c>pg …</c></summary>
internal static class PgCommand
{
    public static VerbGroup Create() => new(
        "pg",
        "Backs up PostgreSQL servers and their logs, and brings them back.",
        new PgInitServerCommand(),
        new PgCheckCommand(),
        new PgBackupCommand(),
        new PgRestoreCommand(),
        new PgDumpCommand(),
        new PgLoadCommand(),
        new PgCompareCommand(),
        new PgWalPushCommand(),
        new PgWalFetchCommand(),
        new PgWalStreamCommand(),
        PgWalCommand.Create(),
        new PgWindowCommand());
}
