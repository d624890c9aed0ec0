using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Jobs.Composition;

/// <summary>Finds the key service that a URL names: the one place where they are chosen.</summary>
internal static class KeyProviderLocator
{
    private const string LocalScheme = "local:";

    /// <summary>The file of the local keystore that the URL names, or null where it names another service.</summary>
    public static string? LocalPath(string url)
    {
        int mark = url.LastIndexOf('#');
        string path = url.StartsWith(LocalScheme, StringComparison.Ordinal) ? url[LocalScheme.Length..(mark < 0 ? url.Length : mark)] : "";
        return path.Length == 0 ? null : Path.GetFullPath(path);
    }

    /// <summary>The key that the secrets name, or null where they name none. The caller disposes it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL names no key service that this version has; or the service refuses.</exception>
    public static async Task<IKeyProvider?> OpenAsync(RepositorySecrets secrets, TimeProvider time, CancellationToken cancellationToken)
    {
        if (secrets.Kms is not { } url)
        {
            return null;
        }

        if (LocalPath(url) is not { } path)
        {
            throw new BackupIQException(
                ErrorCodes.Usage, "This version knows local keystores only as key services", "Give --kms local:FILE or local:FILE#KEY.").With("kms", url);
        }

        if (secrets.KeystorePassword is not { } password)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The keystore needs its password", "Give --keystore-password-file or --keystore-password-command.");
        }

        int mark = url.LastIndexOf('#');
        LocalKeystore keystore = await LocalKeystore.OpenAsync(path, password, time, cancellationToken).ConfigureAwait(false);
        try
        {
            return keystore.Provide(mark < 0 ? LocalKeystore.DefaultKey : url[(mark + 1)..]);
        }
        catch
        {
            keystore.Dispose();
            throw;
        }
    }
}
