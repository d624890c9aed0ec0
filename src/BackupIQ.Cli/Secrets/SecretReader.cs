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
    public RepositorySecrets ForOpening(string url)
    {
        if (arguments.Value("--recovery-kit") is { } kit)
        {
            return new RepositorySecrets { RecoveryKit = Encoding.UTF8.GetString(SecretSource.ReadFile(kit, "recovery kit")) };
        }

        return Configured() ?? DefaultKey(url) ?? new RepositorySecrets { Password = Ask("password: ", twice: false) };
    }

    /// <summary>Whether <see cref="ForOpening"/> finds a secret without asking anybody.</summary>
    public bool IsAtHand(string url) =>
        arguments.Has("--recovery-kit")
        || settings.Get("key-file").Text is not null
        || HasPassword()
        || (settings.Get("kms").Text is not null && HasKeystorePassword())
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
    public RepositorySecrets ForCreating(Action<string> onKeyMade)
    {
        SettingValue keyFile = settings.Get("key-file");
        if (keyFile.Text is { } path && !File.Exists(path) && (keyFile.Origin == SettingOrigin.Flag || !HasPassword()))
        {
            PrivateFile.Write(path, RandomNumberGenerator.GetBytes(64));
            onKeyMade(path);
        }

        return Configured() ?? new RepositorySecrets { Password = Ask("password for the new repository: ", twice: true) };
    }

    /// <summary>A secret to add or to change to: only the flags that begin with <c>--new-</c> count, else it is asked for.</summary>
    public RepositorySecrets ForAdding() => ForOther("new-", "new password: ", twice: true);

    /// <summary>
    /// A secret beside that of the repository: the flags that begin with <paramref name="prefix"/>, then the variables that are called likewise
    /// (<c>BACKUPIQ_FROM_PASSWORD_FILE</c>), then the default repository's own key file where <paramref name="url"/> is that; else it is asked for.
    /// </summary>
    public RepositorySecrets ForOther(string prefix, string prompt, bool twice = false, string? url = null)
    {
        foreach (Func<string, string?> read in (Func<string, string?>[])[arguments.Value, FromEnvironment])
        {
            foreach (string kind in (string[])["kms", "key-file", "password-file", "password-command"])
            {
                if (read($"--{prefix}{kind}") is { } value)
                {
                    return Given(kind, value);
                }
            }
        }

        return FromEnvironment($"--{prefix}password") is { } plain ? new RepositorySecrets { Password = SecretSource.FirstLine(Encoding.UTF8.GetBytes(plain), $"--{prefix}password") }
            : (url is null ? null : DefaultKey(url)) ?? new RepositorySecrets
            {
                Password = Ask(prompt, twice, $"Give --{prefix}password-file, --{prefix}password-command or --{prefix}key-file."),
            };
    }

    private string? FromEnvironment(string flag) => settings.Environment("BACKUPIQ_" + flag[2..].Replace('-', '_').ToUpperInvariant());

    /// <summary>Whether <c>--kms</c> names what is to be added, not what opens.</summary>
    public bool AddsService { get; set; }

    /// <summary>
    /// The secret that <c>key add</c> adds: what the flags with <c>--new-</c> say; without one, the key that <c>--kms</c> names, which then does
    /// not open the repository.
    /// </summary>
    public RepositorySecrets ForAddingKey() => AddsService ? WithKeystore(arguments.Value("--kms")!) : ForAdding();

    /// <summary>The password of a keystore, which the flags, the environment or the configuration file tell, or somebody types.</summary>
    public Secret KeystorePassword(bool isNew = false)
    {
        SettingValue file = settings.Get("keystore-password-file");
        SettingValue command = settings.Get("keystore-password-command");
        return file.Text is not null && file.Origin <= command.Origin ? PasswordFile(file.Text)
            : command.Text is not null ? SecretSource.RunCommand(command.Text)
            : settings.Environment("BACKUPIQ_KEYSTORE_PASSWORD") is { } plain ? SecretSource.FirstLine(Encoding.UTF8.GetBytes(plain), "BACKUPIQ_KEYSTORE_PASSWORD")
            : Ask("keystore password: ", isNew, "Give --keystore-password-file or --keystore-password-command, or set BACKUPIQ_KEYSTORE_PASSWORD_FILE.");
    }

    private RepositorySecrets WithKeystore(string kms) => new() { Kms = kms, KeystorePassword = BackupIqKeystore.LocalPath(kms) is null ? null : KeystorePassword() };

    private bool HasKeystorePassword() =>
        settings.Get("keystore-password-file").Text is not null || settings.Get("keystore-password-command").Text is not null
        || settings.Environment("BACKUPIQ_KEYSTORE_PASSWORD") is not null;

    private bool HasPassword() =>
        settings.Get("password-file").Text is not null || settings.Get("password-command").Text is not null || settings.Environment("BACKUPIQ_PASSWORD") is not null;

    private RepositorySecrets? Configured()
    {
        foreach (SettingOrigin level in (SettingOrigin[])[SettingOrigin.Flag, SettingOrigin.Environment, SettingOrigin.File])
        {
            SettingValue[] given =
                [.. new[] { "key-file", "password-file", "password-command", "kms" }.Select(settings.Get)
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
                return Given(given[0].Definition.Key, given[0].Text!);
            }
        }

        return null;
    }

    // What a flag, variable or setting of this kind says.
    private RepositorySecrets Given(string kind, string value) => kind switch
    {
        "key-file" => new RepositorySecrets { KeyFile = KeyFile(value) },
        "kms" => WithKeystore(value),
        "password-file" => new RepositorySecrets { Password = PasswordFile(value) },
        _ => new RepositorySecrets { Password = SecretSource.RunCommand(value) },
    };

    private RepositorySecrets? DefaultKey(string url) =>
        BackupIqRepository.LocalPath(url) == settings.Folders.DefaultRepository && File.Exists(settings.Folders.DefaultKeyFile)
            ? new RepositorySecrets { KeyFile = KeyFile(settings.Folders.DefaultKeyFile) }
            : null;

    private Secret Ask(
        string prompt,
        bool twice,
        string cure = "Give --password-file, --password-command, --key-file or --kms, or set BACKUPIQ_PASSWORD_FILE or BACKUPIQ_KEY_FILE.")
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
