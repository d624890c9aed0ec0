using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Storage.Remote;

/// <summary>
/// The password of an account at a storage: the option <c>password-file</c>, <c>password-command</c> or <c>password-from</c> (a reference) of its URL,
/// else the variable <c>BACKUPIQ_…_PASSWORD</c>. Never in the URL itself.
/// </summary>
internal static class StoragePassword
{
    /// <summary>The options of the URL.</summary>
    public static readonly IReadOnlyList<string> Options = ["password-file", "password-command", "password-from"];

    /// <summary>The password, read now, or null where none is given.</summary>
    /// <param name="url">The storage.</param>
    /// <param name="variable">The variable's name.</param>
    /// <param name="time">For stores of secrets.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: a file, command or store failed. <c>Usage</c>: two are given.</exception>
    public static async Task<string?> FindAsync(StorageUrl url, string variable, TimeProvider time, CancellationToken cancellationToken)
    {
        string[] given = [.. Options.Where(name => url.Text(name) is not null)];
        if (given.Length > 1)
        {
            throw new BackupIQException(ErrorCodes.Usage, $"The storage's URL has both {given[0]} and {given[1]}", "Give one of them.");
        }

        if (given is not [{ } option])
        {
            return Environment.GetEnvironmentVariable(variable) is { Length: > 0 } plain ? plain : null;
        }

        string text = url.Text(option)!;
        using Secret secret = option switch
        {
            "password-file" => SecretSource.FirstLine(SecretSource.ReadFile(text, "password file"), text),
            "password-command" => SecretSource.RunCommand(text),
            _ => await SecretStores.ReadAsync(SecretReference.Parse(text), Environment.GetEnvironmentVariable, time, cancellationToken).ConfigureAwait(false),
        };
        return Encoding.UTF8.GetString(secret.Bytes);
    }
}
