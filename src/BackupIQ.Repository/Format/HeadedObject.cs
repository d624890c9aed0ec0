using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The form of objects that must say something in clear before any key is at hand (key slots, configuration): three lines of ASCII, each
/// ended by a line feed: the head (JSON without line breaks), the body (base64), the SHA-256 of the first two lines with their line feeds
/// (hex). The checksum tells damage from a wrong key; the seal of the body covers the head's very bytes, so that nobody can change it.
/// </summary>
internal static class HeadedObject
{
    /// <summary>The largest such object: what is larger is hostile, and no reader fetches more.</summary>
    public const int MaxSize = 64 << 10;

    private const int SumLine = (2 * SHA256.HashSizeInBytes) + 1;

    /// <summary>Puts head and body together.</summary>
    public static byte[] Compose(ReadOnlySpan<byte> head, ReadOnlySpan<byte> body)
    {
        string base64 = Convert.ToBase64String(body);
        var bytes = new byte[head.Length + 1 + base64.Length + 1 + SumLine];
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, MaxSize);
        head.CopyTo(bytes);
        bytes[head.Length] = (byte)'\n';
        Encoding.ASCII.GetBytes(base64, bytes.AsSpan(head.Length + 1));
        bytes[^(SumLine + 1)] = (byte)'\n';
        Encoding.ASCII.GetBytes(Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan(0, bytes.Length - SumLine))), bytes.AsSpan(bytes.Length - SumLine));
        bytes[^1] = (byte)'\n';
        return bytes;
    }

    /// <summary>Takes them apart; on failure <paramref name="problem"/> says what is wrong.</summary>
    public static bool TryParse(ReadOnlySpan<byte> bytes, out byte[] head, out byte[] body, out string problem)
    {
        head = [];
        body = [];
        if (bytes.Length is <= SumLine or > MaxSize || bytes[^1] != '\n')
        {
            problem = $"it has {bytes.Length} bytes and is cut, empty or too large";
            return false;
        }

        ReadOnlySpan<byte> lines = bytes[..^SumLine];
        Span<char> sum = stackalloc char[2 * SHA256.HashSizeInBytes];
        Encoding.Latin1.GetChars(bytes[^SumLine..^1], sum);
        if (!sum.SequenceEqual(Convert.ToHexStringLower(SHA256.HashData(lines))))
        {
            problem = "its checksum is wrong: bytes were changed or lost";
            return false;
        }

        int end = lines.IndexOf((byte)'\n');
        if (end < 0 || lines[^1] != '\n' || end == lines.Length - 1)
        {
            problem = "it is not made of three lines";
            return false;
        }

        ReadOnlySpan<byte> text = lines[(end + 1)..^1];
        var decoded = new byte[Base64.GetMaxDecodedFromUtf8Length(text.Length)];
        if (text.ContainsAny("\n\r\t "u8)
            || Base64.DecodeFromUtf8(text, decoded, out _, out int written) != System.Buffers.OperationStatus.Done)
        {
            problem = "its second line is not base64";
            return false;
        }

        head = lines[..end].ToArray();
        body = decoded.AsSpan(0, written).ToArray();
        problem = "";
        return true;
    }
}
