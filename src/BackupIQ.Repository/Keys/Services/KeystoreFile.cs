using System.Security.Cryptography;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>
/// The bytes of a keystore: a <see cref="HeadedObject"/> whose body is {check 32, ciphertext, tag}. Of the password's derived key HKDF-SHA256
/// with the head's salt makes 64 bytes: the AES-256-GCM key, and the check, which tells a wrong password from a damaged file. The salt is
/// drawn anew at every writing, so the nonce is zeros. Associated data: the head.
/// </summary>
internal static class KeystoreFile
{
    private const int CheckSize = 32;
    private const int SaltSize = 32;
    private const int MaxKeys = 200;

    /// <summary>Writes the bytes; the head's salt must be fresh.</summary>
    public static byte[] Seal(KeystoreHead fields, KeystoreContent content, ReadOnlySpan<byte> secret)
    {
        byte[] head = JsonSerializer.SerializeToUtf8Bytes(fields, KeyJson.Default.KeystoreHead);
        byte[] plain = JsonSerializer.SerializeToUtf8Bytes(content, KeyJson.Default.KeystoreContent);
        Span<byte> derived = stackalloc byte[RepositoryKeys.KeySize + CheckSize];
        try
        {
            Derive(secret, fields, derived);
            var body = new byte[CheckSize + plain.Length + FrameCipher.TagSize];
            if (4 * ((body.Length + 2) / 3) + head.Length + 128 > HeadedObject.MaxSize)
            {
                throw new BackupIQException(ErrorCodes.Validation, "The keystore is full.", "Make another with 'backupiq keystore create'.");
            }

            derived[RepositoryKeys.KeySize..].CopyTo(body);
            using FrameCipher cipher = new(derived[..RepositoryKeys.KeySize]);
            cipher.Seal(0, plain, head, body.AsSpan(CheckSize));
            return HeadedObject.Compose(head, body);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
            CryptographicOperations.ZeroMemory(plain);
        }
    }

    /// <summary>Reads the clear head, which says how the password is derived. Nothing of it is proven before <see cref="Open"/>.</summary>
    /// <exception cref="BackupIQException"><c>KeyDamaged</c>: the bytes are no keystore, or damaged.</exception>
    public static (KeystoreHead Fields, byte[] Head, byte[] Body) Parse(ReadOnlySpan<byte> bytes)
    {
        if (!HeadedObject.TryParse(bytes, out byte[] head, out byte[] body, out string problem))
        {
            throw Damaged(problem);
        }

        KeystoreHead fields;
        try
        {
            fields = JsonSerializer.Deserialize(head, KeyJson.Default.KeystoreHead) ?? throw Damaged("its head is empty");
        }
        catch (JsonException)
        {
            throw Damaged("its first line is not the head of a keystore");
        }

        return fields switch
        {
            { Format: not KeystoreHead.CurrentFormat } => throw Damaged($"its format is {fields.Format}, which this version does not know"),
            _ when !RepositoryId.TryParse(fields.Keystore, out _) => throw Damaged("its head names no keystore"),
            _ when fields.Salt.Length != 2 * SaltSize || fields.Salt.AsSpan().ContainsAnyExcept("0123456789abcdef") => throw Damaged("its salt is none"),
            _ when fields.Kdf.Problem() is { } refused => throw Damaged(refused),
            _ when body.Length < CheckSize + FrameCipher.TagSize => throw Damaged("its second line is too short"),
            _ => (fields, head, body),
        };
    }

    /// <summary>Opens the sealed part; null when the secret is not this keystore's. The caller wipes the keys.</summary>
    /// <exception cref="BackupIQException"><c>KeyDamaged</c>: the secret is right, but the rest is damaged.</exception>
    public static KeystoreContent? Open(KeystoreHead fields, byte[] head, byte[] body, ReadOnlySpan<byte> secret)
    {
        Span<byte> derived = stackalloc byte[RepositoryKeys.KeySize + CheckSize];
        byte[] plain = GC.AllocateArray<byte>(body.Length - CheckSize - FrameCipher.TagSize, pinned: true);
        try
        {
            Derive(secret, fields, derived);
            if (!CryptographicOperations.FixedTimeEquals(derived[RepositoryKeys.KeySize..], body.AsSpan(0, CheckSize)))
            {
                return null;
            }

            using FrameCipher cipher = new(derived[..RepositoryKeys.KeySize]);
            return cipher.TryOpen(0, body.AsSpan(CheckSize), head, plain) ? Read(plain) : throw Damaged("the password is right, but its seal does not hold");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
            CryptographicOperations.ZeroMemory(plain);
        }
    }

    /// <summary>The keystore's id, out of a head that was parsed or made here.</summary>
    public static RepositoryId IdOf(KeystoreHead fields) => RepositoryId.TryParse(fields.Keystore, out RepositoryId id) ? id : throw Damaged("its head names no keystore");

    /// <summary>Reads what was sealed.</summary>
    internal static KeystoreContent Read(ReadOnlySpan<byte> plain)
    {
        try
        {
            KeystoreContent content = JsonSerializer.Deserialize(plain, KeyJson.Default.KeystoreContent) ?? throw Damaged("it is empty");
            // JSON puts null into lists, whatever their type says.
            bool isSound = content.Keys.Count <= MaxKeys
                && content.Keys.All(static key => key is not null && key.Versions.All(static version => version is not null))
                && content.Keys.Select(static key => key.Name).Distinct(StringComparer.Ordinal).Count() == content.Keys.Count
                && content.Keys.All(static key => LocalKeystore.IsName(key.Name)
                    && key.Versions is [{ Version: > 0 }, ..]
                    && key.Versions.All(static version => version.Key.Length == RepositoryKeys.KeySize)
                    && key.Versions.Zip(key.Versions.Skip(1)).All(static pair => pair.First.Version < pair.Second.Version));
            return isSound ? content : throw Damaged("its keys contradict themselves");
        }
        catch (JsonException)
        {
            throw Damaged("what is sealed in it is not a keystore's");
        }
    }

    private static void Derive(ReadOnlySpan<byte> secret, KeystoreHead fields, Span<byte> derived)
    {
        KeyLabels.Derive(secret, Convert.FromHexString(fields.Salt), KeyLabels.Keystore, IdOf(fields), derived);
    }

    private static BackupIQException Damaged(string problem) =>
        new(ErrorCodes.KeyDamaged, $"The keystore cannot be used: {problem}.", "Put a copy of it in its place.");
}
