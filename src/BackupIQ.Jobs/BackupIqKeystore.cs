using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Jobs;

/// <summary>A key of a keystore.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsEnabled">Whether it may be used.</param>
/// <param name="Version">Its newest version: that wraps, older ones only unwrap.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Rotated">When its newest version was made.</param>
public sealed record KeystoreKeyState(string Name, bool IsEnabled, int Version, DateTimeOffset Created, DateTimeOffset Rotated);

/// <summary>
/// A key service of one's own: an encrypted file with named keys that open repositories (<see cref="RepositorySecrets.Kms"/>), and a log beside
/// it that has a line for every use. Dispose it to wipe what opened it.
/// </summary>
/// <example>
/// <code>
/// using Secret password = new("of the keystore"u8);
/// using BackupIqKeystore keystore = await BackupIqKeystore.CreateAsync("/etc/backupiq/keystore", password, cancellationToken: cancellationToken);
/// await keystore.AddKeyAsync("photos", cancellationToken);
/// RepositorySecrets bySlot = new() { Kms = "local:/etc/backupiq/keystore#photos", KeystorePassword = password };
/// </code>
/// </example>
public sealed class BackupIqKeystore : IDisposable
{
    private readonly LocalKeystore _keystore;

    private BackupIqKeystore(LocalKeystore keystore) => _keystore = keystore;

    /// <summary>Its id, 32 hex digits; copies of the file have the same.</summary>
    public string Id => _keystore.Id.ToString();

    /// <summary>The file with its log.</summary>
    public string LogPath => _keystore.LogPath;

    /// <summary>The file of the keystore that a URL names (<see cref="RepositorySecrets.Kms"/>), or null where it names another service.</summary>
    public static string? LocalPath(string url) => KeyProviderLocator.LocalPath(url);

    /// <summary>Makes a keystore with the key <c>default</c>; nothing may be there.</summary>
    public static async Task<BackupIqKeystore> CreateAsync(
        string path, Secret password, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        new(await LocalKeystore.CreateAsync(path, password, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false));

    /// <summary>Opens a keystore.</summary>
    /// <exception cref="BackupIQException"><c>KeyNotFound</c>, <c>Authentication</c>, <c>KeyDamaged</c> or <c>KeyService</c>.</exception>
    public static async Task<BackupIqKeystore> OpenAsync(
        string path, Secret password, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        new(await LocalKeystore.OpenAsync(path, password, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false));

    /// <summary>Its keys, by name.</summary>
    public IReadOnlyList<KeystoreKeyState> ListKeys() => [.. _keystore.ListKeys().Select(Show)];

    /// <summary>Adds a key.</summary>
    public async Task<KeystoreKeyState> AddKeyAsync(string name, CancellationToken cancellationToken = default) =>
        Show(await _keystore.AddKeyAsync(name, cancellationToken).ConfigureAwait(false));

    /// <summary>Gives a key a new version. What older ones wrapped opens as before.</summary>
    public async Task<KeystoreKeyState> RotateKeyAsync(string name, CancellationToken cancellationToken = default) =>
        Show(await _keystore.RotateKeyAsync(name, cancellationToken).ConfigureAwait(false));

    /// <summary>Makes a key refuse to be used, or allows it again.</summary>
    public async Task<KeystoreKeyState> EnableKeyAsync(string name, bool isEnabled, CancellationToken cancellationToken = default) =>
        Show(await _keystore.EnableKeyAsync(name, isEnabled, cancellationToken).ConfigureAwait(false));

    /// <summary>Changes the password; the keys stay.</summary>
    public Task ChangePasswordAsync(Secret newPassword, CancellationToken cancellationToken = default) =>
        _keystore.ChangePasswordAsync(newPassword, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _keystore.Dispose();

    private static KeystoreKeyState Show(KeystoreKeyInfo key) => new(key.Name, key.IsEnabled, key.Version, key.Created, key.Rotated);
}
