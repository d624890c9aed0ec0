using System.Buffers.Binary;
using System.Globalization;

namespace BackupIQ.Sources.Restic;

/// <summary>A name in a restic repository: the SHA-256 of what it names.</summary>
internal readonly record struct ResticId(ulong A, ulong B, ulong C, ulong D)
{
    /// <summary>Bytes of an id.</summary>
    public const int Size = 32;

    /// <summary>The id that these 32 bytes are.</summary>
    public static ResticId Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64BigEndian(bytes),
        BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt64BigEndian(bytes[16..]),
        BinaryPrimitives.ReadUInt64BigEndian(bytes[24..]));

    /// <summary>Reads 64 lower-case hex digits.</summary>
    public static bool TryParse(ReadOnlySpan<byte> hex, out ResticId id)
    {
        Span<ulong> parts = stackalloc ulong[4];
        id = default;
        if (hex.Length != 2 * Size)
        {
            return false;
        }

        for (int i = 0; i < hex.Length; i++)
        {
            int digit = hex[i] switch
            {
                >= (byte)'0' and <= (byte)'9' => hex[i] - '0',
                >= (byte)'a' and <= (byte)'f' => hex[i] - 'a' + 10,
                _ => -1,
            };
            if (digit < 0)
            {
                return false;
            }

            parts[i / 16] = (parts[i / 16] << 4) | (uint)digit;
        }

        id = new ResticId(parts[0], parts[1], parts[2], parts[3]);
        return true;
    }

    /// <summary>Reads the name of a file.</summary>
    public static bool TryParse(string text, out ResticId id)
    {
        Span<byte> bytes = stackalloc byte[2 * Size];
        id = default;
        return text.Length == bytes.Length && System.Text.Encoding.ASCII.GetBytes(text, bytes) == bytes.Length && TryParse(bytes, out id);
    }

    /// <summary>Writes the 32 bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, A);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], B);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[16..], C);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[24..], D);
    }

    /// <summary>The first eight digits, as restic shows an id to people.</summary>
    public string Short => ToString()[..8];

    /// <summary>Seeded at random in each process: ids that are only claimed, as an index does, may be chosen to collide.</summary>
    public override int GetHashCode() => HashCode.Combine(A, B, C, D);

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{A:x16}{B:x16}{C:x16}{D:x16}");
}
