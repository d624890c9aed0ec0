using BackupIQ.Keys.Remote.Aws;
using BackupIQ.Keys.Remote.Azure;
using BackupIQ.Keys.Remote.Google;
using BackupIQ.Keys.Remote.Pkcs11;
using BackupIQ.Keys.Remote.Vault;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Keys.Remote;

/// <summary>Finds the key that a URL names in a key service outside of BackupIQ; docs/keys-kms.md is the manual of the URLs.</summary>
public static class RemoteKeys
{
    private static readonly string[] Schemes = ["local", Pkcs11Uri.Scheme, VaultTransitKey.Scheme, AwsKmsKey.Scheme, AzureKeyVaultKey.Scheme, GoogleKmsKey.Scheme];

    /// <summary>The key. Nothing is asked of the service yet. The caller disposes it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL names none, or has an option that is wrong. <c>SecretUnavailable</c>.</exception>
    public static IKeyProvider Open(string url, Func<string, string?> environment, TimeProvider time)
    {
        int colon = url.IndexOf(':');
        string scheme = colon < 0 ? "" : url[..colon].ToLowerInvariant();
        return scheme switch
        {
            Pkcs11Uri.Scheme => Pkcs11Key.Open(Pkcs11Uri.Parse(url), environment, time),
            VaultTransitKey.Scheme => VaultTransitKey.Open(url, environment, time),
            AwsKmsKey.Scheme => AwsKmsKey.Open(url, environment, time),
            AzureKeyVaultKey.Scheme => AzureKeyVaultKey.Open(url, environment, time),
            GoogleKmsKey.Scheme => GoogleKmsKey.Open(url, environment, time),
            _ => throw Unknown(scheme),
        };
    }

    private static BackupIQException Unknown(string scheme)
    {
        string near = Suggestion.Nearest(scheme, Schemes) is { } meant ? $"; did you mean '{meant}:'?" : "";
        return new BackupIQException(
            ErrorCodes.Usage, $"--kms names no key service that this version has{near}", $"It begins with one of: {string.Join(", ", Schemes.Select(static name => name + ":"))}; docs/keys-kms.md has an example of each.");
    }
}
