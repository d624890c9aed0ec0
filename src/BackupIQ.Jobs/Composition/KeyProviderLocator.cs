using System.Runtime.CompilerServices;
using BackupIQ.Keys.Remote;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Jobs.Composition;

/// <summary>Finds the key service that a URL names: the one place where they are chosen. What is not a local keystore is in its own assembly.</summary>
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
    public static async Task<IKeyProvider?> OpenAsync(RepositorySecrets secrets, TimeProvider time, CancellationToken cancellationToken) => secrets.Kms switch
    {
        null => null,
        { } url when LocalPath(url) is { } path => await OpenLocalAsync(url, path, secrets, time, cancellationToken).ConfigureAwait(false),
        { } url => OpenRemote(url, secrets.KeyLog, time),
    };

    private static async Task<IKeyProvider> OpenLocalAsync(string url, string path, RepositorySecrets secrets, TimeProvider time, CancellationToken cancellationToken)
    {
        if (secrets.KeystorePassword is not { } password)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The keystore needs its password", "Give --keystore-password-file, --keystore-password-command or --keystore-password-from.");
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

    // Apart, so that who uses no such service loads nothing of it.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static IKeyProvider OpenRemote(string url, string? log, TimeProvider time)
    {
        IKeyProvider key = RemoteKeys.Open(url, Environment.GetEnvironmentVariable, time);
        return log is null ? key : new LoggedKeyProvider(key, log, time);
    }
}
