using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The envelope of every object outside packs. Clear header: magic <c>BIQO</c>, format u8 = 1, kind u8, epoch u16, source u8, reserved
/// u8×3 = 0, salt 32. Then the ciphertext of {codec u8, plain length u32, payload}, then the tag. Integers are little-endian. A content of
/// 512 bytes to 4 MiB is compressed when that is worthwhile. Associated
/// data: header ‖ repository id ‖ full object name (UTF-8) ‖ what the caller adds; so an object neither opens under another name nor in
/// another repository nor as another kind. Key: see <see cref="RepositoryKeys"/>, with a salt of its own; counter 0.
/// </summary>
internal static class SealedObject
{
    /// <summary>Bytes of the clear header.</summary>
    public const int HeaderSize = 44;

    /// <summary>The largest plain content; a larger one is a fault of the caller, or hostile.</summary>
    public const int MaxPlainLength = 64 << 20;

    /// <summary>Bytes that the envelope adds to an uncompressed payload.</summary>
    public const int Overhead = HeaderSize + InnerHeaderSize + FrameCipher.TagSize;

    /// <summary>The largest object: no reader needs to fetch more.</summary>
    public const int MaxSize = MaxPlainLength + Overhead;

    private const byte Format = 1;
    private const int InnerHeaderSize = 5;

    // Below this a frame's own head eats what it saves.
    private const int CompressedFrom = 512;

    private static ReadOnlySpan<byte> Magic => "BIQO"u8;

    /// <summary>Seals <paramref name="plain"/> as the object <paramref name="name"/>, under a fresh salt.</summary>
    public static byte[] Seal(RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> plain) =>
        Seal(keys, kind, name, plain, [], SaltRow.New(keys));

    /// <summary>
    /// The same with <paramref name="context"/> as further associated data, and with a given salt row, which must be fresh:
    /// the same row for two objects gives away both.
    /// </summary>
    internal static byte[] Seal(
        RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> plain, ReadOnlySpan<byte> context, in SaltRow row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Length, MaxPlainLength);
        SealPurpose purpose = ObjectKinds.PurposeOf(kind);
        using NativeBuffer packed = new();
        FrameCompression compression = plain.Length is >= CompressedFrom and <= FrameCompressor.MaxPlainLength
            ? Compress(plain, packed)
            : new FrameCompression(Codec.None, plain.Length);
        ReadOnlySpan<byte> payload = compression.Codec == Codec.None ? plain : packed.GetSpan()[..compression.StoredLength];
        var result = new byte[Overhead + payload.Length];
        Span<byte> header = result.AsSpan(0, HeaderSize);
        Magic.CopyTo(header);
        header[4] = Format;
        header[5] = (byte)kind;
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], row.Epoch);
        header[8] = row.Source;
        row.Salt.Write(header[12..]);

        Span<byte> inner = result.AsSpan(HeaderSize, InnerHeaderSize + payload.Length);
        inner[0] = (byte)compression.Codec;
        BinaryPrimitives.WriteUInt32LittleEndian(inner[1..], (uint)plain.Length);
        payload.CopyTo(inner[InnerHeaderSize..]);
        using FrameCipher cipher = keys.CreateCipher(row, purpose);
        cipher.Seal(0, inner, AssociatedData(header, keys.Repository, name, context), result.AsSpan(HeaderSize));
        return result;
    }

    /// <summary>
    /// The kind that the clear header claims, for names under which several kinds may stand. Nothing is proven before
    /// <see cref="Open(RepositoryKeys, ObjectKind, StorageKey, ReadOnlySpan{byte})"/> succeeds with it.
    /// </summary>
    public static bool TryPeekKind(ReadOnlySpan<byte> bytes, out ObjectKind kind)
    {
        kind = bytes.Length > 5 ? (ObjectKind)bytes[5] : default;
        return bytes.Length >= Overhead && bytes.StartsWith(Magic) && bytes[4] == Format && ObjectKinds.IsSealed(kind);
    }

    /// <summary>The salt row in the header of an object that has been opened: what belongs to it may be sealed under the same row with other counters.</summary>
    internal static SaltRow RowOf(ReadOnlySpan<byte> bytes) => new(BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]), bytes[8], Salt.Read(bytes[12..]));

    /// <summary>Opens what <see cref="Seal(RepositoryKeys, ObjectKind, StorageKey, ReadOnlySpan{byte})"/> made.</summary>
    /// <exception cref="CorruptDataException">These are not the bytes that were sealed as this kind under this name for this repository.</exception>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>: an envelope, source or codec of a newer version.</exception>
    public static byte[] Open(RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> bytes) =>
        Open(keys, kind, name, bytes, []);

    /// <summary>The same with the associated data that was added at sealing.</summary>
    internal static byte[] Open(
        RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> context)
    {
        SealPurpose purpose = ObjectKinds.PurposeOf(kind);
        SaltRow row = ReadHeader(keys, kind, name, bytes, context);
        using NativeBuffer room = new();
        Span<byte> inner = room.Room(bytes.Length - HeaderSize - FrameCipher.TagSize).Span;
        using FrameCipher cipher = keys.CreateCipher(row, purpose);
        if (!cipher.TryOpen(0, bytes[HeaderSize..], AssociatedData(bytes[..HeaderSize], keys.Repository, name, context), inner))
        {
            throw Damaged(name, "its seal is broken: bytes were changed, or it is not the object of this name");
        }

        try
        {
            return Unpack(name, inner);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(inner);
        }
    }

    /// <summary>
    /// Mends an object (of no context) whose damage lies within one block of 16 bytes behind its header, by its own seal. False: it does not,
    /// and nothing was changed. What was mended opens.
    /// </summary>
    internal static bool TryMend(RepositoryKeys keys, StorageKey name, Span<byte> bytes)
    {
        if (!TryPeekKind(bytes, out ObjectKind kind) || bytes.Length > MaxSize)
        {
            return false;
        }

        try
        {
            SaltRow row = ReadHeader(keys, kind, name, bytes, []);
            SealPurpose purpose = ObjectKinds.PurposeOf(kind);
            using FrameCipher cipher = keys.CreateCipher(row, purpose);
            return SealWound.TryMend(cipher, keys.HashKeyOf(row, purpose), 0, bytes[HeaderSize..], AssociatedData(bytes[..HeaderSize], keys.Repository, name, []));
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return false;
        }
    }

    private static SaltRow ReadHeader(
        RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> context)
    {
        if (bytes.Length < Overhead)
        {
            throw Damaged(name, $"it has {bytes.Length} bytes, too few for a sealed object");
        }

        if (bytes.Length > MaxSize)
        {
            throw Damaged(name, $"it has {bytes.Length} bytes, more than any sealed object");
        }

        if (!bytes.StartsWith(Magic))
        {
            throw Damaged(name, "it does not begin as a sealed object does");
        }

        if (bytes[4] != Format || bytes[8] != SaltRow.FromMaster)
        {
            throw IsOfThisFormat(keys, kind, name, bytes, context)
                ? Damaged(name, "bytes of its header were changed")
                : new BackupIQException(
                    ErrorCodes.UnsupportedFormat,
                    $"{name}: sealed in format {bytes[4]} with key source {bytes[8]}, which this version does not know (or it is damaged).")
                    .With("object", name.Value);
        }

        if (bytes[5] != (byte)kind)
        {
            throw Damaged(name, $"it says that it is of kind {bytes[5]} where kind {(byte)kind} belongs");
        }

        if (bytes[9..12].ContainsAnyExcept((byte)0))
        {
            throw Damaged(name, "reserved bytes of its header are not zero");
        }

        ushort epoch = BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]);
        return keys.HoldsEpoch(epoch)
            ? new SaltRow(epoch, bytes[8], Salt.Read(bytes[12..]))
            : throw Damaged(name, $"it says that it is sealed under key epoch {epoch}, which the keyring does not have (was a new epoch begun since? Then run again)");
    }

    // Damage may turn a header into a newer version's. The seal covers the header as it was written: where it holds for the one that this
    // version writes, these bytes were changed later.
    private static bool IsOfThisFormat(
        RepositoryKeys keys, ObjectKind kind, StorageKey name, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> context)
    {
        byte[] header = bytes[..HeaderSize].ToArray();
        header[4] = Format;
        header[8] = SaltRow.FromMaster;
        ushort epoch = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(6));
        if (!keys.HoldsEpoch(epoch))
        {
            return false;
        }

        using FrameCipher cipher = keys.CreateCipher(new SaltRow(epoch, SaltRow.FromMaster, Salt.Read(header.AsSpan(12))), ObjectKinds.PurposeOf(kind));
        var inner = new byte[bytes.Length - HeaderSize - FrameCipher.TagSize];
        bool isSealed = cipher.TryOpen(0, bytes[HeaderSize..], AssociatedData(header, keys.Repository, name, context), inner);
        CryptographicOperations.ZeroMemory(inner);
        return isSealed;
    }

    private static byte[] Unpack(StorageKey name, ReadOnlySpan<byte> inner)
    {
        uint plainLength = BinaryPrimitives.ReadUInt32LittleEndian(inner[1..]);
        ReadOnlySpan<byte> payload = inner[InnerHeaderSize..];
        var codec = (Codec)inner[0];
        if (codec == Codec.None)
        {
            return payload.Length == plainLength
                ? payload.ToArray()
                : throw Damaged(name, $"it claims {plainLength} bytes of content and has {payload.Length}");
        }

        if (!Enum.IsDefined(codec))
        {
            throw new BackupIQException(ErrorCodes.UnsupportedFormat, $"{name}: compressed with codec {inner[0]}, which this version does not know.")
                .With("object", name.Value);
        }

        if (plainLength > FrameCompressor.MaxPlainLength)
        {
            throw Damaged(name, $"it claims {plainLength} bytes of compressed content, more than any sealed object has");
        }

        var plain = new byte[plainLength];
        try
        {
            using FrameDecompressor decompressor = new();
            decompressor.Decompress(codec, payload, plain);
            return plain;
        }
        catch (CorruptDataException e)
        {
            throw Damaged(name, "its content does not decompress", e);
        }
    }

    private static FrameCompression Compress(ReadOnlySpan<byte> plain, NativeBuffer packed)
    {
        using FrameCompressor compressor = new(CompressionSetting.Auto);
        return compressor.Compress(plain, packed.Room(FrameCompressor.MaxCompressedSize(plain.Length)).Span, ContentHint.Compressible);
    }

    private static CorruptDataException Damaged(StorageKey name, string problem, Exception? inner = null)
    {
        CorruptDataException exception = new($"{name}: {problem}.", inner);
        exception.With("object", name.Value);
        return exception;
    }

    private static byte[] AssociatedData(ReadOnlySpan<byte> header, RepositoryId repository, StorageKey name, ReadOnlySpan<byte> context)
    {
        int nameLength = Encoding.UTF8.GetByteCount(name.Value);
        var data = new byte[header.Length + RepositoryId.Size + nameLength + context.Length];
        header.CopyTo(data);
        repository.Write(data.AsSpan(header.Length));
        Encoding.UTF8.GetBytes(name.Value, data.AsSpan(header.Length + RepositoryId.Size));
        context.CopyTo(data.AsSpan(header.Length + RepositoryId.Size + nameLength));
        return data;
    }
}
