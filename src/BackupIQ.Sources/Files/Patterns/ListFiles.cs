using System.Buffers;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Files.Patterns;

/// <summary>Reads the contents of files that list patterns or paths. The rules are those of restic 0.14; bytes stay bytes.</summary>
public static class ListFiles
{
    /// <summary>
    /// <c>--exclude-file</c>: a pattern a line; white space around it, empty lines and lines that begin with <c>#</c> count for nothing;
    /// <c>$NAME</c> and <c>${NAME}</c> are replaced by environment variables, <c>$$</c> is a dollar sign.
    /// </summary>
    /// <param name="content">The file's content; UTF-16 with a byte order mark is understood.</param>
    /// <param name="environment">The value of a variable, or null.</param>
    public static IReadOnlyList<byte[]> Patterns(ReadOnlySpan<byte> content, Func<string, string?> environment)
    {
        List<byte[]> patterns = [];
        foreach (byte[] line in Lines(content))
        {
            ReadOnlySpan<byte> trimmed = Trim(line);
            if (!trimmed.IsEmpty && trimmed[0] != (byte)'#')
            {
                patterns.Add(Expand(trimmed, environment));
            }
        }

        return patterns;
    }

    /// <summary><c>--files-from</c>: a wildcard pattern of paths a line, trimmed and with comments as above; to be expanded by <see cref="Files.PathGlob"/>.</summary>
    public static IReadOnlyList<byte[]> Globs(ReadOnlySpan<byte> content)
    {
        List<byte[]> globs = [];
        foreach (byte[] line in Lines(content))
        {
            ReadOnlySpan<byte> trimmed = Trim(line);
            if (!trimmed.IsEmpty && trimmed[0] != (byte)'#')
            {
                globs.Add(trimmed.ToArray());
            }
        }

        return globs;
    }

    /// <summary><c>--files-from-verbatim</c>: a path a line, taken as it is.</summary>
    public static IReadOnlyList<byte[]> Verbatim(ReadOnlySpan<byte> content) => [.. Lines(content).Where(static line => line.Length > 0)];

    /// <summary><c>--files-from-raw</c>: paths that each end with a zero byte.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: an empty path, or the last zero is missing.</exception>
    public static IReadOnlyList<byte[]> Raw(ReadOnlySpan<byte> content)
    {
        List<byte[]> paths = [];
        while (!content.IsEmpty)
        {
            int end = content.IndexOf((byte)0);
            if (end <= 0)
            {
                throw new BackupIQException(
                    ErrorCodes.Usage,
                    end == 0 ? "--files-from-raw: the list has an empty path" : "--files-from-raw: the last path does not end with a zero byte",
                    "Write each path with a zero byte after it, as 'find -print0' does.");
            }

            paths.Add(content[..end].ToArray());
            content = content[(end + 1)..];
        }

        return paths;
    }

    /// <summary>Lines without their ends (LF or CR LF) and without a byte order mark.</summary>
    private static List<byte[]> Lines(ReadOnlySpan<byte> content)
    {
        if (content.StartsWith((ReadOnlySpan<byte>)[0xef, 0xbb, 0xbf]))
        {
            content = content[3..];
        }
        else if (content.StartsWith((ReadOnlySpan<byte>)[0xfe, 0xff]))
        {
            content = Encoding.UTF8.GetBytes(Encoding.BigEndianUnicode.GetString(content[2..]));
        }
        else if (content.StartsWith((ReadOnlySpan<byte>)[0xff, 0xfe]))
        {
            content = Encoding.UTF8.GetBytes(Encoding.Unicode.GetString(content[2..]));
        }

        List<byte[]> lines = [];
        while (!content.IsEmpty)
        {
            int end = content.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = end < 0 ? content : content[..end];
            content = end < 0 ? default : content[(end + 1)..];
            lines.Add((line is [.., (byte)'\r'] ? line[..^1] : line).ToArray());
        }

        return lines;
    }

    private static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> line)
    {
        while (!line.IsEmpty && Rune.DecodeFromUtf8(line, out Rune first, out int width) == OperationStatus.Done && Rune.IsWhiteSpace(first))
        {
            line = line[width..];
        }

        while (!line.IsEmpty && Rune.DecodeLastFromUtf8(line, out Rune last, out int width) == OperationStatus.Done && Rune.IsWhiteSpace(last))
        {
            line = line[..^width];
        }

        return line;
    }

    /// <summary>Replaces variables as a shell does, by the rules of Go's os.Expand.</summary>
    private static byte[] Expand(ReadOnlySpan<byte> line, Func<string, string?> environment)
    {
        ArrayBufferWriter<byte> expanded = new(line.Length + 16);
        while (!line.IsEmpty)
        {
            int dollar = line.IndexOf((byte)'$');
            if (dollar < 0 || dollar + 1 == line.Length)
            {
                expanded.Write(line);
                break;
            }

            expanded.Write(line[..dollar]);
            line = line[(dollar + 1)..];
            ReadOnlySpan<byte> name = VariableName(line, out int width);
            if (!name.IsEmpty)
            {
                expanded.Write(name.SequenceEqual("$"u8) ? name : Encoding.UTF8.GetBytes(environment(Encoding.UTF8.GetString(name)) ?? ""));
            }
            else if (width == 0)
            {
                // A dollar sign that begins no name stays; one that begins a malformed "${" goes with it.
                expanded.Write("$"u8);
            }

            line = line[width..];
        }

        return expanded.WrittenSpan.ToArray();
    }

    private static ReadOnlySpan<byte> VariableName(ReadOnlySpan<byte> text, out int width)
    {
        if (text[0] == (byte)'{')
        {
            if (text.Length > 2 && IsSpecial(text[1]) && text[2] == (byte)'}')
            {
                width = 3;
                return text.Slice(1, 1);
            }

            int end = text.IndexOf((byte)'}');
            width = end < 0 ? 1 : end + 1;
            return end < 0 ? default : text[1..end];
        }

        if (IsSpecial(text[0]))
        {
            width = 1;
            return text[..1];
        }

        width = 0;
        while (width < text.Length && (char.IsAsciiLetterOrDigit((char)text[width]) || text[width] == (byte)'_'))
        {
            width++;
        }

        return text[..width];
    }

    private static bool IsSpecial(byte character) => character is >= (byte)'0' and <= (byte)'9' || "*#$@!?-"u8.Contains(character);
}
