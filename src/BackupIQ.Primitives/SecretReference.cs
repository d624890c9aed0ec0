namespace BackupIQ.Primitives;

/// <summary>
/// Names a secret without holding it: <c>env:NAME</c>, <c>file:PATH</c>, <c>cmd:COMMAND</c>, <c>systemd:NAME</c> (a credential of the service),
/// <c>vault:MOUNT/PATH#FIELD</c> and <c>aws-secretsmanager:ID#FIELD</c>. It may stand in a URL, a configuration file or the list of processes.
/// </summary>
public sealed record SecretReference
{
    private const string Env = "env";
    private const string File = "file";
    private const string Cmd = "cmd";
    private const string Systemd = "systemd";

    /// <summary>The scheme of a secret in Vault's key-value engine.</summary>
    public const string Vault = "vault";

    /// <summary>The scheme of a secret in AWS Secrets Manager.</summary>
    public const string AwsSecretsManager = "aws-secretsmanager";

    private static readonly string[] Schemes = [Env, File, Cmd, Systemd, Vault, AwsSecretsManager];

    private SecretReference(string scheme, string place, string? field)
    {
        Scheme = scheme;
        Place = place;
        Field = field;
    }

    /// <summary>Which of the six it is.</summary>
    public string Scheme { get; }

    /// <summary>What stands behind the scheme: a name, a path, a command.</summary>
    public string Place { get; }

    /// <summary>Which field of the secret; null where the scheme has none, or the whole is meant.</summary>
    public string? Field { get; }

    /// <summary>Whether it is fetched from a server: not by <see cref="Read"/>.</summary>
    public bool IsRemote => Scheme is Vault or AwsSecretsManager;

    /// <summary>Takes a reference apart.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none. What was given is not shown: it may be the secret itself.</exception>
    public static SecretReference Parse(string text)
    {
        int colon = text.IndexOf(':');
        string scheme = colon < 0 ? "" : text[..colon];
        string place = text[(colon + 1)..];
        if (!Schemes.Contains(scheme, StringComparer.Ordinal) || place.Length == 0 || place.Any(char.IsControl))
        {
            throw Wrong("What is given as a reference to a secret is none");
        }

        int mark = scheme is Vault or AwsSecretsManager ? place.LastIndexOf('#') : -1;
        string? field = mark < 0 ? null : place[(mark + 1)..];
        place = mark < 0 ? place : place[..mark];
        return scheme switch
        {
            Systemd when place.Contains('/') || place[0] == '.' => throw Wrong("A systemd credential is named without a path"),
            Vault when string.IsNullOrEmpty(field) || !place.Contains('/') => throw Wrong("A secret in Vault is named with its mount, path and field"),
            AwsSecretsManager when field is "" || place.Length == 0 => throw Wrong("A secret in AWS Secrets Manager is named by its id, and a field behind '#' where it has several"),
            _ => new SecretReference(scheme, place, field),
        };
    }

    /// <summary>Reads a secret of this machine: the first line, without its end. The caller disposes it.</summary>
    /// <param name="environment">Reads a variable.</param>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: it is not there, empty, or a file that others may read.</exception>
    /// <exception cref="InvalidOperationException">It is on a server (<see cref="IsRemote"/>).</exception>
    public Secret Read(Func<string, string?> environment) => Scheme switch
    {
        Env => environment(Place) is { Length: > 0 } value
            ? SecretSource.FirstLine(System.Text.Encoding.UTF8.GetBytes(value), ToString())
            : throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The variable {Place} is not set", "Set it, or name another place of the secret."),
        File => SecretSource.FirstLine(SecretSource.ReadFile(Place, "secret's file", mustBePrivate: true), Place),
        Cmd => SecretSource.RunCommand(Place),
        Systemd => environment("CREDENTIALS_DIRECTORY") is { Length: > 0 } folder
            ? SecretSource.FirstLine(SecretSource.ReadFile(System.IO.Path.Combine(folder, Place), "systemd credential"), ToString())
            : throw new BackupIQException(
                ErrorCodes.SecretUnavailable, $"There are no systemd credentials, so no '{Place}'", "Run as a service with LoadCredential= or LoadCredentialEncrypted= in its unit."),
        _ => throw new InvalidOperationException("The secret is on a server."),
    };

    /// <summary>The reference for messages; of a command its first word only, for the others may be secrets.</summary>
    public override string ToString() =>
        Scheme == Cmd ? $"{Cmd}:{CommandWords.Split(Place).FirstOrDefault("")}" : $"{Scheme}:{Place}{(Field is null ? "" : "#" + Field)}";

    private static BackupIQException Wrong(string message) => new(
        ErrorCodes.Usage, message, "Write env:NAME, file:PATH, cmd:COMMAND, systemd:NAME, vault:MOUNT/PATH#FIELD or aws-secretsmanager:ID#FIELD.");
}
