using System.Security.Cryptography;
using System.Text;
using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Secrets;

/// <summary>
/// Finds the secret that opens a repository: flags before environment before configuration file, then the default repository's own key
/// file, then a question on the terminal. Never a plain flag, which every user of the machine could read in the list of processes.
/// </summary>
internal sealed class SecretReader(CliHost host, Arguments arguments, Settings settings)
{
    /// <summary>The secrets for opening a repository. The caller disposes them.</summary>
    /// <exception cref="BackupIQException">
    /// <see cref="ErrorCodes.SecretUnavailable"/>: a file or command failed, or there is no secret and nobody to ask.
    /// <see cref="ErrorCodes.Usage"/>: two secrets are given at the same level, and which one counts cannot be known.
    /// </exception>
    public async Task<RepositorySecrets> ForOpeningAsync(string url, CancellationToken cancellationToken)
    {
        if (arguments.Value("--recovery-kit") is { } kit)
        {
            return new RepositorySecrets { RecoveryKit = Encoding.UTF8.GetString(SecretSource.ReadFile(kit, "recovery kit")) };
        }

        return await ConfiguredAsync(cancellationToken).ConfigureAwait(false) ?? DefaultKey(url) ?? new RepositorySecrets { Password = Ask("password: ", twice: false) };
    }

    /// <summary>Whether <see cref="ForOpeningAsync"/> finds a secret without asking anybody.</summary>
    public bool IsAtHand(string url) =>
        arguments.Has("--recovery-kit")
        || settings.Get("key-file").Text is not null
        || HasPassword()
        || (settings.Get("kms").Text is { } kms && (BackupIqKeystore.LocalPath(kms) is null || HasKeystorePassword()))
        || (BackupIqRepository.LocalPath(url) == settings.Folders.DefaultRepository && File.Exists(settings.Folders.DefaultKeyFile));

    /// <summary>Wipes what opened a repository, once it is open or could not be opened.</summary>
    public static void Wipe(RepositorySecrets secrets)
    {
        secrets.Password?.Dispose();
        secrets.KeyFile?.Dispose();
        secrets.KeystorePassword?.Dispose();
    }

    /// <summary>The token in a file: its first line.</summary>
    public static Secret TokenFile(string path) => SecretSource.FirstLine(SecretSource.ReadFile(path, "token file"), path);

    /// <summary>
    /// The secrets for a new repository. A key file that is named and is not there yet is made, with random bytes, and
    /// <paramref name="onKeyMade"/> hears of it.
    /// </summary>
    public async Task<RepositorySecrets> ForCreatingAsync(Action<string> onKeyMade, CancellationToken cancellationToken)
    {
        SettingValue keyFile = settings.Get("key-file");
        if (keyFile.Text is { } path && !File.Exists(path) && (keyFile.Origin == SettingOrigin.Flag || !HasPassword()))
        {
            PrivateFile.Write(path, RandomNumberGenerator.GetBytes(64));
            onKeyMade(path);
        }

        return await ConfiguredAsync(cancellationToken).ConfigureAwait(false) ?? new RepositorySecrets { Password = Ask("password for the new repository: ", twice: true) };
    }

    /// <summary>A secret to add or to change to: only the flags that begin with <c>--new-</c> count, else it is asked for.</summary>
    public Task<RepositorySecrets> ForAddingAsync(CancellationToken cancellationToken) => ForOtherAsync("new-", "new password: ", cancellationToken, twice: true);

    /// <summary>
    /// A secret beside that of the repository: the flags that begin with <paramref name="prefix"/>, then the variables that are called likewise
    /// (<c>BACKUPIQ_FROM_PASSWORD_FILE</c>), then the default repository's own key file where <paramref name="url"/> is that; else it is asked for.
    /// </summary>
    public async Task<RepositorySecrets> ForOtherAsync(string prefix, string prompt, CancellationToken cancellationToken, bool twice = false, string? url = null) =>
        await GivenForAsync(prefix, cancellationToken).ConfigureAwait(false)
            ?? (url is null ? null : DefaultKey(url))
            ?? new RepositorySecrets { Password = Ask(prompt, twice, $"Give --{prefix}password-file, --{prefix}password-command or --{prefix}key-file.") };

    /// <summary>
    /// The secret of a repository into which a backup is copied: what the configuration says of it (<paramref name="said"/>: the kind and the value); else the flags that begin with
    /// <c>--also-</c> or their variables; else what opens the repository of this run; else it is asked for.
    /// </summary>
    public async Task<RepositorySecrets> ForDestinationAsync(string url, (string Kind, string Value)? said, string prompt, CancellationToken cancellationToken) =>
        said is { } own
            ? await GivenAsync(own.Kind, own.Value, cancellationToken).ConfigureAwait(false)
            : await GivenForAsync("also-", cancellationToken).ConfigureAwait(false)
                ?? await ConfiguredAsync(cancellationToken).ConfigureAwait(false)
                ?? DefaultKey(url)
                ?? new RepositorySecrets { Password = Ask(prompt, twice: false, "Give --also-password-file, --also-password-command or --also-key-file, or name it under destinations: in the configuration file.") };

    // What flags with a prefix, or else variables, say; null: nothing.
    private async Task<RepositorySecrets?> GivenForAsync(string prefix, CancellationToken cancellationToken)
    {
        foreach (Func<string, string?> read in (Func<string, string?>[])[arguments.Value, FromEnvironment])
        {
            foreach (string kind in (string[])["kms", "key-file", "password-file", "password-command", "password-from"])
            {
                if (read($"--{prefix}{kind}") is { } value)
                {
                    return await GivenAsync(kind, value, cancellationToken).ConfigureAwait(false);
                }
            }
        }

        return FromEnvironment($"--{prefix}password") is { } plain
            ? new RepositorySecrets { Password = SecretSource.FirstLine(Encoding.UTF8.GetBytes(plain), $"--{prefix}password") }
            : null;
    }

    private string? FromEnvironment(string flag) => settings.Environment("BACKUPIQ_" + flag[2..].Replace('-', '_').ToUpperInvariant());

    /// <summary>Whether <c>--kms</c> names what is to be added, not what opens.</summary>
    public bool AddsService { get; set; }

    /// <summary>
    /// The secret that <c>key add</c> adds: what the flags with <c>--new-</c> say; without one, the key that <c>--kms</c> names, which then does
    /// not open the repository.
    /// </summary>
    public Task<RepositorySecrets> ForAddingKeyAsync(CancellationToken cancellationToken) =>
        AddsService ? WithServiceAsync(arguments.Value("--kms")!, cancellationToken) : ForAddingAsync(cancellationToken);

    /// <summary>The password of a keystore, which the flags, the environment or the configuration file tell, or somebody types.</summary>
    public async Task<Secret> KeystorePasswordAsync(CancellationToken cancellationToken, bool isNew = false)
    {
        SettingValue? given = new[] { "keystore-password-file", "keystore-password-command", "keystore-password-from" }.Select(settings.Get)
            .Where(static setting => setting.Text is not null).MinBy(static setting => setting.Origin);
        return given is { Text: { } text }
            ? await PasswordAsync(given.Definition.Key["keystore-".Length..], text, cancellationToken).ConfigureAwait(false)
            : settings.Environment("BACKUPIQ_KEYSTORE_PASSWORD") is { } plain ? SecretSource.FirstLine(Encoding.UTF8.GetBytes(plain), "BACKUPIQ_KEYSTORE_PASSWORD")
            : Ask("keystore password: ", isNew, "Give --keystore-password-file, --keystore-password-command or --keystore-password-from, or set BACKUPIQ_KEYSTORE_PASSWORD_FILE.");
    }

    // A local keystore has a password and a log of its own; other services know who asks otherwise.
    private async Task<RepositorySecrets> WithServiceAsync(string kms, CancellationToken cancellationToken) => BackupIqKeystore.LocalPath(kms) is null
        ? new RepositorySecrets { Kms = kms, KeyLog = settings.Folders.KeyLog }
        : new RepositorySecrets { Kms = kms, KeystorePassword = await KeystorePasswordAsync(cancellationToken).ConfigureAwait(false) };

    private bool HasKeystorePassword() =>
        settings.Get("keystore-password-file").Text is not null || settings.Get("keystore-password-command").Text is not null
        || settings.Get("keystore-password-from").Text is not null || settings.Environment("BACKUPIQ_KEYSTORE_PASSWORD") is not null;

    private bool HasPassword() =>
        settings.Get("password-file").Text is not null || settings.Get("password-command").Text is not null || settings.Get("password-from").Text is not null
        || settings.Environment("BACKUPIQ_PASSWORD") is not null;

    private async Task<RepositorySecrets?> ConfiguredAsync(CancellationToken cancellationToken)
    {
        foreach (SettingOrigin level in (SettingOrigin[])[SettingOrigin.Flag, SettingOrigin.Environment, SettingOrigin.File])
        {
            SettingValue[] given =
                [.. new[] { "key-file", "password-file", "password-command", "password-from", "kms" }.Select(settings.Get)
                    .Where(setting => setting.Origin == level && setting.Text is not null && !(AddsService && setting is { Definition.Key: "kms", Origin: SettingOrigin.Flag }))];
            string? plain = level == SettingOrigin.Environment ? settings.Environment("BACKUPIQ_PASSWORD") : null;
            if (given.Length + (plain is null ? 0 : 1) > 1)
            {
                string names = string.Join(" and ", given.Select(static setting => setting.Place).Concat(plain is null ? [] : ["BACKUPIQ_PASSWORD"]));
                throw new BackupIQException(ErrorCodes.Usage, $"Two secrets are given: {names}", "Give one.");
            }

            if (plain is not null)
            {
                return new RepositorySecrets { Password = SecretSource.FirstLine(Encoding.UTF8.GetBytes(plain), "BACKUPIQ_PASSWORD") };
            }

            if (given.Length == 1)
            {
                return await GivenAsync(given[0].Definition.Key, given[0].Text!, cancellationToken).ConfigureAwait(false);
            }
        }

        return null;
    }

    // What a flag, variable or setting of this kind says.
    private async Task<RepositorySecrets> GivenAsync(string kind, string value, CancellationToken cancellationToken) => kind switch
    {
        "key-file" => new RepositorySecrets { KeyFile = KeyFile(value) },
        "kms" => await WithServiceAsync(value, cancellationToken).ConfigureAwait(false),
        _ => new RepositorySecrets { Password = await PasswordAsync(kind, value, cancellationToken).ConfigureAwait(false) },
    };

    private async Task<Secret> PasswordAsync(string kind, string value, CancellationToken cancellationToken) => kind switch
    {
        "password-file" => PasswordFile(value),
        "password-from" => await BackupIqSecrets.ReadAsync(value, host.Time, cancellationToken).ConfigureAwait(false),
        _ => SecretSource.RunCommand(value),
    };

    private RepositorySecrets? DefaultKey(string url) =>
        BackupIqRepository.LocalPath(url) == settings.Folders.DefaultRepository && File.Exists(settings.Folders.DefaultKeyFile)
            ? new RepositorySecrets { KeyFile = KeyFile(settings.Folders.DefaultKeyFile) }
            : null;

    private Secret Ask(
        string prompt,
        bool twice,
        string cure = "Give --password-file, --password-command, --password-from, --key-file or --kms, or set BACKUPIQ_PASSWORD_FILE or BACKUPIQ_KEY_FILE.")
    {
        if (!host.IsInteractive || arguments.Has("--no-input"))
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "No password or key file is given, and there is no terminal to ask on", cure);
        }

        string first = Prompt(prompt);
        if (twice && Prompt("once more: ") != first)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The two passwords differ", "Run again and type the same password twice.");
        }

        return SecretSource.FirstLine(Encoding.UTF8.GetBytes(first), "the terminal");
    }

    private string Prompt(string text)
    {
        host.Error.Write(text);
        host.Error.Flush();
        string? line = host.ReadHidden();
        host.Error.WriteLine();
        return line ?? throw new BackupIQException(ErrorCodes.SecretUnavailable, "No password was typed");
    }

    private static Secret KeyFile(string path) => Wrap(SecretSource.ReadFile(path, "key file"));

    private static Secret PasswordFile(string path) => SecretSource.FirstLine(SecretSource.ReadFile(path, "password file"), path);

    private static Secret Wrap(byte[] bytes)
    {
        Secret secret = new(bytes);
        CryptographicOperations.ZeroMemory(bytes);
        return secret;
    }
}
