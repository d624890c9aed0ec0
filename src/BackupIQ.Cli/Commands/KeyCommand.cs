using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>key list|add|remove|revoke|passwd|rotate|epochs|recovery-kit</c></summary>
internal static class KeyCommand
{
    public static VerbGroup Create() => new(
        "key",
        "Manages what opens the repository: passwords, key files, key services, recovery kits.",
        new KeyListCommand(),
        new KeyAddCommand(),
        new KeyRemoveCommand(),
        new KeyRevokeCommand(),
        new KeyPasswdCommand(),
        new KeyRotateCommand(),
        new KeyEpochsCommand(),
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
        if (key.Epoch is { } epoch)
        {
            writer.WriteNumber("epoch", epoch);
        }
        else
        {
            writer.WriteNull("epoch");
        }

        if (key.Service is not null)
        {
            writer.WriteString("service", key.Service);
            writer.WriteString("service_key", key.ServiceKey);
        }
    }

    /// <summary>
    /// Shows what a new epoch would do, asks, and begins it: all keys follow but those that are to go and those that cannot, which the question
    /// names.
    /// </summary>
    public static async Task<KeyEpochOutcome> BeginEpochAsync(
        Invocation run, BackupIqRepository repository, IReadOnlyList<KeyInfo> leaveOut, CancellationToken cancellationToken)
    {
        KeyEpochPlan plan = await repository.PlanKeyEpochAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo[] follow = [.. plan.Follow.Where(key => leaveOut.All(gone => gone.Id != key.Id))];
        KeyInfo[] stuck = [.. plan.CannotFollow.Where(key => leaveOut.All(gone => gone.Id != key.Id))];
        foreach (KeyInfo key in follow)
        {
            run.Screen.Note($"stays: {Name(key)}");
        }

        foreach (KeyInfo key in stuck)
        {
            run.Screen.Warn(
                DisplayText.Of($"key {Name(key)} cannot follow without its secret (an older version made it, or an earlier epoch left it out): change it first, or it is removed"),
                ErrorCodes.Validation);
        }

        KeyInfo[] gone = [.. leaveOut, .. stuck];
        run.Confirm(gone.Length == 0
            ? $"Begin key epoch {plan.Epoch} for {Words.Count(follow.Length, "key")}?"
            : $"Begin key epoch {plan.Epoch} for {Words.Count(follow.Length, "key")}, and remove {string.Join(", ", gone.Select(Name))}?");
        KeyEpochOutcome outcome = await repository.BeginKeyEpochAsync([.. gone.Select(static key => key.Id)], cancellationToken).ConfigureAwait(false);
        foreach (KeyInfo key in outcome.LeftBehind)
        {
            run.Screen.Warn(DisplayText.Of($"key {Name(key)} was added meanwhile and stays behind: add it again"), ErrorCodes.KeyOutdated);
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteNumber("epoch", outcome.Epoch);
                JsonFields.WriteStrings(writer, "removed", gone.Select(static key => key.Id));
                JsonFields.WriteStrings(writer, "left_behind", outcome.LeftBehind.Select(static key => key.Id));
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print($"Key epoch {outcome.Epoch} has begun: what is written from now on is sealed under a new master key; what is there stays readable.\n");
        }

        run.Screen.Note("Programs that are running go on with the old epoch until they end.");
        if (follow.Any(static key => key.Type == "kit"))
        {
            run.Screen.Note(
                "Print a new recovery kit ('backupiq key recovery-kit --output FILE'): an older one opens what is written from now on only while the repository's keys/ is there.");
        }

        return outcome;
    }

    /// <summary>Whether a kit is written to that file as a page for a browser.</summary>
    public static bool IsPage(string file) => file.EndsWith(".html", StringComparison.OrdinalIgnoreCase) || file.EndsWith(".htm", StringComparison.OrdinalIgnoreCase);

    private static string Name(KeyInfo key) => $"{key.Id[..8]} ({key.Type}, {DisplayText.Of(key.Label)})";
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
            DateTimeOffset now = run.Host.Time.GetUtcNow();
            Table table = new("", "ID", "Type", "Made", "Age", "Epoch", "Label");
            foreach (KeyInfo key in keys)
            {
                table.Add(
                    key.IsCurrent ? "*" : "",
                    key.Id[..8],
                    key.Type,
                    Words.Moment(key.Created, run.Zone),
                    $"{Words.Number((long)Math.Max(0, (now - key.Created).TotalDays))} d",
                    key.Epoch is { } epoch ? Words.Number(epoch) : "?",
                    DisplayText.Of(key.Service is null ? key.Label : $"{key.Label} ({key.Service} {key.ServiceKey})"));
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
        : base("add", "Adds a password, a key file or a key of a key service as another way in.")
    {
        Value("--new-kms", "URL", "add this key of a key service; so does --kms where nothing new is named beside it");
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
        Value("--new-password-from", "REF", "read the new password from a reference, as --password-from");
        Value("--new-key-file", "FILE", "add this key file (32 random bytes or more)");
        Value("--label", "TEXT", "what to call it");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        run.Secrets.AddsService = run.Arguments.Has("--kms")
            && !((string[])["--new-password-file", "--new-password-command", "--new-password-from", "--new-key-file", "--new-kms"]).Any(run.Arguments.Has);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        RepositorySecrets secret = await run.Secrets.ForAddingKeyAsync(cancellationToken).ConfigureAwait(false);
        string label = run.Arguments.Value("--label") ?? (secret.KeyFile is not null ? "key file" : secret.Kms is not null ? "key service" : "password");
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

/// <summary><c>key revoke ID…</c></summary>
internal sealed class KeyRevokeCommand : Verb
{
    public KeyRevokeCommand()
        : base("revoke", "Removes ways in and begins a new key epoch: who had them, and copies of all keys, reads nothing that is written from now on.") =>
        Positional("ID", "the keys, by 4 or more digits of their ids", 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq key list", "backupiq key revoke 1f3a9c02"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        List<KeyInfo> keys = [];
        foreach (string id in run.Arguments.Positional)
        {
            keys.Add(await KeyCommand.FindAsync(repository, id, cancellationToken).ConfigureAwait(false));
        }

        KeyEpochOutcome outcome = await KeyCommand.BeginEpochAsync(run, repository, keys, cancellationToken).ConfigureAwait(false);
        return outcome.LeftBehind.Count == 0 ? ExitCodes.Done : ExitCodes.Warnings;
    }
}

/// <summary><c>key epochs</c></summary>
internal sealed class KeyEpochsCommand() : Verb("epochs", "Lists the key epochs and how much is stored under each.")
{
    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<KeyEpoch> epochs = await repository.ListKeyEpochsAsync(cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (KeyEpoch epoch in epochs)
                {
                    writer.WriteStartObject();
                    writer.WriteNumber("epoch", epoch.Epoch);
                    JsonFields.WriteMoment(writer, "begun", epoch.Begun);
                    writer.WriteNumber("stored_size", epoch.StoredBytes);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            });
        }
        else
        {
            Table table = new("Epoch", "Begun", "Stored");
            foreach (KeyEpoch epoch in epochs)
            {
                table.Add(Words.Number(epoch.Epoch), epoch.Begun is { } begun ? Words.Moment(begun, run.Zone) : "?", Words.Size(epoch.StoredBytes));
            }

            run.Print(table.Write);
        }

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
        Value("--new-password-from", "REF", "read the new password from a reference, as --password-from");
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

        RepositorySecrets secret = await run.Secrets.ForAddingAsync(cancellationToken).ConfigureAwait(false);
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
        : base("rotate", "Puts a new password, key file or key service in the place of the key in use; with --new-epoch, a new master key for all.")
    {
        Flag("--new-epoch", "begin a new key epoch: a new master key for what is written from now on, which all keys open; what is there stays readable");
        Value("--new-password-file", "FILE", "read the new password from FILE");
        Value("--new-password-command", "CMD", "read the new password from what CMD prints");
        Value("--new-password-from", "REF", "read the new password from a reference, as --password-from");
        Value("--new-key-file", "FILE", "change to this key file");
        Value("--new-kms", "URL", "change to this key of a key service");
        Value("--label", "TEXT", "what to call the new one (default: as the old one)");
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo old = (await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false)).FirstOrDefault(static key => key.IsCurrent)
            ?? throw new BackupIQException(ErrorCodes.Validation, "The key in use cannot be told", "Use 'backupiq key add' and 'backupiq key remove'.");

        bool isNew = ((string[])["--new-password-file", "--new-password-command", "--new-password-from", "--new-key-file", "--new-kms"]).Any(run.Arguments.Has);
        if (run.Arguments.Has("--new-epoch"))
        {
            if (isNew)
            {
                throw Misuse("--new-epoch keeps every key as it is", "Rotate first without it, then again with it alone.");
            }

            KeyEpochOutcome outcome = await KeyCommand.BeginEpochAsync(run, repository, [], cancellationToken).ConfigureAwait(false);
            return outcome.LeftBehind.Count == 0 ? ExitCodes.Done : ExitCodes.Warnings;
        }

        // First the new one, then the old one goes: a crash in between leaves both. A key service wraps the new one under its newest version.
        RepositorySecrets secret = !isNew && old.Type == "kms" ? await run.Secrets.ForOpeningAsync(run.RepositoryUrl!, cancellationToken).ConfigureAwait(false)
            : await run.Secrets.ForAddingAsync(cancellationToken).ConfigureAwait(false);
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
        Value("--output", "FILE", "write the kit to FILE, readable for you alone: a page to print where it ends with .html, else text; - is standard output", "-o");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = run.Arguments.Value("--output") ?? throw Misuse("--output FILE says where the kit is to be written");
        if (file != "-" && File.Exists(file))
        {
            throw new BackupIQException(ErrorCodes.Configuration, "The file is already there and is not overwritten", "Choose another file.").With("file", file);
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        string kit = await repository.AddRecoveryKitAsync("recovery kit", KeyCommand.IsPage(file), cancellationToken).ConfigureAwait(false);
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
