using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage test|info|sync|link|login</c></summary>
internal static class StorageCommand
{
    public static VerbGroup Create() => new(
        "storage",
        "Looks at a storage by itself, whatever is on it; no key is needed.",
        new StorageTestCommand(),
        new StorageInfoCommand(),
        new StorageSyncCommand(),
        new StorageLinkCommand(),
        new StorageLoginCommand());

    /// <summary>The storage that is named behind so many other words, or the configured repository's.</summary>
    /// <exception cref="BackupIQException">Neither is there.</exception>
    public static string UrlOf(Invocation run, int before = 0) =>
        run.Arguments.Positional.ElementAtOrDefault(before) is { } url ? url
        : run.RepositoryUrl ?? throw new BackupIQException(ErrorCodes.Usage, "No storage is named, and no repository is configured", "Name its URL, as s3://bucket/prefix or /mnt/disk.");
}
