using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys;

/// <summary>The clear head of an epoch object.</summary>
internal sealed record EpochHead
{
    public const int CurrentFormat = 1;

    public required int Format { get; init; }

    public required string Repository { get; init; }

    /// <summary>The epoch that it begins, from 2.</summary>
    public required ushort Epoch { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>The public key with which all slots agree, made for this object alone; hex.</summary>
    public required string Public { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>A slot for which a new master is wrapped.</summary>
internal sealed record EpochRecipient(string SlotId, byte[] PublicKey);

/// <summary>
/// The beginning of a key epoch: its master, wrapped for every slot that goes on, in one object, so that a put-if-absent decides between two who
/// begin the same epoch and a crash leaves all of it or nothing. A <see cref="HeadedObject"/>; its body is one entry of 80 bytes for each slot,
/// ascending {slot id 16, fingerprint of the slot's public key 16, wrapped master 48}, then the proof (32): HMAC-SHA256 under a key that only
/// holders of the master before have, over head and entries. The key that wraps is HKDF of what the slot's key pair and the object's agree on,
/// and of the master before: so nobody who never held that puts a master of his own into anybody's hands.
/// </summary>
internal sealed class EpochObject
{
    /// <summary>The most slots that can follow.</summary>
    public const int MaxSlots = 500;

    private const int FingerprintSize = 16;
    private const int WrappedAt = KeySlot.IdSize + FingerprintSize;
    private const int EntrySize = WrappedAt + RepositoryKeys.KeySize + FrameCipher.TagSize;
    private const int ProofSize = 32;

    private readonly byte[] _head;
    private readonly byte[] _body;

    private EpochObject(EpochHead fields, RepositoryId repository, byte[] head, byte[] body)
    {
        Head = fields;
        Repository = repository;
        _head = head;
        _body = body;
    }

    public EpochHead Head { get; }

    public RepositoryId Repository { get; }

    /// <summary>The object's bytes.</summary>
    public byte[] ToBytes() => HeadedObject.Compose(_head, _body);

    private int EntryCount => (_body.Length - ProofSize) / EntrySize;

    /// <summary>
    /// Makes the object that begins the epoch after that of <paramref name="keys"/> with <paramref name="master"/>. <paramref name="ephemeral"/>
    /// must be new.
    /// </summary>
    public static byte[] Compose(
        RepositoryKeys keys, ReadOnlySpan<byte> master, IReadOnlyCollection<EpochRecipient> recipients, DateTimeOffset created, ECDiffieHellman ephemeral)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(recipients.Count, MaxSlots);
        EpochHead fields = new()
        {
            Format = EpochHead.CurrentFormat,
            Repository = keys.Repository.ToString(),
            Epoch = (ushort)(keys.CurrentEpoch + 1),
            Created = created,
            Public = Convert.ToHexStringLower(SlotAgreement.PublicOf(ephemeral)),
        };
        byte[] head = JsonSerializer.SerializeToUtf8Bytes(fields, KeyJson.Default.EpochHead);
        var body = new byte[(recipients.Count * EntrySize) + ProofSize];
        int at = 0;
        foreach (EpochRecipient recipient in recipients.OrderBy(static recipient => recipient.SlotId, StringComparer.Ordinal))
        {
            Span<byte> entry = body.AsSpan(at, EntrySize);
            Convert.FromHexString(recipient.SlotId).CopyTo(entry);
            Fingerprint(recipient.PublicKey, entry[KeySlot.IdSize..WrappedAt]);
            using FrameCipher? cipher = CipherOf(keys, fields.Epoch, ephemeral, recipient.PublicKey, entry[..KeySlot.IdSize]);
            ArgumentNullException.ThrowIfNull(cipher);
            cipher.Seal(0, master, AssociatedData(keys.Repository, entry[..WrappedAt], head), entry[WrappedAt..]);
            at += EntrySize;
        }

        Prove(keys, fields.Epoch, head, body.AsSpan(0, at), body.AsSpan(at));
        return HeadedObject.Compose(head, body);
    }

    /// <summary>Reads one; null with the <paramref name="problem"/> when the bytes are damaged, or not of this name.</summary>
    public static EpochObject? TryParse(ushort epoch, ReadOnlySpan<byte> bytes, out string problem)
    {
        if (!HeadedObject.TryParse(bytes, out byte[] head, out byte[] body, out problem))
        {
            return null;
        }

        EpochHead? fields;
        try
        {
            fields = JsonSerializer.Deserialize(head, KeyJson.Default.EpochHead);
        }
        catch (JsonException)
        {
            problem = "its first line is not the head of an epoch";
            return null;
        }

        problem = fields switch
        {
            null => "its head is empty",
            { Format: not EpochHead.CurrentFormat } => $"its format is {fields.Format}, which this version does not know",
            _ when fields.Epoch != epoch || epoch < 2 => $"it says that it begins epoch {fields.Epoch}",
            _ when !IsPublicKey(fields.Public) => "its public key is none",
            _ when body.Length < ProofSize || (body.Length - ProofSize) % EntrySize != 0 || (body.Length - ProofSize) / EntrySize > MaxSlots => "its second line has another length",
            _ => "",
        };
        if (problem.Length > 0)
        {
            return null;
        }

        if (!RepositoryId.TryParse(fields!.Repository, out RepositoryId repository))
        {
            problem = "its head names no repository";
            return null;
        }

        EpochObject read = new(fields, repository, head, body);
        for (int i = 1; i < read.EntryCount; i++)
        {
            if (read.Entry(i - 1)[..KeySlot.IdSize].SequenceCompareTo(read.Entry(i)[..KeySlot.IdSize]) >= 0)
            {
                problem = "its entries are out of order";
                return null;
            }
        }

        return read;
    }

    /// <summary>Whether text is a public key in hex; not whether it lies on the curve.</summary>
    public static bool IsPublicKey(string text) =>
        text.Length == 2 * SlotAgreement.PublicSize && text.StartsWith("04", StringComparison.Ordinal) && !text.AsSpan().ContainsAnyExcept("0123456789abcdef");

    /// <summary>Whether a holder of the master before made it, which <paramref name="keys"/> must have.</summary>
    public bool IsProven(RepositoryKeys keys)
    {
        if (Repository != keys.Repository || !keys.HoldsEpoch((ushort)(Head.Epoch - 1)))
        {
            return false;
        }

        Span<byte> proof = stackalloc byte[ProofSize];
        Prove(keys, Head.Epoch, _head, _body.AsSpan(0, _body.Length - ProofSize), proof);
        return CryptographicOperations.FixedTimeEquals(proof, _body.AsSpan(_body.Length - ProofSize));
    }

    /// <summary>Whether that slot, with that public key, follows.</summary>
    public bool Follows(string slotId, byte[]? publicKey)
    {
        if (publicKey is null)
        {
            return false;
        }

        Span<byte> fingerprint = stackalloc byte[FingerprintSize];
        Fingerprint(publicKey, fingerprint);
        return Find(slotId) is { } entry && entry.AsSpan(KeySlot.IdSize, FingerprintSize).SequenceEqual(fingerprint);
    }

    /// <summary>
    /// The master of the epoch, for whoever holds the slot's secret and the master before; null: the slot does not follow, or its entry is
    /// damaged (<paramref name="isDamaged"/>). The caller wipes it.
    /// </summary>
    public byte[]? TryUnwrap(RepositoryKeys keys, string slotId, ReadOnlySpan<byte> secret, out bool isDamaged)
    {
        isDamaged = false;
        if (Find(slotId) is not { } entry)
        {
            return null;
        }

        using ECDiffieHellman own = SlotAgreement.KeyOf(secret, slotId, keys.Repository);
        using FrameCipher? cipher = CipherOf(keys, Head.Epoch, own, Convert.FromHexString(Head.Public), entry.AsSpan(0, KeySlot.IdSize));
        byte[] master = GC.AllocateArray<byte>(RepositoryKeys.KeySize, pinned: true);
        isDamaged = cipher is null || !cipher.TryOpen(0, entry.AsSpan(WrappedAt), AssociatedData(keys.Repository, entry.AsSpan(0, WrappedAt), _head), master);
        return isDamaged ? null : master;
    }

    private static FrameCipher? CipherOf(RepositoryKeys keys, ushort epoch, ECDiffieHellman own, ReadOnlySpan<byte> other, ReadOnlySpan<byte> slotId)
    {
        Span<byte> input = stackalloc byte[SlotAgreement.SharedSize + RepositoryKeys.KeySize];
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        try
        {
            if (!SlotAgreement.TryAgree(own, other, input))
            {
                return null;
            }

            keys.Masters[(ushort)(epoch - 1)].CopyTo(input[SlotAgreement.SharedSize..]);
            KeyLabels.Derive(input, slotId, KeyLabels.EpochWrap, keys.Repository, key);
            return new FrameCipher(key);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(input);
            CryptographicOperations.ZeroMemory(key);
        }
    }

    private static void Prove(RepositoryKeys keys, ushort epoch, ReadOnlySpan<byte> head, ReadOnlySpan<byte> entries, Span<byte> proof)
    {
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        KeyLabels.Derive(keys.Masters[(ushort)(epoch - 1)], [], KeyLabels.EpochProof, keys.Repository, key);
        HMACSHA256.HashData(key, [.. head, .. entries], proof);
        CryptographicOperations.ZeroMemory(key);
    }

    private static void Fingerprint(ReadOnlySpan<byte> publicKey, Span<byte> fingerprint)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(publicKey, hash);
        hash[..FingerprintSize].CopyTo(fingerprint);
    }

    private static byte[] AssociatedData(RepositoryId repository, ReadOnlySpan<byte> entry, byte[] head)
    {
        var data = new byte[RepositoryId.Size + entry.Length + head.Length];
        repository.Write(data);
        entry.CopyTo(data.AsSpan(RepositoryId.Size));
        head.CopyTo(data, RepositoryId.Size + entry.Length);
        return data;
    }

    private ReadOnlySpan<byte> Entry(int index) => _body.AsSpan(index * EntrySize, EntrySize);

    private byte[]? Find(string slotId)
    {
        byte[] id = Convert.FromHexString(slotId);
        for (int i = 0; i < EntryCount; i++)
        {
            if (Entry(i).StartsWith(id))
            {
                return Entry(i).ToArray();
            }
        }

        return null;
    }
}
