namespace BackupIQ.Cli.Configuration;

/// <summary>What a setting's value must be.</summary>
internal enum SettingKind
{
    Text,
    Path,
    Size,

    /// <summary>Bytes per second, all day or by the time of day.</summary>
    Rate,
    Duration,
    Number,
    Switch,
    Choice,
    List,

    /// <summary>A policy of retention.</summary>
    Policy,
}

/// <summary>One setting: its name in the configuration file, its flag and its variable.</summary>
/// <param name="Key">Name in the file; <c>backup.host</c> is <c>host</c> under <c>backup</c>.</param>
/// <param name="Kind">What its value must be.</param>
/// <param name="Default">The value without any setting, or null.</param>
/// <param name="Choices">The values of a choice.</param>
internal sealed record SettingDefinition(string Key, SettingKind Kind, string? Default = null, params string[] Choices)
{
    /// <summary>Its flag: <c>--host</c>.</summary>
    public string Flag { get; init; } = "--" + Key[(Key.IndexOf('.') + 1)..];

    /// <summary>What stands between the values of a list in the environment; URLs have colons of their own.</summary>
    public char Separator { get; init; } = ':';

    /// <summary>Its environment variable: <c>BACKUPIQ_HOST</c>.</summary>
    public string Variable => "BACKUPIQ_" + Flag[2..].Replace('-', '_').ToUpperInvariant();
}

/// <summary>All settings. The schema (<c>config schema</c>) names the same ones; a test compares them.</summary>
internal static class SettingDefinitions
{
    public static IReadOnlyList<SettingDefinition> All { get; } =
    [
        new("repo", SettingKind.Text),
        new("mirrors", SettingKind.List) { Flag = "--mirror", Separator = ' ' },
        new("key-file", SettingKind.Path),
        new("password-file", SettingKind.Path),
        new("password-command", SettingKind.Text),
        new("password-from", SettingKind.Text),
        new("kms", SettingKind.Text),
        new("keystore-password-file", SettingKind.Path),
        new("keystore-password-command", SettingKind.Text),
        new("keystore-password-from", SettingKind.Text),
        new("cache-dir", SettingKind.Path),
        new("cache-limit", SettingKind.Size, "8G"),
        new("memory", SettingKind.Size, "256M"),
        new("jobs", SettingKind.Number, "0"),
        new("append-only", SettingKind.Switch),
        new("limit-upload", SettingKind.Rate, "0"),
        new("limit-download", SettingKind.Rate, "0"),
        new("limit-requests", SettingKind.Number, "0"),
        new("retry-profile", SettingKind.Choice, "standard", "quick", "standard", "aggressive", "patient"),
        new("limit-connections", SettingKind.Number, "0"),
        new("storage-timeout", SettingKind.Duration),
        new("listing-lag", SettingKind.Duration),
        new("tls.minimum", SettingKind.Choice, "1.2", "1.2", "1.3") { Flag = "--tls-minimum" },
        new("log-format", SettingKind.Choice, "text", "text", "json"),
        new("backup.paths", SettingKind.List),
        new("backup.host", SettingKind.Text),
        new("backup.tags", SettingKind.List) { Flag = "--tag" },
        new("backup.type", SettingKind.Choice, "incremental", "full", "incremental", "differential"),
        new("backup.exclude", SettingKind.List),
        new("backup.iexclude", SettingKind.List),
        new("backup.include", SettingKind.List),
        new("backup.exclude-file", SettingKind.List),
        new("backup.iexclude-file", SettingKind.List),
        new("backup.exclude-if-present", SettingKind.List),
        new("backup.exclude-larger-than", SettingKind.Size, "0"),
        new("backup.exclude-caches", SettingKind.Switch, "false"),
        new("backup.one-file-system", SettingKind.Switch, "false"),
        new("backup.ignore-ctime", SettingKind.Switch, "false"),
        new("backup.ignore-inode", SettingKind.Switch, "false"),
        new("backup.skip-if-unchanged", SettingKind.Switch, "false"),
        new("backup.verify", SettingKind.Switch, "false"),
        new("backup.compression", SettingKind.Text, "auto"),
        new("backup.checkpoint-interval", SettingKind.Duration, "5m"),
        new("backup.connections", SettingKind.Number, "0"),
        new("backup.read-concurrency", SettingKind.Number, "0"),
        new("backup.batch-size", SettingKind.Size, "0"),
        new("backup.also", SettingKind.List) { Separator = ' ' },
        new("retention.policy", SettingKind.Policy),
        new("retention.full", SettingKind.Policy) { Flag = "--policy-full" },
        new("retention.incremental", SettingKind.Policy) { Flag = "--policy-incremental" },
        new("retention.differential", SettingKind.Policy) { Flag = "--policy-differential" },
        new("retention.group-by", SettingKind.Text, "host,paths"),
        new("retention.grace", SettingKind.Duration, "7d"),
    ];

    /// <summary>The definition of a key.</summary>
    public static SettingDefinition Of(string key) => All.First(definition => definition.Key == key);
}
