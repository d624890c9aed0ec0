using System.Buffers;
using System.Globalization;
using System.Text;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// Text for names that are bytes, where only text will do. A name that is UTF-8 without control characters is itself. Any other byte is
/// spelled <c>%FF</c>, and a percent sign that would be read as such a spelling <c>%25</c>: so every name has a spelling of its own.
/// </summary>
public static class NameSpelling
{
    /// <summary>The spelling of a name.</summary>
    public static string Spell(ReadOnlySpan<byte> name)
    {
        StringBuilder text = new(name.Length);
        Span<char> pair = stackalloc char[2];
        while (!name.IsEmpty)
        {
            int width = 1;
            if (name[0] == (byte)'%' && name.Length > 2 && char.IsAsciiHexDigit((char)name[1]) && char.IsAsciiHexDigit((char)name[2]))
            {
                text.Append("%25");
            }
            else if (Rune.DecodeFromUtf8(name, out Rune rune, out width) == OperationStatus.Done && !IsControl(rune))
            {
                text.Append(pair[..rune.EncodeToUtf16(pair)]);
            }
            else
            {
                foreach (byte b in name[..width])
                {
                    text.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
                }
            }

            name = name[width..];
        }

        return text.ToString();
    }

    /// <summary>The name that a text spells.</summary>
    public static byte[] Read(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        int length = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            bool isSpelled = bytes[i] == (byte)'%' && i + 2 < bytes.Length && char.IsAsciiHexDigit((char)bytes[i + 1]) && char.IsAsciiHexDigit((char)bytes[i + 2]);
            bytes[length++] = isSpelled ? Convert.FromHexString([(char)bytes[i + 1], (char)bytes[i + 2]])[0] : bytes[i];
            i += isSpelled ? 2 : 0;
        }

        return bytes[..length];
    }

    /// <summary>The names of a path, without what is empty.</summary>
    internal static IEnumerable<byte[]> Names(byte[] path)
    {
        int start = 0;
        for (int i = 0; i <= path.Length; i++)
        {
            if (i == path.Length || path[i] == (byte)'/')
            {
                if (i > start)
                {
                    yield return path[start..i];
                }

                start = i + 1;
            }
        }
    }

    private static bool IsControl(Rune rune) => rune.Value is < 0x20 or 0x7f or 0xfffe or 0xffff;
}
