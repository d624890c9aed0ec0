using System.Buffers.Binary;
using System.Security.Cryptography;

namespace BackupIQ.Repository;

/// <summary>
/// The 16 random bytes that name a repository for ever; part of every key derivation, so that nothing sealed for one repository opens in
/// another. Its text is 32 lower-case hex digits.
/// </summary>
public readonly record struct RepositoryId(ulong High, ulong Low)
{
    /// <summary>Length in bytes.</summary>
    public const int Size = 16;

    /// <summary>A new random id.</summary>
    public static RepositoryId New()
    {
        Span<byte> bytes = stackalloc byte[Size];
        RandomNumberGenerator.Fill(bytes);
        return Read(bytes);
    }

    /// <summary>Reads the 16 bytes in the order in which the text shows them.</summary>
    public static RepositoryId Read(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]));

    /// <summary>Writes the 16 bytes in the order in which the text shows them.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], Low);
    }

    /// <summary>Parses exactly 32 lower-case hex digits.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out RepositoryId id)
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
    public override string ToString() => $"{High:x16}{Low:x16}";
}
