using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>Reads secrets that are named by reference, wherever they are: the one place where stores of secrets are chosen.</summary>
public static class SecretStores
{
    /// <summary>The secret, read now. The caller disposes it.</summary>
    /// <exception cref="BackupIQException">
    /// <c>SecretUnavailable</c>: it is not there. <c>KeyServiceAuthentication</c>, <c>Authorization</c>: a store does not know who asks, or
    /// refuses. <c>KeyService</c>: it cannot be reached.
    /// </exception>
    public static async Task<Secret> ReadAsync(SecretReference reference, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken) =>
        reference.Scheme switch
        {
            SecretReference.Vault => await VaultKeyValue.ReadAsync(reference, environment, time, cancellationToken).ConfigureAwait(false),
            SecretReference.AwsSecretsManager => await AwsSecretsManager.ReadAsync(reference, environment, time, cancellationToken).ConfigureAwait(false),
            _ => reference.Read(environment),
        };
}
