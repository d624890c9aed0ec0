using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Jobs;

/// <summary>
/// Secrets by reference: <c>env:NAME</c>, <c>file:PATH</c> (which others may not read), <c>cmd:COMMAND</c>, <c>systemd:NAME</c>,
/// <c>vault:MOUNT/PATH#FIELD</c>, <c>aws-secretsmanager:ID#FIELD</c>.
/// </summary>
/// <example>
/// <code>
/// using Secret password = await BackupIqSecrets.ReadAsync("systemd:backup-password", cancellationToken: cancellationToken);
/// RepositorySecrets mine = new() { Password = password };
/// </code>
/// </example>
public static class BackupIqSecrets
{
    /// <summary>Reads the secret now: its first line. The caller disposes it.</summary>
    /// <exception cref="BackupIQException">
    /// <c>Usage</c>: it is no reference. <c>SecretUnavailable</c>: the secret is not there. <c>KeyServiceAuthentication</c>, <c>Authorization</c>,
    /// <c>KeyService</c>: the store that holds it refuses, or cannot be reached.
    /// </exception>
    public static async Task<Secret> ReadAsync(string reference, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        SecretReference parsed = SecretReference.Parse(reference);
        return parsed.IsRemote
            ? await ReadRemoteAsync(parsed, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false)
            : parsed.Read(Environment.GetEnvironmentVariable);
    }

    // Apart, so that who uses no such store loads nothing of it.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Task<Secret> ReadRemoteAsync(SecretReference reference, TimeProvider time, CancellationToken cancellationToken) =>
        SecretStores.ReadAsync(reference, Environment.GetEnvironmentVariable, time, cancellationToken);
}
