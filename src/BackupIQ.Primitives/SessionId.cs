using System.Buffers.Binary;
using System.Security.Cryptography;

namespace BackupIQ.Primitives;

/// <summary>
/// The 16 random bytes that name a session, and with it the snapshot that the session commits. Its text is 32 lower-case hex digits.
/// </summary>
public readonly record struct SessionId(ulong High, ulong Low) : IComparable<SessionId>
{
    /// <summary>Length in bytes.</summary>
    public const int Size = 16;

    /// <summary>A new random id.</summary>
    public static SessionId New()
    {
        Span<byte> bytes = stackalloc byte[Size];
        RandomNumberGenerator.Fill(bytes);
        return Read(bytes);
    }

    /// <summary>Reads 16 big-endian bytes.</summary>
    public static SessionId Read(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    /// <summary>Writes 16 big-endian bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Low);
    }

    /// <summary>Parses exactly 32 lower-case hex digits.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out SessionId id)
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
    public int CompareTo(SessionId other) => High != other.High ? High.CompareTo(other.High) : Low.CompareTo(other.Low);

    /// <inheritdoc/>
    public override string ToString() => $"{High:x16}{Low:x16}";
}
