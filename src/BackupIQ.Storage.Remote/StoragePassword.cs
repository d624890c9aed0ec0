using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>
/// The password of an account at a storage: the option <c>password-file</c> or <c>password-command</c> of its URL, else the variable
/// <c>BACKUPIQ_…_PASSWORD</c>. Never in the URL itself.
/// </summary>
internal static class StoragePassword
{
    /// <summary>The options of the URL.</summary>
    public static readonly IReadOnlyList<string> Options = ["password-file", "password-command"];

    /// <summary>The password, or null where none is given.</summary>
    /// <param name="url">The storage.</param>
    /// <param name="variable">The variable's name.</param>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: a file or command failed. <c>Usage</c>: both are given.</exception>
    public static string? Find(StorageUrl url, string variable)
    {
        string? file = url.Text("password-file");
        string? command = url.Text("password-command");
        if (file is not null && command is not null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "The storage's URL has both password-file and password-command", "Give one of them.");
        }

        if (file is null && command is null)
        {
            return Environment.GetEnvironmentVariable(variable) is { Length: > 0 } plain ? plain : null;
        }

        using Secret secret = file is not null ? SecretSource.FirstLine(SecretSource.ReadFile(file, "password file"), file) : SecretSource.RunCommand(command!);
        return Encoding.UTF8.GetString(secret.Bytes);
    }
}
