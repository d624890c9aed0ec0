using System.Text;

namespace BackupIQ.Storage.Archive;

/// <summary>
/// The 512 bytes before an object in an archive: a header of POSIX ustar, of a plain file with fixed mode, owner and time, so that equal
/// objects give equal bytes and <c>tar</c> unpacks them (docs/format.md, Exports).
/// </summary>
internal static class ArchiveHeader
{
    public const int Size = 512;

    /// <summary>The longest name that fits.</summary>
    public const int MaxName = 100;

    /// <summary>The first entry of every archive: text for people who unpack it.</summary>
    public const string Label = "backupiq-export";

    private const long MaxLength = (1L << 33) - 1;
    private const int LengthAt = 124;
    private const int ChecksumAt = 148;

    /// <summary>Bytes that an object takes beside its header: whole blocks.</summary>
    public static long Padded(long length) => (length + Size - 1) / Size * Size;

    /// <summary>Writes a header.</summary>
    /// <exception cref="ArgumentException">The name or the length does not fit.</exception>
    public static void Write(Span<byte> header, string name, long length)
    {
        if (name.Length > MaxName || length is < 0 or > MaxLength)
        {
            throw new ArgumentException($"{name} with {length} bytes does not fit into an archive.", nameof(name));
        }

        header = header[..Size];
        header.Clear();
        Encoding.ASCII.GetBytes(name, header);
        "0000600\0"u8.CopyTo(header[100..]);
        "0000000\0"u8.CopyTo(header[108..]);
        "0000000\0"u8.CopyTo(header[116..]);
        WriteOctal(header.Slice(LengthAt, 11), length);
        "00000000000\0"u8.CopyTo(header[136..]);
        "        0"u8.CopyTo(header[ChecksumAt..]);
        "ustar\000"u8.CopyTo(header[257..]);
        "0000000\0"u8.CopyTo(header[329..]);
        "0000000\0"u8.CopyTo(header[337..]);
        WriteOctal(header.Slice(ChecksumAt, 6), Sum(header));
        header[ChecksumAt + 6] = 0;
    }

    /// <summary>
    /// Reads a header. Nothing is believed: only what <see cref="Write"/> would have written of the same name and length is one.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> header, out string name, out long length)
    {
        name = "";
        length = 0;
        header = header[..Size];
        int end = header[..(MaxName + 1)].IndexOf((byte)0);
        end = end < 0 ? MaxName : end;
        if (!TryReadOctal(header.Slice(LengthAt, 11), out length) || header[..end].ContainsAnyExceptInRange((byte)' ', (byte)'~'))
        {
            return false;
        }

        name = Encoding.ASCII.GetString(header[..end]);
        Span<byte> right = stackalloc byte[Size];
        Write(right, name, length);
        return header.SequenceEqual(right);
    }

    // The checksum is of the header with blanks in its place.
    private static long Sum(ReadOnlySpan<byte> header)
    {
        long sum = 0;
        for (int i = 0; i < header.Length; i++)
        {
            sum += i is >= ChecksumAt and < ChecksumAt + 8 ? (byte)' ' : header[i];
        }

        return sum;
    }

    private static void WriteOctal(Span<byte> field, long value)
    {
        for (int i = field.Length - 1; i >= 0; i--)
        {
            field[i] = (byte)('0' + (value & 7));
            value >>= 3;
        }
    }

    private static bool TryReadOctal(ReadOnlySpan<byte> field, out long value)
    {
        value = 0;
        foreach (byte digit in field)
        {
            if (digit is < (byte)'0' or > (byte)'7')
            {
                return false;
            }

            value = (value << 3) | (uint)(digit - '0');
        }

        return true;
    }
}
