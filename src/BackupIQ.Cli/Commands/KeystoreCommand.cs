using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>keystore create|list|add|rotate|disable|enable|passwd|log</c></summary>
internal static class KeystoreCommand
{
    public static VerbGroup Create() => new(
        "keystore",
        "Keeps keys that open repositories in an encrypted file, with a log of every use.",
        new KeystoreCreateCommand(),
        new KeystoreListCommand(),
        new KeystoreChangeCommand("add", "Adds a key.", "Added", static (keystore, name, stop) => keystore.AddKeyAsync(name, stop)),
        new KeystoreChangeCommand(
            "rotate", "Gives a key a new version; what older ones wrapped opens as before.", "Rotated", static (keystore, name, stop) => keystore.RotateKeyAsync(name, stop)),
        new KeystoreChangeCommand(
            "disable", "Makes a key refuse to be used; nothing is lost.", "Disabled", static (keystore, name, stop) => keystore.EnableKeyAsync(name, false, stop)),
        new KeystoreChangeCommand(
            "enable", "Allows a disabled key to be used again.", "Enabled", static (keystore, name, stop) => keystore.EnableKeyAsync(name, true, stop)),
        new KeystorePasswdCommand(),
        new KeystoreLogCommand());

    /// <summary>Opens the keystore that the first argument names.</summary>
    public static async Task<BackupIqKeystore> OpenAsync(Invocation run, CancellationToken cancellationToken)
    {
        using Secret password = await run.Secrets.KeystorePasswordAsync(cancellationToken).ConfigureAwait(false);
        return await BackupIqKeystore.OpenAsync(run.Arguments.Positional[0], password, run.Host.Time, cancellationToken).ConfigureAwait(false);
    }

    public static void WriteFields(System.Text.Json.Utf8JsonWriter writer, KeystoreKeyState key)
    {
        writer.WriteStartObject();
        writer.WriteString("name", key.Name);
        writer.WriteBoolean("enabled", key.IsEnabled);
        writer.WriteNumber("version", key.Version);
        writer.WriteString("created", key.Created);
        writer.WriteString("rotated", key.Rotated);
        writer.WriteEndObject();
    }
}

/// <summary><c>keystore create FILE</c></summary>
internal sealed class KeystoreCreateCommand : Verb
{
    public KeystoreCreateCommand()
        : base("create", "Makes a keystore with the key 'default'.") => Positional("FILE", "the keystore's file", 1, 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq keystore create /etc/backupiq/keystore",
        "backupiq key add --repo /mnt/disk/backup --kms local:/etc/backupiq/keystore",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = run.Arguments.Positional[0];
        if (System.IO.Path.Exists(file))
        {
            throw new BackupIQException(ErrorCodes.Configuration, "The file is already there and is not overwritten", "Choose another file.").With("file", file);
        }

        using Secret password = await run.Secrets.KeystorePasswordAsync(cancellationToken, isNew: true).ConfigureAwait(false);
        PrivateFile.MakeFolder(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(file)) ?? "/");
        using BackupIqKeystore keystore = await BackupIqKeystore.CreateAsync(file, password, run.Host.Time, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("id", keystore.Id);
                writer.WriteString("log", keystore.LogPath);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print($"Keystore {keystore.Id} made, with the key 'default'\n");
            run.Screen.Note(DisplayText.Of($"Every use gets a line in {keystore.LogPath}. Keep a copy of the keystore: what only its keys open is lost with it."));
        }

        return ExitCodes.Done;
    }
}

/// <summary><c>keystore list FILE</c></summary>
internal sealed class KeystoreListCommand : Verb
{
    public KeystoreListCommand()
        : base("list", "Lists the keys of a keystore.") => Positional("FILE", "the keystore's file", 1, 1);

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        using BackupIqKeystore keystore = await KeystoreCommand.OpenAsync(run, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<KeystoreKeyState> keys = keystore.ListKeys();
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (KeystoreKeyState key in keys)
                {
                    KeystoreCommand.WriteFields(writer, key);
                }

                writer.WriteEndArray();
            });
        }
        else
        {
            Table table = new("Name", "State", "Version", "Made", "Rotated");
            foreach (KeystoreKeyState key in keys)
            {
                table.Add(
                    key.Name, key.IsEnabled ? "enabled" : "disabled", Words.Number(key.Version), Words.Moment(key.Created, run.Zone), Words.Moment(key.Rotated, run.Zone));
            }

            run.Print(table.Write);
        }

        return ExitCodes.Done;
    }
}

/// <summary><c>keystore add|rotate|disable|enable FILE KEY</c></summary>
internal sealed class KeystoreChangeCommand : Verb
{
    private readonly string _done;
    private readonly Func<BackupIqKeystore, string, CancellationToken, Task<KeystoreKeyState>> _change;

    public KeystoreChangeCommand(
        string name, string description, string done, Func<BackupIqKeystore, string, CancellationToken, Task<KeystoreKeyState>> change)
        : base(name, description)
    {
        _done = done;
        _change = change;
        Positional("FILE", "the keystore's file, then the key's name", 2, 2);
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        using BackupIqKeystore keystore = await KeystoreCommand.OpenAsync(run, cancellationToken).ConfigureAwait(false);
        KeystoreKeyState key = await _change(keystore, run.Arguments.Positional[1], cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer => KeystoreCommand.WriteFields(writer, key));
        }
        else
        {
            run.Print($"{_done} key {key.Name}; its version is {key.Version}\n");
        }

        return ExitCodes.Done;
    }
}

/// <summary><c>keystore passwd FILE</c></summary>
internal sealed class KeystorePasswdCommand : Verb
{
    public KeystorePasswdCommand()
        : base("passwd", "Changes the keystore's password.")
    {
        Positional("FILE", "the keystore's file", 1, 1);
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
        Value("--new-password-from", "REF", "read the new password from a reference, as --password-from");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        using BackupIqKeystore keystore = await KeystoreCommand.OpenAsync(run, cancellationToken).ConfigureAwait(false);
        using Secret password = (await run.Secrets.ForAddingAsync(cancellationToken).ConfigureAwait(false)).Password!;
        await keystore.ChangePasswordAsync(password, cancellationToken).ConfigureAwait(false);
        run.Print("Changed the keystore's password\n");
        return ExitCodes.Done;
    }
}

/// <summary><c>keystore log FILE</c></summary>
internal sealed class KeystoreLogCommand : Verb
{
    public KeystoreLogCommand()
        : base("log", "Shows who used which key for what: lines of JSON, oldest first.") => Positional("FILE", "the keystore's file", 1, 1);

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        using BackupIqKeystore keystore = await KeystoreCommand.OpenAsync(run, cancellationToken).ConfigureAwait(false);
        await using FileStream file = new(keystore.LogPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        await file.CopyToAsync(run.Host.Output, cancellationToken).ConfigureAwait(false);
        return ExitCodes.Done;
    }
}
