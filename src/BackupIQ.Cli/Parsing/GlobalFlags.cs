using System.CommandLine;

namespace BackupIQ.Cli.Parsing;

/// <summary>The flags that every verb understands.</summary>
internal static class GlobalFlags
{
    /// <summary>A new set of them, for one command line.</summary>
    public static IReadOnlyList<Option> Create() =>
    [
        Value("--repo", "URL", "the repository: a path or file:///path", "-r"),
        Value("--mirror", "URL…", "a storage that holds the same as the repository's: it gets what is put, and is read where the repository cannot be (repeatable)"),
        Value("--password-file", "FILE", "read the password from FILE", "-p"),
        Value("--password-command", "CMD", "read the password from what CMD prints"),
        Value("--password-from", "REF", "read the password from env:NAME, file:PATH, cmd:CMD, systemd:NAME, vault:MOUNT/PATH#FIELD or aws-secretsmanager:ID#FIELD"),
        Value("--key-file", "FILE", "open with this key file instead of a password"),
        Value("--kms", "URL", "open with a key of a key service: local:FILE#KEY (a local keystore), pkcs11:, vault:, awskms:, azurekeyvault:, gcpkms:"),
        Value("--keystore-password-file", "FILE", "read the keystore's password from FILE"),
        Value("--keystore-password-command", "CMD", "read the keystore's password from what CMD prints"),
        Value("--keystore-password-from", "REF", "read the keystore's password from a reference, as --password-from"),
        Value("--recovery-kit", "FILE", "open with the recovery kit in FILE"),
        Value("--config", "FILE", "configuration file (default: ~/.config/backupiq/config.yaml)"),
        Value("--environment", "NAME", "lay config.NAME.yaml over the configuration file"),
        Value("--cache-dir", "DIR", "local cache (default: ~/.cache/backupiq); can be deleted at any time"),
        Value("--cache-limit", "SIZE", "bytes that the local cache may have (default: 8G)"),
        Value("--memory", "SIZE", "memory for buffers, as 512M"),
        Value("--jobs", "N", "workers (default: one per core)", "-j"),
        Flag("--append-only", "only add to the repository; refuse what removes or changes anything (exit code 17)"),
        Value("--limit-upload", "RATE", "at most RATE bytes per second to the storage: 10M, or 08:00-18:00=2M,else=unlimited"),
        Value("--limit-download", "RATE", "at most RATE bytes per second from the storage"),
        Value("--limit-requests", "N", "at most N requests per second to a remote storage"),
        Value("--limit-connections", "N", "at most N requests at once to a remote storage (default: 16)"),
        Value("--storage-timeout", "TIME", "give a request to a remote storage up when nothing moved for TIME (default: 60s)"),
        Value("--listing-lag", "TIME", "how long listings of a network mount may miss what others put (default: 1m, FUSE 5m)"),
        Value("--tls-minimum", "VERSION", "the least TLS to a remote storage: 1.2 or 1.3 (default: 1.2)"),
        Value("--retry-profile", "NAME", "how a remote storage's failures are met: quick, standard, aggressive, patient"),
        Value("--at", "TIME", "for verbs that read: the repository as it was then, as 2026-11-22T10:00"),
        Value("--log-format", "FORMAT", "messages as text or json"),
        Flag("--json", "results as JSON"),
        Flag("--quiet", "no progress, no messages but warnings and errors", "-q"),
        Flag("-v", "more messages; -vv: every file, and where a failure came from", "--verbose"),
        Flag("--no-progress", "no progress bar"),
        Flag("--yes", "answer yes to every question", "-y"),
        Flag("--no-input", "never ask; fail instead"),
        Flag("--help", "show help", "-h"),
    ];

    private static Option<bool> Flag(string name, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, Arity = ArgumentArity.Zero, Recursive = true };

    private static Option<string[]> Value(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName, Arity = ArgumentArity.OneOrMore, Recursive = true };
}
