namespace BackupIQ.Cli.Configuration;

/// <summary>Where a user's files go by the XDG base directory specification.</summary>
internal sealed class UserFolders(Func<string, string?> environment)
{
    /// <summary>Configuration, the first repository's key and recovery kit.</summary>
    public string Config => Path.Combine(Base("XDG_CONFIG_HOME", ".config"), "backupiq");

    /// <summary>The first repository's parent.</summary>
    public string Data => Path.Combine(Base("XDG_DATA_HOME", ".local/share"), "backupiq");

    /// <summary>What a program remembers of what it did.</summary>
    public string State => Path.Combine(Base("XDG_STATE_HOME", ".local/state"), "backupiq");

    /// <summary>Has a line for each use of a key of a key service.</summary>
    public string KeyLog => Path.Combine(State, "keys.log");

    /// <summary>What can be deleted at any time.</summary>
    public string Cache => Path.Combine(Base("XDG_CACHE_HOME", ".cache"), "backupiq");

    /// <summary>The repository that is made where none is configured.</summary>
    public string DefaultRepository => Path.Combine(Data, "repository");

    /// <summary>The key file of <see cref="DefaultRepository"/>.</summary>
    public string DefaultKeyFile => Path.Combine(Config, "repository.key");

    /// <summary>The recovery kit of <see cref="DefaultRepository"/>.</summary>
    public string DefaultRecoveryKit => Path.Combine(Config, "recovery-kit.txt");

    /// <summary>Lists repositories whose owner said that the kit lies elsewhere, an id a line.</summary>
    public string ConfirmedKits => Path.Combine(Config, "confirmed-kits");

    /// <summary>The configuration file.</summary>
    public string ConfigFile => Path.Combine(Config, "config.yaml");

    private string Base(string variable, string underHome)
    {
        // The specification: a path that is not absolute counts for nothing.
        string? set = environment(variable);
        if (set is not null && set.StartsWith('/'))
        {
            return set;
        }

        string? home = environment("HOME");
        return Path.Combine(string.IsNullOrEmpty(home) ? "/root" : home, underHome);
    }
}
