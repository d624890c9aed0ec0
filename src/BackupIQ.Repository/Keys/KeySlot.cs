using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Repository.Keys;

/// <summary>The clear head of a key slot. Unknown fields are kept when a slot is made anew from an old one.</summary>
internal sealed record KeySlotHead
{
    public const int CurrentFormat = 1;
    public const string PasswordType = "password";
    public const string KeyFileType = "keyfile";
    public const string KitType = "kit";
    public const string ServiceType = "kms";

    public required int Format { get; init; }

    public required string Repository { get; init; }

    public required string Slot { get; init; }

    public required string Type { get; init; }

    public required string Label { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>The repository's parameters, repeated here so that a slot is of use without the configuration.</summary>
    public required KdfParameters Kdf { get; init; }

    /// <summary>The newest epoch of the keyring that the slot wraps. Absent in slots of versions that knew no epoch objects.</summary>
    public ushort? Epoch { get; init; }

    /// <summary>The slot's public key, hex: with it a later epoch's master is wrapped for the slot. Absent as the epoch is.</summary>
    public string? Public { get; init; }

    /// <summary>
    /// HMAC-SHA256 of the head with this field's digits as zeros, hex, under a key that holders of the epoch's master have: whoever has only the
    /// storage makes no slot that a new epoch would be wrapped for.
    /// </summary>
    public string? Proof { get; init; }

    /// <summary>Of a slot of type <c>kms</c>: who unwraps its secret.</summary>
    public KeySlotService? Kms { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>The secret of a slot, wrapped by a key service.</summary>
/// <param name="Service">Which one: <c>local:</c> and a keystore's id, for example.</param>
/// <param name="Key">The key's name there.</param>
/// <param name="Wrapped">The secret as the service wrapped it.</param>
internal sealed record KeySlotService(string Service, string Key, byte[] Wrapped)
{
    /// <summary>The most bytes of a wrapped secret.</summary>
    public const int MaxWrapped = 8 << 10;
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
/// Of the secret (a password's derived key, a key file's bytes, a kit's 32 bytes, what a key service unwraps) HKDF-SHA256 with the slot's id as salt makes 64 bytes:
/// the AES-256-GCM key, and the check, which tells a wrong secret from a damaged slot and binds the slot to one key. Nonce: zeros, for a
/// slot's id is drawn anew at every wrapping. Associated data: repository id ‖ slot id ‖ head.
/// </summary>
internal sealed class KeySlot
{
    /// <summary>Length of a slot's id in bytes.</summary>
    public const int IdSize = 16;

    private const int CheckSize = 32;
    private const int ProofSize = 32;
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

    /// <summary>
    /// Wraps <paramref name="keys"/> in a slot that follows when a later epoch begins: the head gets epoch, public key and proof. Its slot id must be a
    /// fresh random one.
    /// </summary>
    public static byte[] SealFollowing(RepositoryKeys keys, KeySlotHead fields, ReadOnlySpan<byte> secret)
    {
        using ECDiffieHellman pair = SlotAgreement.KeyOf(secret, fields.Slot, keys.Repository);
        fields = fields with
        {
            Epoch = keys.CurrentEpoch,
            Public = Convert.ToHexStringLower(SlotAgreement.PublicOf(pair)),
            Proof = new string('0', 2 * ProofSize),
        };
        Span<byte> proof = stackalloc byte[ProofSize];
        Prove(keys, fields, JsonSerializer.SerializeToUtf8Bytes(fields, KeyJson.Default.KeySlotHead), proof);
        return Seal(keys, fields with { Proof = Convert.ToHexStringLower(proof) }, secret);
    }

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

        if ((fields.Public is not null && !EpochObject.IsPublicKey(fields.Public))
            || (fields.Proof is not null && (fields.Proof.Length != 2 * ProofSize || fields.Proof.AsSpan().ContainsAnyExcept("0123456789abcdef"))))
        {
            problem = "its public key or the proof of it is none";
            return null;
        }

        if (fields.Type == KeySlotHead.ServiceType && fields.Kms is not { Wrapped.Length: > 0 and <= KeySlotService.MaxWrapped })
        {
            problem = "it does not say which key service has its secret";
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

    /// <summary>Whether this version can open slots of that type.</summary>
    public static bool IsKnown(string type) =>
        type is KeySlotHead.PasswordType or KeySlotHead.KeyFileType or KeySlotHead.KitType or KeySlotHead.ServiceType;

    /// <summary>What a key service is told of the secret of a slot.</summary>
    public static KeyContext ContextOf(RepositoryId repository, string slotId) => new("slot", repository.ToString(), slotId);

    /// <summary>Tries a secret; the keys are the caller's.</summary>
    public SlotTrial TryOpen(ReadOnlySpan<byte> secret, out RepositoryKeys? keys)
    {
        keys = null;
        if (!IsKnown(Head.Type))
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

    /// <summary>The public key that holders of <paramref name="keys"/> gave the slot; null where it has none, or one that they did not give it.</summary>
    public byte[]? ProvenPublicKey(RepositoryKeys keys)
    {
        if (Head is not { Epoch: { } epoch, Public: { } key, Proof: { } proof } || Repository != keys.Repository || !keys.HoldsEpoch(epoch))
        {
            return null;
        }

        // The bytes as they stand, not as this version would write them again.
        byte[] field = System.Text.Encoding.ASCII.GetBytes($"\"proof\":\"{proof}\"");
        int at = _head.AsSpan().IndexOf(field);
        if (at < 0 || _head.AsSpan(at + 1).IndexOf(field) >= 0)
        {
            return null;
        }

        byte[] head = [.. _head];
        head.AsSpan(at + field.Length - 1 - proof.Length, proof.Length).Fill((byte)'0');
        Span<byte> expected = stackalloc byte[ProofSize];
        Prove(keys, Head, head, expected);
        return CryptographicOperations.FixedTimeEquals(expected, Convert.FromHexString(proof)) ? Convert.FromHexString(key) : null;
    }

    private static void Prove(RepositoryKeys keys, KeySlotHead fields, byte[] head, Span<byte> proof)
    {
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        KeyLabels.Derive(keys.Masters[fields.Epoch!.Value], Convert.FromHexString(fields.Slot), KeyLabels.SlotProof, keys.Repository, key);
        HMACSHA256.HashData(key, head, proof);
        CryptographicOperations.ZeroMemory(key);
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
