using System.Buffers.Binary;
using System.Security.Cryptography;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// A kit's 32 bytes for people: four lines of 15 characters of Crockford's base32 (no I, L, O, U). Each line is 8 bytes (13 characters,
/// big-endian, the first bit zero) and two characters of check: the first 10 bits of SHA-256("BackupIQ kit line" ‖ line number u8 ‖ the 8
/// bytes). So a typing error is found, its line named, and lines out of order are found too. The same line in words, to be read aloud: five words
/// of five letters, each 16 bits as consonant, vowel, consonant, vowel, consonant (4, 2, 4, 2, 4 bits); four are the bytes, the fifth is the
/// first 16 bits of SHA-256("BackupIQ kit words" ‖ line number u8 ‖ the 8 bytes).
/// </summary>
internal static class KitSecretText
{
    public const int SecretSize = 32;
    public const int Lines = 4;
    public const int LineLength = 15;

    /// <summary>Letters of a line in words, without the blanks between them.</summary>
    public const int WordsLength = 25;

    private const string Consonants = "bdfghjklmnprstvz";
    private const string Vowels = "aiou";
    private const int WordLength = 5;
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

    /// <summary>The line of number <paramref name="line"/> (from 1) in words, with blanks between them.</summary>
    public static string Words(ReadOnlySpan<byte> secret, int line)
    {
        ReadOnlySpan<byte> part = secret.Slice((line - 1) * LineBytes, LineBytes);
        Span<byte> all = stackalloc byte[LineBytes + sizeof(ushort)];
        part.CopyTo(all);
        BinaryPrimitives.WriteUInt16BigEndian(all[LineBytes..], Hash("BackupIQ kit words"u8, part, line));
        string words = "";
        for (int at = 0; at < all.Length; at += sizeof(ushort))
        {
            int value = BinaryPrimitives.ReadUInt16BigEndian(all[at..]);
            words += $"{(at == 0 ? "" : " ")}{Consonants[value >> 12]}{Vowels[(value >> 10) & 3]}{Consonants[(value >> 6) & 15]}{Vowels[(value >> 4) & 3]}{Consonants[value & 15]}";
        }

        CryptographicOperations.ZeroMemory(all);
        return words;
    }

    /// <summary>Reads the words of line <paramref name="line"/>, without blanks; upper or lower case.</summary>
    public static bool TryReadWords(ReadOnlySpan<char> text, int line, Span<byte> secret)
    {
        if (text.Length != WordsLength)
        {
            return false;
        }

        Span<byte> all = stackalloc byte[LineBytes + sizeof(ushort)];
        for (int word = 0; word < WordsLength / WordLength; word++)
        {
            int value = 0;
            for (int i = 0; i < WordLength; i++)
            {
                string letters = i % 2 == 0 ? Consonants : Vowels;
                int digit = letters.IndexOf(char.ToLowerInvariant(text[(word * WordLength) + i]), StringComparison.Ordinal);
                if (digit < 0)
                {
                    return false;
                }

                value = (value << (i % 2 == 0 ? 4 : 2)) | digit;
            }

            BinaryPrimitives.WriteUInt16BigEndian(all[(word * sizeof(ushort))..], (ushort)value);
        }

        bool isRight = Hash("BackupIQ kit words"u8, all[..LineBytes], line) == BinaryPrimitives.ReadUInt16BigEndian(all[LineBytes..]);
        if (isRight)
        {
            all[..LineBytes].CopyTo(secret.Slice((line - 1) * LineBytes, LineBytes));
        }

        CryptographicOperations.ZeroMemory(all);
        return isRight;
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

    private static int Check(ReadOnlySpan<byte> part, int line) => Hash("BackupIQ kit line"u8, part, line) >> 6;

    private static ushort Hash(ReadOnlySpan<byte> label, ReadOnlySpan<byte> part, int line)
    {
        Span<byte> input = stackalloc byte[label.Length + 1 + LineBytes];
        label.CopyTo(input);
        input[label.Length] = (byte)line;
        part.CopyTo(input[(label.Length + 1)..]);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(input, hash);
        CryptographicOperations.ZeroMemory(input);
        return BinaryPrimitives.ReadUInt16BigEndian(hash);
    }
}
