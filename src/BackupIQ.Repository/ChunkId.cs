using System.Buffers.Binary;

namespace BackupIQ.Repository;

/// <summary>The name of a chunk: the keyed BLAKE3-256 of its plaintext (docs/format.md, Ids). Its first 16 bytes (<see cref="High"/>) stand in the index.</summary>
public readonly record struct ChunkId(UInt128 High, UInt128 Low) : IComparable<ChunkId>
{
    /// <summary>Length in bytes.</summary>
    public const int Size = 32;

    /// <summary>Reads 32 bytes.</summary>
    public static ChunkId Read(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt128BigEndian(bytes), BinaryPrimitives.ReadUInt128BigEndian(bytes[16..]));

    /// <summary>Writes 32 bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt128BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt128BigEndian(bytes[16..], Low);
    }

    /// <summary>Parses exactly 64 lower-case hex digits.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out ChunkId id)
    {
        id = default;
        if (text.Length != 2 * Size || text.ContainsAnyExcept("0123456789abcdef"))
        {
            return false;
        }

        id = Read(Convert.FromHexString(text));
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(ChunkId other) => High != other.High ? High.CompareTo(other.High) : Low.CompareTo(other.Low);

    /// <inheritdoc/>
    public override int GetHashCode() => High.GetHashCode();

    /// <inheritdoc/>
    public override string ToString() => $"{High:x32}{Low:x32}";
}
