using System.Buffers;
using System.Text;

namespace BackupIQ.Cli.Parsing;

/// <summary>
/// Arguments and file names are bytes; text is needed to parse and show them. A byte that is no UTF-8 becomes a lone low surrogate
/// (U+DC80 to U+DCFF), which valid UTF-8 cannot produce, and so comes back as it was. (The scheme of Python's PEP 383.)
/// </summary>
internal static class OsText
{
    private const int EscapeBase = 0xdc00;

    /// <summary>Text of bytes; <see cref="Encode"/> gives the same bytes back.</summary>
    public static string Decode(ReadOnlySpan<byte> bytes)
    {
        StringBuilder text = new(bytes.Length);
        Span<char> pair = stackalloc char[2];
        while (!bytes.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(bytes, out Rune rune, out int width) == OperationStatus.Done)
            {
                text.Append(pair[..rune.EncodeToUtf16(pair)]);
                bytes = bytes[width..];
            }
            else
            {
                text.Append((char)(EscapeBase + bytes[0]));
                bytes = bytes[1..];
            }
        }

        return text.ToString();
    }

    /// <summary>The bytes of a text that <see cref="Decode"/> made, or of any other text as UTF-8.</summary>
    public static byte[] Encode(string text)
    {
        ArrayBufferWriter<byte> bytes = new(text.Length + 16);
        ReadOnlySpan<char> rest = text;
        while (!rest.IsEmpty)
        {
            OperationStatus status = Rune.DecodeFromUtf16(rest, out Rune rune, out int width);
            if (status != OperationStatus.Done && IsEscape(rest[0]))
            {
                bytes.GetSpan(1)[0] = (byte)(rest[0] - EscapeBase);
                bytes.Advance(1);
                width = 1;
            }
            else
            {
                bytes.Advance(rune.EncodeToUtf8(bytes.GetSpan(4)));
            }

            rest = rest[width..];
        }

        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Whether the character stands for a byte that was no UTF-8.</summary>
    public static bool IsEscape(char character) => character is >= (char)0xdc80 and <= (char)0xdcff;

    /// <summary>
    /// The program's arguments without loss. The runtime replaces what is not UTF-8; where that happened they are taken from the kernel.
    /// </summary>
    /// <param name="arguments">The arguments as the runtime gives them.</param>
    /// <param name="readCommandLine">Reads all arguments of this process, each ended by a zero byte.</param>
    public static string[] Arguments(string[] arguments, Func<byte[]> readCommandLine)
    {
        if (!Array.Exists(arguments, static argument => argument.Contains('\ufffd')))
        {
            return arguments;
        }

        byte[] commandLine = readCommandLine();
        List<string> all = [];
        foreach (Range range in commandLine.AsSpan().Split((byte)0))
        {
            all.Add(Decode(commandLine.AsSpan()[range]));
        }

        // The last split is the nothing behind the last zero; what stands before the program's own arguments is how it was started.
        int first = all.Count - 1 - arguments.Length;
        return first < 0 ? arguments : [.. all.Skip(first).Take(arguments.Length)];
    }
}
