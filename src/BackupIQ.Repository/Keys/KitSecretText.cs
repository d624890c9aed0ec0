using System.Buffers.Binary;
using System.Security.Cryptography;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// A kit's 32 bytes for people: four lines of 15 characters of Crockford's base32 (no I, L, O, U). Each line is 8 bytes (13 characters,
/// big-endian, the first bit zero) and two characters of check: the first 10 bits of SHA-256("BackupIQ kit line" ‖ line number u8 ‖ the 8
/// bytes). So a typing error is found, its line named, and lines out of order are found too.
/// </summary>
internal static class KitSecretText
{
    public const int SecretSize = 32;
    public const int Lines = 4;
    public const int LineLength = 15;

    private const string Alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private const int LineBytes = SecretSize / Lines;
    private const int ValueLength = 13;

    /// <summary>The line of number <paramref name="line"/> (from 1), without separators.</summary>
    public static string Line(ReadOnlySpan<byte> secret, int line)
    {
        ReadOnlySpan<byte> part = secret.Slice((line - 1) * LineBytes, LineBytes);
        ulong value = BinaryPrimitives.ReadUInt64BigEndian(part);
        Span<char> text = stackalloc char[LineLength];
        for (int i = ValueLength - 1; i >= 0; i--, value >>= 5)
        {
            text[i] = Alphabet[(int)(value & 31)];
        }

        int check = Check(part, line);
        text[ValueLength] = Alphabet[check >> 5];
        text[ValueLength + 1] = Alphabet[check & 31];
        return new string(text);
    }

    /// <summary>Reads the line of number <paramref name="line"/>; upper or lower case, O for 0, I and L for 1.</summary>
    public static bool TryReadLine(ReadOnlySpan<char> text, int line, Span<byte> secret)
    {
        if (text.Length != LineLength)
        {
            return false;
        }

        UInt128 value = 0;
        foreach (char c in text)
        {
            int digit = Alphabet.IndexOf(char.ToUpperInvariant(c) switch { 'O' => '0', 'I' or 'L' => '1', char other => other }, StringComparison.Ordinal);
            if (digit < 0)
            {
                return false;
            }

            value = (value << 5) | (uint)digit;
        }

        UInt128 part = value >> 10;
        if (part > ulong.MaxValue)
        {
            return false;
        }

        Span<byte> bytes = secret.Slice((line - 1) * LineBytes, LineBytes);
        BinaryPrimitives.WriteUInt64BigEndian(bytes, (ulong)part);
        return Check(bytes, line) == (int)(value & 1023);
    }

    private static int Check(ReadOnlySpan<byte> part, int line)
    {
        ReadOnlySpan<byte> label = "BackupIQ kit line"u8;
        Span<byte> input = stackalloc byte[label.Length + 1 + LineBytes];
        label.CopyTo(input);
        input[label.Length] = (byte)line;
        part.CopyTo(input[(label.Length + 1)..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(input, hash);
        CryptographicOperations.ZeroMemory(input);
        return BinaryPrimitives.ReadUInt16BigEndian(hash) >> 6;
    }
}
