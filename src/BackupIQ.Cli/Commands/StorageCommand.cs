using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage test|info|sync|login</c></summary>
internal static class StorageCommand
{
    public static VerbGroup Create() => new(
        "storage",
        "Looks at a storage by itself, whatever is on it; no key is needed.",
        new StorageTestCommand(),
        new StorageInfoCommand(),
        new StorageSyncCommand(),
        new StorageLoginCommand());

    /// <summary>The storage that is named, or the configured repository's.</summary>
    /// <exception cref="BackupIQException">Neither is there.</exception>
    public static string UrlOf(Invocation run) =>
        run.Arguments.Positional is [{ } url] ? url
        : run.RepositoryUrl ?? throw new BackupIQException(ErrorCodes.Usage, "No storage is named, and no repository is configured", "Name its URL, as s3://bucket/prefix or /mnt/disk.");
}
