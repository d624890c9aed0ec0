using System.Buffers.Binary;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Logs;

/// <summary>
/// The form of a file of a series of logs: <c>BIQL</c>, format u8 = 1, zero u8×3, length of the sealed head u32, the sealed head (<see cref="LogHead"/>,
/// sealed as a Log under the object's name), then its pieces, each: stored length u32, codec u8, and so many bytes: compressed and sealed under the salt
/// row of the head with the piece's number, from 1, as counter. Associated data of a piece: repository id ‖ codec ‖ name. Integers are little-endian.
/// Constant memory, whatever the file's length.
/// </summary>
internal static class LogObject
{
    /// <summary>Bytes before the sealed head.</summary>
    public const int PrefixSize = 12;

    /// <summary>A reader of heads asks for so many bytes: most heads have a few hundred.</summary>
    public const int HeadRead = 2048;

    /// <summary>The largest sealed head.</summary>
    public const int MostHead = SealedObject.Overhead + 64 + LogHead.MostFacts;

    private const byte Format = 1;
    private const int PieceHead = 5;

    private static ReadOnlySpan<byte> Magic => "BIQL"u8;

    /// <summary>
    /// Writes the object <paramref name="name"/> with what <paramref name="content"/> holds.
    /// </summary>
    /// <exception cref="BackupIQException"><c>SourceChanged</c>: that is not what the head says.</exception>
    public static void Write(RepositoryKeys keys, StorageKey name, LogHead head, Stream content, Stream destination) =>
        Write(keys, name, head, content, destination, SaltRow.New(keys));

    /// <summary>The same with a given salt row, which must be fresh.</summary>
    internal static void Write(RepositoryKeys keys, StorageKey name, LogHead head, Stream content, Stream destination, in SaltRow row)
    {
        byte[] sealedHead = SealedObject.Seal(keys, ObjectKind.Log, name, head.Write(), [], row);
        Span<byte> prefix = stackalloc byte[PrefixSize];
        prefix.Clear();
        Magic.CopyTo(prefix);
        prefix[4] = Format;
        BinaryPrimitives.WriteInt32LittleEndian(prefix[8..], sealedHead.Length);
        destination.Write(prefix);
        destination.Write(sealedHead);

        Blake3Hasher hasher = Blake3Hasher.CreateKeyed(keys.DataIdKey);
        using FrameCompressor compressor = new(CompressionSetting.Parse("zstd:1"));
        using FrameCipher cipher = keys.CreateCipher(row, SealPurpose.Data);
        using NativeBuffer plain = new();
        using NativeBuffer stored = new();
        byte[] associated = AssociatedData(keys, name);
        ulong piece = 0;
        long left = head.Length;
        for (; left > 0; left -= Math.Min(left, LogHead.PieceLength))
        {
            Span<byte> bytes = plain.Room((int)Math.Min(left, LogHead.PieceLength)).Span;
            if (content.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) < bytes.Length)
            {
                throw Changed(name);
            }

            hasher.Update(bytes);
            Span<byte> room = stored.Room(PieceHead + bytes.Length + FrameCipher.TagSize).Span;
            FrameCompression compression = compressor.Compress(bytes, room.Slice(PieceHead, bytes.Length), ContentHint.Unknown);
            if (compression.Codec == Codec.None)
            {
                bytes.CopyTo(room[PieceHead..]);
            }

            int length = (compression.Codec == Codec.None ? bytes.Length : compression.StoredLength) + FrameCipher.TagSize;
            BinaryPrimitives.WriteInt32LittleEndian(room, length);
            room[4] = associated[RepositoryId.Size] = (byte)compression.Codec;
            cipher.Seal(++piece, room.Slice(PieceHead, length - FrameCipher.TagSize), associated, room.Slice(PieceHead, length));
            destination.Write(room[..(PieceHead + length)]);
        }

        if (content.ReadByte() >= 0 || Finish(hasher) != head.Content)
        {
            throw Changed(name);
        }
    }

    /// <summary>How many bytes prefix and sealed head take, by the first <see cref="PrefixSize"/> bytes.</summary>
    /// <exception cref="CorruptDataException">It does not begin as such an object does.</exception>
    public static int HeadEnd(StorageKey name, ReadOnlySpan<byte> prefix)
    {
        if (prefix.Length < PrefixSize || !prefix.StartsWith(Magic))
        {
            throw Damaged(name, "it does not begin as a log does");
        }

        if (prefix[4] != Format || prefix[5..8].ContainsAnyExcept((byte)0))
        {
            throw new BackupIQException(ErrorCodes.UnsupportedFormat, $"{name}: a log in format {prefix[4]}, which this version does not know (or it is damaged).").With("object", name.Value);
        }

        int length = BinaryPrimitives.ReadInt32LittleEndian(prefix[8..]);
        return length is >= SealedObject.Overhead and <= MostHead ? PrefixSize + length : throw Damaged(name, $"it claims a head of {length} bytes");
    }

    /// <summary>Opens the head, given at least prefix and head.</summary>
    /// <exception cref="CorruptDataException">It is not what was sealed under this name.</exception>
    public static LogHead OpenHead(RepositoryKeys keys, StorageKey name, ReadOnlySpan<byte> bytes)
    {
        int end = HeadEnd(name, bytes);
        if (bytes.Length < end)
        {
            throw Damaged(name, "it is cut short within its head");
        }

        try
        {
            return LogHead.Read(SealedObject.Open(keys, ObjectKind.Log, name, bytes[PrefixSize..end]));
        }
        catch (CorruptDataException e) when (!e.Message.StartsWith(name.Value, StringComparison.Ordinal))
        {
            throw Damaged(name, e.Message);
        }
    }

    /// <summary>
    /// Reads a whole object in order. <paramref name="read"/> gives the next bytes of the object, fewer than asked for only at its end; each opened piece goes
    /// to <paramref name="write"/>. Whoever keeps what was written before this returned must throw it away when it throws.
    /// </summary>
    /// <exception cref="CorruptDataException">It is not what was sealed under this name.</exception>
    public static async Task<LogHead> ReadAsync(
        RepositoryKeys keys, StorageKey name, Func<Memory<byte>, ValueTask<int>> read, Func<ReadOnlyMemory<byte>, ValueTask> write)
    {
        using NativeBuffer room = new();
        Memory<byte> first = room.Room(PrefixSize + MostHead)[..PrefixSize];
        int begun = await read(first);
        int end = HeadEnd(name, first.Span[..begun]);
        Memory<byte> whole = room.Room(PrefixSize + MostHead)[..end];
        int there = PrefixSize + await read(whole[PrefixSize..]);
        LogHead head = OpenHead(keys, name, whole.Span[..there]);
        SaltRow row = SealedObject.RowOf(whole.Span[PrefixSize..]);

        Blake3Hasher hasher = Blake3Hasher.CreateKeyed(keys.DataIdKey);
        using FrameDecompressor decompressor = new();
        using FrameCipher cipher = keys.CreateCipher(row, SealPurpose.Data);
        using NativeBuffer packed = new();
        using NativeBuffer plain = new();
        byte[] associated = AssociatedData(keys, name);
        var pieceHead = new byte[PieceHead];
        ulong piece = 0;
        for (long left = head.Length; left > 0;)
        {
            int plainLength = (int)Math.Min(left, LogHead.PieceLength);
            int length = await read(pieceHead) == PieceHead ? BinaryPrimitives.ReadInt32LittleEndian(pieceHead) : 0;
            if (length <= FrameCipher.TagSize || length > plainLength + FrameCipher.TagSize)
            {
                throw Damaged(name, $"its piece {piece + 1} is missing or claims {length} bytes");
            }

            Memory<byte> stored = packed.Room(LogHead.PieceLength + FrameCipher.TagSize)[..length];
            if (await read(stored) < length)
            {
                throw Damaged(name, $"it is cut short within its piece {piece + 1}");
            }

            Memory<byte> opened = plain.Room(LogHead.PieceLength)[..plainLength];
            Open(cipher, ++piece, name, pieceHead[4], associated, stored.Span, opened.Span, decompressor);
            hasher.Update(opened.Span);
            await write(opened);
            left -= plainLength;
        }

        if (await read(pieceHead) > 0)
        {
            throw Damaged(name, "something stands behind its last piece");
        }

        return Finish(hasher) == head.Content ? head : throw Damaged(name, "its content is not the one that its head names");
    }

    private static void Open(
        FrameCipher cipher, ulong piece, StorageKey name, byte codec, byte[] associated, Span<byte> stored, Span<byte> plain, FrameDecompressor decompressor)
    {
        associated[RepositoryId.Size] = codec;
        Span<byte> inner = stored[..^FrameCipher.TagSize];
        if (!cipher.TryOpen(piece, stored, associated, inner))
        {
            throw Damaged(name, $"the seal of its piece {piece} is broken: bytes were changed, or it is not the object of this name");
        }

        if (!Enum.IsDefined((Codec)codec) || ((Codec)codec == Codec.None && inner.Length != plain.Length))
        {
            throw Damaged(name, $"its piece {piece} is of a codec or length that this version does not know");
        }

        if ((Codec)codec == Codec.None)
        {
            inner.CopyTo(plain);
            return;
        }

        try
        {
            decompressor.Decompress((Codec)codec, inner, plain);
        }
        catch (CorruptDataException e)
        {
            throw Damaged(name, $"its piece {piece} does not decompress", e);
        }
    }

    internal static ChunkId Finish(Blake3Hasher hasher)
    {
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        hasher.Finish(digest);
        return ChunkId.Read(digest);
    }

    private static byte[] AssociatedData(RepositoryKeys keys, StorageKey name)
    {
        byte[] text = Encoding.UTF8.GetBytes(name.Value);
        var data = new byte[RepositoryId.Size + 1 + text.Length];
        keys.Repository.Write(data);
        text.CopyTo(data, RepositoryId.Size + 1);
        return data;
    }

    private static BackupIQException Changed(StorageKey name) =>
        new BackupIQException(ErrorCodes.SourceChanged, "The file changed while it was read.", "Push it again when its server has finished it.").With("object", name.Value);

    private static CorruptDataException Damaged(StorageKey name, string problem, Exception? inner = null)
    {
        CorruptDataException exception = new($"{name}: {problem}.", inner);
        exception.With("object", name.Value);
        return exception;
    }
}
