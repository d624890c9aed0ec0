using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>key list|add|remove|passwd|rotate|recovery-kit</c></summary>
internal static class KeyCommand
{
    public static VerbGroup Create() => new(
        "key",
        "Manages what opens the repository: passwords, key files, recovery kits.",
        new KeyListCommand(),
        new KeyAddCommand(),
        new KeyRemoveCommand(),
        new KeyPasswdCommand(),
        new KeyRotateCommand(),
        new KeyRecoveryKitCommand());

    /// <summary>The key that a user means by the first digits of its id.</summary>
    public static async Task<KeyInfo> FindAsync(BackupIqRepository repository, string text, CancellationToken cancellationToken)
    {
        IReadOnlyList<KeyInfo> keys = await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo[] found = [.. keys.Where(key => text.Length >= 4 && key.Id.StartsWith(text, StringComparison.Ordinal))];
        return found.Length == 1 ? found[0]
            : throw new BackupIQException(
                ErrorCodes.Validation,
                found.Length == 0 ? $"There is no key '{DisplayText.Of(text)}'" : $"'{text}' names {found.Length} keys",
                "See 'backupiq key list'; 4 or more digits of the id are enough where they are unique.");
    }

    /// <summary>Tells of a key, as text or JSON.</summary>
    public static void Tell(Invocation run, string what, KeyInfo key)
    {
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                WriteFields(writer, key);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print($"{what} {key.Id[..8]} ({key.Type}, {DisplayText.Of(key.Label)})\n");
        }
    }

    public static void WriteFields(System.Text.Json.Utf8JsonWriter writer, KeyInfo key)
    {
        writer.WriteBoolean("current", key.IsCurrent);
        writer.WriteString("id", key.Id);
        writer.WriteString("type", key.Type);
        writer.WriteString("label", key.Label);
        writer.WriteString("created", key.Created);
    }
}

/// <summary><c>key list</c></summary>
internal sealed class KeyListCommand() : Verb("list", "Lists the keys; * marks the one in use.")
{
    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<KeyInfo> keys = await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (KeyInfo key in keys)
                {
                    writer.WriteStartObject();
                    KeyCommand.WriteFields(writer, key);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            });
        }
        else
        {
            Table table = new("", "ID", "Type", "Made", "Label");
            foreach (KeyInfo key in keys)
            {
                table.Add(key.IsCurrent ? "*" : "", key.Id[..8], key.Type, Words.Moment(key.Created, run.Zone), DisplayText.Of(key.Label));
            }

            run.Print(table.Write);
        }

        return ExitCodes.Done;
    }
}

/// <summary><c>key add</c></summary>
internal sealed class KeyAddCommand : Verb
{
    public KeyAddCommand()
        : base("add", "Adds a password or a key file as another way in.")
    {
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
        Value("--new-key-file", "FILE", "add this key file (32 random bytes or more)");
        Value("--label", "TEXT", "what to call it");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        RepositorySecrets secret = run.Secrets.ForAdding();
        string label = run.Arguments.Value("--label") ?? (secret.KeyFile is null ? "password" : "key file");
        KeyCommand.Tell(run, "Added key", await repository.AddKeyAsync(secret, label, cancellationToken).ConfigureAwait(false));
        return ExitCodes.Done;
    }
}

/// <summary><c>key remove ID</c></summary>
internal sealed class KeyRemoveCommand : Verb
{
    public KeyRemoveCommand()
        : base("remove", "Removes a way in. The last one stays.") => Positional("ID", "the key, by 4 or more digits of its id", 1, 1);

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        string text = run.Arguments.Positional[0];

        // A damaged slot is in no list, but by its full id it can go.
        KeyInfo key = text.Length == 32
            ? (await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false)).FirstOrDefault(key => key.Id == text)
                ?? new KeyInfo(text, "damaged", "", default, IsCurrent: false)
            : await KeyCommand.FindAsync(repository, text, cancellationToken).ConfigureAwait(false);
        run.Confirm($"Remove key {key.Id[..8]} ({key.Type}, {DisplayText.Of(key.Label)}){(key.IsCurrent ? ", the one in use now" : "")}?");
        await repository.RemoveKeyAsync(key.Id, cancellationToken).ConfigureAwait(false);
        KeyCommand.Tell(run, "Removed key", key);
        return ExitCodes.Done;
    }
}

/// <summary><c>key passwd [ID]</c></summary>
internal sealed class KeyPasswdCommand : Verb
{
    public KeyPasswdCommand()
        : base("passwd", "Changes a password: the one in use, or that of ID.")
    {
        Positional("ID", "the key, by 4 or more digits of its id", 0, 1);
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo? key = run.Arguments.Positional is [{ } id]
            ? await KeyCommand.FindAsync(repository, id, cancellationToken).ConfigureAwait(false)
            : (await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false)).FirstOrDefault(static key => key.IsCurrent);
        if (key is not { Type: "password" })
        {
            throw new BackupIQException(
                ErrorCodes.Validation,
                key is null ? "The key in use cannot be told" : $"Key {key.Id[..8]} is no password but a {key.Type}",
                "Name a password's id from 'backupiq key list', or add one with 'backupiq key add'.");
        }

        RepositorySecrets secret = run.Secrets.ForAdding();
        KeyInfo changed = await repository.ChangePasswordAsync(
            key.Id, secret.Password ?? throw Misuse("A new password must be given, no key file"), cancellationToken).ConfigureAwait(false);
        KeyCommand.Tell(run, "Changed the password; its key is now", changed);
        return ExitCodes.Done;
    }
}

/// <summary><c>key rotate</c></summary>
internal sealed class KeyRotateCommand : Verb
{
    public KeyRotateCommand()
        : base("rotate", "Puts a new password or key file in the place of the key in use.")
    {
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
        Value("--new-key-file", "FILE", "change to this key file");
        Value("--label", "TEXT", "what to call the new one (default: as the old one)");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo old = (await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false)).FirstOrDefault(static key => key.IsCurrent)
            ?? throw new BackupIQException(ErrorCodes.Validation, "The key in use cannot be told", "Use 'backupiq key add' and 'backupiq key remove'.");

        // First the new one, then the old one goes: a crash in between leaves both.
        RepositorySecrets secret = run.Secrets.ForAdding();
        KeyInfo added = await repository.AddKeyAsync(secret, run.Arguments.Value("--label") ?? old.Label, cancellationToken).ConfigureAwait(false);
        await repository.RemoveKeyAsync(old.Id, cancellationToken).ConfigureAwait(false);
        KeyCommand.Tell(run, $"Removed key {old.Id[..8]}; in its place is now", added);
        return ExitCodes.Done;
    }
}

/// <summary><c>key recovery-kit</c></summary>
internal sealed class KeyRecoveryKitCommand : Verb
{
    public KeyRecoveryKitCommand()
        : base("recovery-kit", "Makes a recovery kit: a sheet that opens the repository when all else is lost.") =>
        Value("--output", "FILE", "write the kit to FILE, readable for you alone; - is standard output", "-o");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = run.Arguments.Value("--output") ?? throw Misuse("--output FILE says where the kit is to be written");
        if (file != "-" && File.Exists(file))
        {
            throw new BackupIQException(ErrorCodes.Configuration, "The file is already there and is not overwritten", "Choose another file.").With("file", file);
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        string kit = await repository.AddRecoveryKitAsync("recovery kit", cancellationToken).ConfigureAwait(false);
        if (file == "-")
        {
            run.Print(kit);
            return ExitCodes.Done;
        }

        PrivateFile.Write(file, Encoding.UTF8.GetBytes(kit));
        run.Screen.Note(DisplayText.Of($"The recovery kit is in {file}: print it or copy it to another place. Whoever has it can read every backup."));
        return ExitCodes.Done;
    }
}
