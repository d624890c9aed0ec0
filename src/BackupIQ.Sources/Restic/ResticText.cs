using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace BackupIQ.Sources.Restic;

/// <summary>Text in restic's documents.</summary>
internal static class ResticText
{
    /// <summary>The bytes of the text that the reader stands on.</summary>
    /// <exception cref="JsonException">It stands on something else.</exception>
    public static byte[] Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw new JsonException("A text is none.");
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(Math.Max(1, reader.ValueSpan.Length));
        try
        {
            return buffer.AsSpan(0, reader.CopyString(buffer)).ToArray();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// Names stand in the document as Go writes bytes as text: what is not UTF-8, and what cannot be printed, behind backslashes. Null: it is
    /// not such a text.
    /// </summary>
    public static byte[]? Unquote(ReadOnlySpan<byte> text)
    {
        if (text.IndexOfAny((byte)'\\', (byte)'"', (byte)'\n') < 0)
        {
            return text.ToArray();
        }

        byte[] bytes = new byte[text.Length];
        int length = 0;
        for (int i = 0; i < text.Length; i++)
        {
            byte c = text[i];
            if (c is (byte)'"' or (byte)'\n')
            {
                return null;
            }

            if (c != '\\')
            {
                bytes[length++] = c;
                continue;
            }

            if (++i == text.Length)
            {
                return null;
            }

            int digits = text[i] switch { (byte)'x' => 2, (byte)'u' => 4, (byte)'U' => 8, _ => 0 };
            if (digits > 0)
            {
                if (i + digits >= text.Length || !TryHex(text.Slice(i + 1, digits), out uint value))
                {
                    return null;
                }

                i += digits;
                if (digits == 2)
                {
                    bytes[length++] = (byte)value;
                }
                else if (value <= int.MaxValue && Rune.TryCreate((int)value, out Rune rune))
                {
                    length += rune.EncodeToUtf8(bytes.AsSpan(length));
                }
                else
                {
                    return null;
                }

                continue;
            }

            int plain = text[i] switch
            {
                (byte)'a' => 7,
                (byte)'b' => 8,
                (byte)'f' => 12,
                (byte)'n' => 10,
                (byte)'r' => 13,
                (byte)'t' => 9,
                (byte)'v' => 11,
                (byte)'\\' => '\\',
                (byte)'"' => '"',
                _ => -1,
            };
            if (plain < 0)
            {
                return null;
            }

            bytes[length++] = (byte)plain;
        }

        return bytes[..length];
    }

    private static bool TryHex(ReadOnlySpan<byte> digits, out uint value) =>
        uint.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
}
