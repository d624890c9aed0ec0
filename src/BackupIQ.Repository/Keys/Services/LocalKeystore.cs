using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>A key of a keystore as <c>keystore list</c> shows it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsEnabled">Whether it may be used.</param>
/// <param name="Version">Its newest version, which wraps.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Rotated">When its newest version was made.</param>
public sealed record KeystoreKeyInfo(string Name, bool IsEnabled, int Version, DateTimeOffset Created, DateTimeOffset Rotated);

/// <summary>
/// A key service of one's own: an encrypted file with several named keys, each with versions, and beside it a log (<c>FILE.log</c>) with a line
/// for every use, durable before the use has its effect. The file is read anew for each use, so that what another process disabled is refused
/// at once; changes are kept apart by a lock (<c>FILE.lock</c>) and put in the file's place as a whole. Opening costs one slow derivation.
/// </summary>
public sealed class LocalKeystore : IDisposable
{
    /// <summary>The key that is meant where none is named.</summary>
    public const string DefaultKey = "default";

    private const byte WrapFormat = 1;
    private const int WrapHead = 1 + sizeof(int) + Salt.Size;
    private const int MaxPlain = 4096;

    private readonly string _path;
    private readonly KeystoreLog _log;
    private readonly TimeProvider _time;
    private readonly byte[] _secret;
    private KdfParameters _kdf;

    private LocalKeystore(string path, KeystoreLog log, TimeProvider time, KeystoreHead fields, byte[] secret)
    {
        _path = path;
        _log = log;
        _time = time;
        _kdf = fields.Kdf;
        _secret = secret;
        Id = KeystoreFile.IdOf(fields);
    }

    /// <summary>The keystore's id; copies of the file have the same.</summary>
    public RepositoryId Id { get; }

    /// <summary>Where its log is.</summary>
    public string LogPath => _log.Path;

    /// <summary>Whether text may name a key: letters, digits, <c>.</c>, <c>-</c>, <c>_</c>; at most 64.</summary>
    public static bool IsName(string text) =>
        text.Length is > 0 and <= 64 && !text.Any(static c => !char.IsAsciiLetterOrDigit(c) && c is not ('.' or '-' or '_'));

    /// <summary>Makes a keystore with the key <see cref="DefaultKey"/>, for its owner alone (0600).</summary>
    /// <exception cref="BackupIQException"><c>Configuration</c>: something is there. <c>Validation</c>: the password is empty. <c>KeyService</c>.</exception>
    public static async Task<LocalKeystore> CreateAsync(string path, Secret password, TimeProvider time, CancellationToken cancellationToken) =>
        await CreateAsync(path, password, KdfParameters.NewScrypt(), time, cancellationToken).ConfigureAwait(false);

    /// <summary>The same with parameters of their own, for tests that make many.</summary>
    internal static async Task<LocalKeystore> CreateAsync(
        string path, Secret password, KdfParameters kdf, TimeProvider time, CancellationToken cancellationToken)
    {
        Credentials.RequirePassword(password);
        path = Path.GetFullPath(path);
        KeystoreHead fields = new() { Format = KeystoreHead.CurrentFormat, Keystore = RepositoryId.New().ToString(), Salt = NewSalt(), Kdf = kdf };
        byte[] secret = kdf.Derive(password.Bytes);
        LocalKeystore made = new(path, new KeystoreLog(path + ".log", time), time, fields, secret);
        try
        {
            await using FileStream held = await KeystoreLock.TakeAsync(path, time, cancellationToken).ConfigureAwait(false);
            if (Path.Exists(path))
            {
                throw new BackupIQException(ErrorCodes.Configuration, "The file is already there and is not overwritten", "Choose another file.").With("file", path);
            }

            KeystoreContent content = new() { Keys = [NewKey(DefaultKey, time.GetUtcNow())] };
            made.Log("create", null, DefaultKey, 1, null);
            made.Write(fields, content, secret);
            Wipe(content);
            return made;
        }
        catch
        {
            made.Dispose();
            throw;
        }
    }

    /// <summary>Opens a keystore. A wrong password leaves a line in its log.</summary>
    /// <exception cref="BackupIQException">
    /// <c>KeyNotFound</c>: there is no such file. <c>Authentication</c>: the password is another's. <c>KeyDamaged</c>. <c>KeyService</c>: it
    /// cannot be read or its log cannot be written, without which no key is used.
    /// </exception>
    public static async Task<LocalKeystore> OpenAsync(string path, Secret password, TimeProvider time, CancellationToken cancellationToken)
    {
        path = Path.GetFullPath(path);
        path = File.Exists(path) ? new FileInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path : path;
        (KeystoreHead fields, byte[] head, byte[] body) = KeystoreFile.Parse(ReadFile(path));
        KeystoreLog log = new(path + ".log", time);
        byte[] secret = fields.Kdf.Derive(password.Bytes);
        LocalKeystore opened = new(path, log, time, fields, secret);
        try
        {
            if (KeystoreFile.Open(fields, head, body, secret) is { } content)
            {
                Wipe(content);
                return opened;
            }

            await using FileStream held = await KeystoreLock.TakeAsync(path, time, cancellationToken).ConfigureAwait(false);
            opened.Log("open", "wrong password", null, null, null);
            throw new BackupIQException(ErrorCodes.Authentication, "The password does not open the keystore.", "Check the keystore's password.").With("file", path);
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>The keys, by name.</summary>
    public IReadOnlyList<KeystoreKeyInfo> ListKeys()
    {
        KeystoreContent content = Read().Content;
        Wipe(content);
        return [.. content.Keys.Select(Info).OrderBy(static key => key.Name, StringComparer.Ordinal)];
    }

    /// <summary>Adds a key.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: the name is none, or taken.</exception>
    public Task<KeystoreKeyInfo> AddKeyAsync(string name, CancellationToken cancellationToken) => ChangeAsync("add", name, key =>
        key is null ? NewKey(RequireName(name), _time.GetUtcNow())
            : throw new BackupIQException(ErrorCodes.Validation, $"There is a key '{name}' already."), cancellationToken);

    /// <summary>Gives a key a new version, which wraps from now on; what older ones wrapped unwraps as before.</summary>
    public Task<KeystoreKeyInfo> RotateKeyAsync(string name, CancellationToken cancellationToken) => ChangeAsync("rotate", name, key =>
        Known(key, name) with { Versions = [.. key!.Versions, NewVersion(key.Versions[^1].Version + 1, _time.GetUtcNow())] }, cancellationToken);

    /// <summary>Makes a key refuse to be used, or allows it again; nothing of it is lost.</summary>
    public Task<KeystoreKeyInfo> EnableKeyAsync(string name, bool isEnabled, CancellationToken cancellationToken) => ChangeAsync(
        isEnabled ? "enable" : "disable", name, key => Known(key, name) with { Disabled = isEnabled ? null : true }, cancellationToken);

    /// <summary>Puts a new password in the place of the old one; the keys stay.</summary>
    public async Task ChangePasswordAsync(Secret newPassword, CancellationToken cancellationToken)
    {
        Credentials.RequirePassword(newPassword);
        KdfParameters kdf = KdfParameters.NewScrypt();
        byte[] secret = kdf.Derive(newPassword.Bytes);
        await using FileStream held = await KeystoreLock.TakeAsync(_path, _time, cancellationToken).ConfigureAwait(false);
        (KeystoreHead fields, KeystoreContent content) = Read();
        try
        {
            Log("passwd", null, null, null, null);
            Write(fields with { Kdf = kdf, Salt = NewSalt() }, content, secret);
            secret.CopyTo(_secret, 0);
            _kdf = kdf;
        }
        finally
        {
            Wipe(content);
            CryptographicOperations.ZeroMemory(secret);
        }
    }

    /// <summary>The key of that name as repositories use it; it stays this keystore's, and disposing the provider disposes the keystore.</summary>
    public IKeyProvider Provide(string name) => new Provider(this, RequireName(name));

    /// <inheritdoc/>
    public void Dispose() => CryptographicOperations.ZeroMemory(_secret);

    private static string RequireName(string name) => IsName(name)
        ? name
        : throw new BackupIQException(ErrorCodes.Validation, "The name of a key has letters, digits, '.', '-' and '_', at most 64.");

    private static string NewSalt() => RandomNumberGenerator.GetHexString(2 * Salt.Size, lowercase: true);

    private static KeystoreKey NewKey(string name, DateTimeOffset now) => new() { Name = name, Created = now, Versions = [NewVersion(1, now)] };

    private static KeystoreVersion NewVersion(int number, DateTimeOffset now) =>
        new() { Version = number, Created = now, Key = RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize) };

    private static KeystoreKeyInfo Info(KeystoreKey key) =>
        new(key.Name, key.Disabled != true, key.Versions[^1].Version, key.Created, key.Versions[^1].Created);

    private static KeystoreKey Known(KeystoreKey? key, string name) =>
        key ?? throw new BackupIQException(ErrorCodes.KeyNotFound, $"The keystore has no key '{name}'.");

    private static void Wipe(KeystoreContent content)
    {
        foreach (KeystoreVersion version in content.Keys.SelectMany(static key => key.Versions))
        {
            CryptographicOperations.ZeroMemory(version.Key);
        }
    }

    private static byte[] ReadFile(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            var bytes = new byte[HeadedObject.MaxSize + 1];
            return bytes[..file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BackupIQException(ErrorCodes.KeyNotFound, "There is no keystore.", "Make one with 'backupiq keystore create FILE'.", e).With("file", path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw KeystoreLock.Unusable("The keystore cannot be read", path, e);
        }
    }

    private (KeystoreHead Fields, KeystoreContent Content) Read()
    {
        (KeystoreHead fields, byte[] head, byte[] body) = KeystoreFile.Parse(ReadFile(_path));
        return fields.Kdf.IsSameAs(_kdf) && KeystoreFile.Open(fields, head, body, _secret) is { } content
            ? (fields, content)
            : throw new BackupIQException(ErrorCodes.Authentication, "The keystore's password was changed meanwhile.", "Open it again.").With("file", _path);
    }

    private void Write(KeystoreHead fields, KeystoreContent content, byte[] secret)
    {
        byte[] bytes = KeystoreFile.Seal(fields, content, secret);
        try
        {
            DurableFile.Replace(_path, bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw KeystoreLock.Unusable("The keystore cannot be written", _path, e);
        }
    }

    private void Log(string operation, string? reason, string? key, int? version, KeyContext? context)
    {
        try
        {
            _log.Add(operation, reason, key, version, context);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw KeystoreLock.Unusable("The keystore's log cannot be written, and no key is used without a line in it", _log.Path, e);
        }
    }

    private async Task<KeystoreKeyInfo> ChangeAsync(string operation, string name, Func<KeystoreKey?, KeystoreKey> change, CancellationToken cancellationToken)
    {
        await using FileStream held = await KeystoreLock.TakeAsync(_path, _time, cancellationToken).ConfigureAwait(false);
        (KeystoreHead fields, KeystoreContent content) = Read();
        KeystoreContent? next = null;
        try
        {
            KeystoreKey changed = change(content.Keys.FirstOrDefault(key => key.Name == name));
            next = content with { Keys = [.. content.Keys.Where(key => key.Name != name), changed] };
            Log(operation, null, name, changed.Versions[^1].Version, null);
            Write(fields with { Salt = NewSalt() }, next, _secret);
            return Info(changed);
        }
        finally
        {
            Wipe(content);
            if (next is not null)
            {
                Wipe(next);
            }
        }
    }

    // A key's use: refused or done, its line in the log is durable before anybody has what came of it.
    private async Task<T> UseAsync<T>(
        string operation, string name, KeyContext context, Func<KeystoreKey, (T? Result, int Version)> use, CancellationToken cancellationToken)
        where T : class
    {
        await using FileStream held = await KeystoreLock.TakeAsync(_path, _time, cancellationToken).ConfigureAwait(false);
        KeystoreContent content = Read().Content;
        try
        {
            KeystoreKey? key = content.Keys.FirstOrDefault(key => key.Name == name);
            if (key is null || key.Disabled == true)
            {
                Log(operation, key is null ? "no such key" : "disabled", name, null, context);
                throw key is null
                    ? new BackupIQException(ErrorCodes.KeyNotFound, $"The keystore has no key '{name}'.").With("file", _path)
                    : new BackupIQException(
                        ErrorCodes.KeyDisabled, $"Key '{name}' is disabled.", $"'backupiq keystore enable FILE {name}' allows it again; or open the repository another way.")
                        .With("file", _path);
            }

            (T? result, int version) = use(key);
            Log(operation, result is null ? "does not unwrap" : null, name, version, context);
            return result ?? throw new BackupIQException(
                ErrorCodes.KeyDamaged, $"Key '{name}' does not unwrap what it was given: it is damaged, or was wrapped by another key or for something else.");
        }
        finally
        {
            Wipe(content);
        }
    }

    private byte[] Wrap(KeystoreKey key, ReadOnlySpan<byte> plain, KeyContext context)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Length, MaxPlain);
        KeystoreVersion version = key.Versions[^1];
        var wrapped = new byte[WrapHead + plain.Length + FrameCipher.TagSize];
        wrapped[0] = WrapFormat;
        BinaryPrimitives.WriteInt32LittleEndian(wrapped.AsSpan(1), version.Version);
        Salt.New().Write(wrapped.AsSpan(1 + sizeof(int)));
        using FrameCipher cipher = CipherOf(version, wrapped);
        cipher.Seal(0, plain, AssociatedData(key.Name, context), wrapped.AsSpan(WrapHead));
        return wrapped;
    }

    private (Secret? Plain, int Version) Unwrap(KeystoreKey key, byte[] wrapped, KeyContext context)
    {
        if (wrapped.Length is < WrapHead + FrameCipher.TagSize or > WrapHead + MaxPlain + FrameCipher.TagSize || wrapped[0] != WrapFormat)
        {
            return (null, 0);
        }

        int number = BinaryPrimitives.ReadInt32LittleEndian(wrapped.AsSpan(1));
        if (key.Versions.FirstOrDefault(version => version.Version == number) is not { } found)
        {
            return (null, number);
        }

        byte[] plain = GC.AllocateArray<byte>(wrapped.Length - WrapHead - FrameCipher.TagSize, pinned: true);
        using FrameCipher cipher = CipherOf(found, wrapped);
        Secret? secret = cipher.TryOpen(0, wrapped.AsSpan(WrapHead), AssociatedData(key.Name, context), plain) ? new Secret(plain) : null;
        CryptographicOperations.ZeroMemory(plain);
        return (secret, number);
    }

    private FrameCipher CipherOf(KeystoreVersion version, ReadOnlySpan<byte> wrapped)
    {
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        KeyLabels.Derive(version.Key, wrapped[(1 + sizeof(int))..WrapHead], KeyLabels.KeystoreWrap, Id, key);
        FrameCipher cipher = new(key);
        CryptographicOperations.ZeroMemory(key);
        return cipher;
    }

    private static byte[] AssociatedData(string key, KeyContext context) =>
        Encoding.UTF8.GetBytes(string.Concat(context.Pairs.Prepend(new("key", key)).Select(static pair => $"{pair.Key}={pair.Value}\n")));

    private sealed class Provider(LocalKeystore keystore, string name) : IKeyProvider
    {
        public string Service => $"local:{keystore.Id}";

        public string Key => name;

        public Task<KeyState> DescribeAsync(CancellationToken cancellationToken)
        {
            KeystoreKeyInfo key = keystore.ListKeys().FirstOrDefault(key => key.Name == name)
                ?? throw new BackupIQException(ErrorCodes.KeyNotFound, $"The keystore has no key '{name}'.").With("file", keystore._path);
            return Task.FromResult(new KeyState(key.IsEnabled, key.Rotated));
        }

        public async Task<GeneratedKey> GenerateAsync(KeyContext context, CancellationToken cancellationToken)
        {
            Secret plain = Secret.Random(RepositoryKeys.KeySize);
            byte[] wrapped = await keystore.UseAsync(
                "generate", name, context, key => (keystore.Wrap(key, plain.Bytes, context), key.Versions[^1].Version), cancellationToken).ConfigureAwait(false);
            return new GeneratedKey(plain, wrapped);
        }

        public Task<byte[]> WrapAsync(Secret plain, KeyContext context, CancellationToken cancellationToken) => keystore.UseAsync(
            "wrap", name, context, key => (keystore.Wrap(key, plain.Bytes, context), key.Versions[^1].Version), cancellationToken);

        public Task<Secret> UnwrapAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken) =>
            keystore.UseAsync("unwrap", name, context, key => keystore.Unwrap(key, wrapped, context), cancellationToken);

        public ValueTask DisposeAsync()
        {
            keystore.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
