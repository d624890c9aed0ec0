namespace BackupIQ.Cli.Commands;

/// <summary><c>import restic</c></summary>
internal static class ImportCommand
{
    public static VerbGroup Create() => new("import", "Takes over what other programs backed up.", new ImportResticCommand());
}
