using System.Buffers.Binary;

namespace BackupIQ.Repository;

/// <summary>The name of a pack: the BLAKE3-256 of all its bytes, so that anyone can scrub it without a key.</summary>
public readonly record struct PackId(UInt128 High, UInt128 Low) : IComparable<PackId>
{
    /// <summary>Length in bytes.</summary>
    public const int Size = 32;

    /// <summary>Reads 32 bytes.</summary>
    public static PackId Read(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt128BigEndian(bytes), BinaryPrimitives.ReadUInt128BigEndian(bytes[16..]));

    /// <summary>Writes 32 bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt128BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt128BigEndian(bytes[16..], Low);
    }

    /// <summary>Parses exactly 64 lower-case hex digits.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out PackId id)
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
    public int CompareTo(PackId other) => High != other.High ? High.CompareTo(other.High) : Low.CompareTo(other.Low);

    /// <inheritdoc/>
    public override int GetHashCode() => High.GetHashCode();

    /// <inheritdoc/>
    public override string ToString() => $"{High:x32}{Low:x32}";
}
