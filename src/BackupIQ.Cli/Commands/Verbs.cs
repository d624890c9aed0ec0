namespace BackupIQ.Cli.Commands;

/// <summary>All verbs. Only the one that is asked for is made when the first argument tells: the others' flags cost start-up time.</summary>
internal static class Verbs
{
    private static readonly (string[] Names, Func<Verb> Create)[] All =
    [
        (["backup", "create"], static () => new BackupCommand()),
        (["init"], static () => new InitCommand()),
        (["snapshots", "list"], static () => new SnapshotsCommand()),
        (["status"], static () => new StatusCommand()),
        (["ls"], static () => new LsCommand()),
        (["find"], static () => new FindCommand()),
        (["history"], static () => new HistoryCommand()),
        (["diff"], static () => new DiffCommand()),
        (["stats"], static () => new StatsCommand()),
        (["show"], static () => new ShowCommand()),
        (["restore"], static () => new RestoreCommand()),
        (["dump"], static () => new DumpCommand()),
        (["mount"], static () => new MountCommand()),
        (["serve"], static () => ServeCommand.Create()),
        (["forget", "delete"], static () => new ForgetCommand()),
        (["undelete"], static () => new UndeleteCommand()),
        (["retention"], static () => RetentionCommand.Create()),
        (["tag"], static () => new TagCommand()),
        (["hold"], static () => new HoldCommand()),
        (["pin"], static () => new PinCommand()),
        (["check"], static () => new CheckCommand()),
        (["verify"], static () => new VerifyCommand()),
        (["prune"], static () => new PruneCommand()),
        (["repair"], static () => RepairCommand.Create()),
        (["copy", "upload"], static () => new CopyCommand()),
        (["export"], static () => new ExportCommand()),
        (["import"], static () => new ImportCommand()),
        (["parity"], static () => ParityCommand.Create()),
        (["key"], static () => KeyCommand.Create()),
        (["keystore"], static () => KeystoreCommand.Create()),
        (["pg"], static () => PgCommand.Create()),
        (["storage"], static () => StorageCommand.Create()),
        (["config"], static () => ConfigCommand.Create()),
        (["doctor"], static () => new DoctorCommand()),
        (["bench"], static () => new BenchCommand()),
        (["completion"], static () => new CompletionCommand()),
        (["version"], static () => new VersionCommand()),
        (["help"], static () => new HelpCommand()),
    ];

    /// <summary>The verbs that <paramref name="args"/> may mean; null: all.</summary>
    public static IEnumerable<Verb> Create(IReadOnlyList<string>? args)
    {
        foreach ((string[] names, Func<Verb> create) in All)
        {
            if (args is { Count: > 0 } && names.Contains(args[0]) && args[0] != "help")
            {
                return [create()];
            }
        }

        return All.Select(static verb => verb.Create());
    }
}
