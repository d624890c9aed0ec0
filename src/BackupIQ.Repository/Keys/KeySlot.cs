using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys;

/// <summary>The clear head of a key slot. Unknown fields are kept when a slot is made anew from an old one.</summary>
internal sealed record KeySlotHead
{
    public const int CurrentFormat = 1;
    public const string PasswordType = "password";
    public const string KeyFileType = "keyfile";
    public const string KitType = "kit";

    public required int Format { get; init; }

    public required string Repository { get; init; }

    public required string Slot { get; init; }

    public required string Type { get; init; }

    public required string Label { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>The repository's parameters, repeated here so that a slot is of use without the configuration.</summary>
    public required KdfParameters Kdf { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>What came of trying a secret on a slot.</summary>
internal enum SlotTrial
{
    /// <summary>The slot is another secret's.</summary>
    OtherSecret,

    /// <summary>The secret is the slot's, but what it wraps does not open: the slot is damaged.</summary>
    Damaged,

    /// <summary>It opened.</summary>
    Opened,
}

/// <summary>
/// One way into the repository: the keyring wrapped under a secret. A <see cref="HeadedObject"/>; its body is {check 32, ciphertext, tag}.
/// Of the secret (a password's derived key, a key file's bytes, a kit's 32 bytes) HKDF-SHA256 with the slot's id as salt makes 64 bytes:
/// the AES-256-GCM key, and the check, which tells a wrong secret from a damaged slot and binds the slot to one key. Nonce: zeros, for a
/// slot's id is drawn anew at every wrapping. Associated data: repository id ‖ slot id ‖ head.
/// </summary>
internal sealed class KeySlot
{
    /// <summary>Length of a slot's id in bytes.</summary>
    public const int IdSize = 16;

    private const int CheckSize = 32;
    private readonly byte[] _head;
    private readonly byte[] _body;

    private KeySlot(KeySlotHead fields, RepositoryId repository, byte[] head, byte[] body)
    {
        Head = fields;
        Repository = repository;
        _head = head;
        _body = body;
    }

    public KeySlotHead Head { get; }

    public RepositoryId Repository { get; }

    /// <summary>Wraps <paramref name="keys"/>. The head's slot id must be a fresh random one.</summary>
    public static byte[] Seal(RepositoryKeys keys, KeySlotHead fields, ReadOnlySpan<byte> secret)
    {
        byte[] head = JsonSerializer.SerializeToUtf8Bytes(fields, KeyJson.Default.KeySlotHead);
        Span<byte> derived = stackalloc byte[RepositoryKeys.KeySize + CheckSize];
        byte[] keyring = Keyring.Write(keys);
        try
        {
            DeriveWrapKey(secret, fields, keys.Repository, derived);
            var body = new byte[CheckSize + keyring.Length + FrameCipher.TagSize];
            derived[RepositoryKeys.KeySize..].CopyTo(body);
            using FrameCipher cipher = new(derived[..RepositoryKeys.KeySize]);
            cipher.Seal(0, keyring, AssociatedData(keys.Repository, fields, head), body.AsSpan(CheckSize));
            return HeadedObject.Compose(head, body);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
            CryptographicOperations.ZeroMemory(keyring);
        }
    }

    /// <summary>Reads a slot; null with the <paramref name="problem"/> when the bytes are damaged, or not the slot of this name.</summary>
    public static KeySlot? TryParse(string slotId, ReadOnlySpan<byte> bytes, out string problem)
    {
        if (!HeadedObject.TryParse(bytes, out byte[] head, out byte[] body, out problem))
        {
            return null;
        }

        KeySlotHead? fields;
        try
        {
            fields = JsonSerializer.Deserialize(head, KeyJson.Default.KeySlotHead);
        }
        catch (JsonException)
        {
            problem = "its first line is not the head of a key slot";
            return null;
        }

        if (fields is null || !RepositoryId.TryParse(fields.Repository, out RepositoryId repository))
        {
            problem = "its head names no repository";
            return null;
        }

        if (fields.Format != KeySlotHead.CurrentFormat)
        {
            problem = $"its format is {fields.Format}, which this version does not know";
            return null;
        }

        if (fields.Slot != slotId || !IsId(slotId))
        {
            problem = "it names another slot than the one in whose place it stands";
            return null;
        }

        if (fields.Kdf.Problem() is { } refused)
        {
            problem = refused;
            return null;
        }

        if (body.Length < CheckSize + FrameCipher.TagSize)
        {
            problem = "its second line is too short";
            return null;
        }

        return new KeySlot(fields, repository, head, body);
    }

    /// <summary>Whether text is a slot's id: 32 lower-case hex digits.</summary>
    public static bool IsId(string text) => text.Length == 2 * IdSize && !text.AsSpan().ContainsAnyExcept("0123456789abcdef");

    /// <summary>Tries a secret; the keys are the caller's.</summary>
    public SlotTrial TryOpen(ReadOnlySpan<byte> secret, out RepositoryKeys? keys)
    {
        keys = null;
        if (Head.Type is not (KeySlotHead.PasswordType or KeySlotHead.KeyFileType or KeySlotHead.KitType))
        {
            // A newer version's kind of slot: whole, but nothing that is known here opens it.
            return SlotTrial.OtherSecret;
        }

        Span<byte> derived = stackalloc byte[RepositoryKeys.KeySize + CheckSize];
        byte[] keyring = GC.AllocateArray<byte>(_body.Length - CheckSize - FrameCipher.TagSize, pinned: true);
        try
        {
            DeriveWrapKey(secret, Head, Repository, derived);
            if (!CryptographicOperations.FixedTimeEquals(derived[RepositoryKeys.KeySize..], _body.AsSpan(0, CheckSize)))
            {
                return SlotTrial.OtherSecret;
            }

            using FrameCipher cipher = new(derived[..RepositoryKeys.KeySize]);
            if (cipher.TryOpen(0, _body.AsSpan(CheckSize), AssociatedData(Repository, Head, _head), keyring))
            {
                keys = Keyring.TryRead(Repository, keyring);
            }

            return keys is null ? SlotTrial.Damaged : SlotTrial.Opened;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
            CryptographicOperations.ZeroMemory(keyring);
        }
    }

    private static void DeriveWrapKey(ReadOnlySpan<byte> secret, KeySlotHead fields, RepositoryId repository, Span<byte> derived) =>
        KeyLabels.Derive(secret, Convert.FromHexString(fields.Slot), KeyLabels.Slot(fields.Type), repository, derived);

    private static byte[] AssociatedData(RepositoryId repository, KeySlotHead fields, byte[] head)
    {
        var data = new byte[RepositoryId.Size + IdSize + head.Length];
        repository.Write(data);
        Convert.FromHexString(fields.Slot).CopyTo(data, RepositoryId.Size);
        head.CopyTo(data, RepositoryId.Size + IdSize);
        return data;
    }
}
