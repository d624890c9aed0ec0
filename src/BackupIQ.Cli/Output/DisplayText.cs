using System.Globalization;
using System.Text;
using BackupIQ.Cli.Parsing;

namespace BackupIQ.Cli.Output;

/// <summary>
/// Text that is safe on a terminal: control characters, and those that change the direction or hide, come as <c>\n</c>, <c>\x1b</c> or <c>\u202e</c>;
/// bytes that are no UTF-8 as <c>\xff</c>. A file's name can thus neither move the cursor nor pretend to be another line.
/// </summary>
internal static class DisplayText
{
    /// <summary>For bytes, such as a file's name.</summary>
    public static string Of(ReadOnlySpan<byte> bytes) => Of(OsText.Decode(bytes));

    /// <summary>For text, where <see cref="OsText"/>'s escapes stand for bytes.</summary>
    public static string Of(string text)
    {
        int first = 0;
        while (first < text.Length && text[first] is >= ' ' and < (char)0x7f)
        {
            first++;
        }

        if (first == text.Length)
        {
            return text;
        }

        StringBuilder safe = new(text, 0, first, text.Length + 16);
        ReadOnlySpan<char> rest = text.AsSpan(first);
        Span<char> pair = stackalloc char[2];
        while (!rest.IsEmpty)
        {
            if (Rune.DecodeFromUtf16(rest, out Rune rune, out int width) != System.Buffers.OperationStatus.Done)
            {
                int value = OsText.IsEscape(rest[0]) ? rest[0] & 0xff : rest[0];
                safe.Append(CultureInfo.InvariantCulture, $"{(value > 0xff ? "\\u" : "\\x")}{value:x2}");
                width = 1;
            }
            else if (IsDangerous(rune))
            {
                safe.Append(rune.Value switch
                {
                    '\n' => "\\n",
                    '\t' => "\\t",
                    '\r' => "\\r",
                    < 0x80 => $"\\x{rune.Value:x2}",
                    <= 0xffff => $"\\u{rune.Value:x4}",
                    _ => $"\\U{rune.Value:x8}",
                });
            }
            else
            {
                safe.Append(pair[..rune.EncodeToUtf16(pair)]);
            }

            rest = rest[width..];
        }

        return safe.ToString();
    }

    /// <summary>How many columns a safe text takes: two for East Asian wide characters and emoji, none for combining marks.</summary>
    public static int Columns(string text)
    {
        int columns = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            columns += ColumnsOf(rune);
        }

        return columns;
    }

    /// <summary>Shortens a safe text to <paramref name="columns"/>, keeping its end (of a path, the part that differs) behind an ellipsis.</summary>
    public static string KeepEnd(string text, int columns)
    {
        int total = Columns(text);
        if (total <= columns)
        {
            return text;
        }

        if (columns < 2)
        {
            return "";
        }

        int start = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (total <= columns - 1)
            {
                break;
            }

            total -= ColumnsOf(rune);
            start += rune.Utf16SequenceLength;
        }

        return "…" + text[start..];
    }

    /// <summary>Fills a safe text with spaces to <paramref name="columns"/>.</summary>
    public static string Pad(string text, int columns, bool right = false)
    {
        int missing = columns - Columns(text);
        return missing <= 0 ? text : right ? new string(' ', missing) + text : text + new string(' ', missing);
    }

    private static int ColumnsOf(Rune rune) => rune.Value switch
    {
        < 0x300 => 1,
        (>= 0x1100 and <= 0x115f) or (>= 0x2e80 and <= 0xa4cf) or (>= 0xac00 and <= 0xd7a3) or (>= 0xf900 and <= 0xfaff)
            or (>= 0xfe30 and <= 0xfe6f) or (>= 0xff00 and <= 0xff60) or (>= 0xffe0 and <= 0xffe6) or (>= 0x1f300 and <= 0x1faff)
            or (>= 0x20000 and <= 0x3fffd) => 2,
        _ => Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark ? 0 : 1,
    };

    private static bool IsDangerous(Rune rune) => Rune.GetUnicodeCategory(rune)
        is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;
}
