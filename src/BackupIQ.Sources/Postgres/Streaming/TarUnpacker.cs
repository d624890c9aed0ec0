using System.Globalization;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>What a header of an archive says.</summary>
/// <param name="Path">The path: relative, without empty parts, '.' and '..'.</param>
/// <param name="Kind"><c>'0'</c>: a file; <c>'5'</c>: a folder; <c>'2'</c>: a link.</param>
/// <param name="Mode">The low 12 bits of its mode.</param>
/// <param name="UserId">Its owner.</param>
/// <param name="GroupId">Its group.</param>
/// <param name="Size">Bytes that follow.</param>
/// <param name="Modified">Seconds since 1970.</param>
/// <param name="Target">Of a link: where it leads.</param>
internal sealed record TarEntry(string Path, char Kind, uint Mode, uint UserId, uint GroupId, long Size, long Modified, string Target);

/// <summary>Receives what an archive holds, in its order.</summary>
internal interface ITarReceiver
{
    /// <summary>An entry begins.</summary>
    void Begin(TarEntry entry);

    /// <summary>A piece of the file that began last.</summary>
    void Write(ReadOnlySpan<byte> piece);

    /// <summary>All of it was given.</summary>
    void End();
}

/// <summary>
/// Takes a tar archive of a server apart while it comes, in pieces of any length: files, folders and links, as PostgreSQL writes them. It believes nothing:
/// a header whose sum does not hold, a path that leaves its folder, a size that is none, ends it.
/// </summary>
internal sealed class TarUnpacker(ITarReceiver receiver)
{
    private const int BlockSize = 512;

    private readonly byte[] _block = new byte[BlockSize];
    private int _filled;
    private long _left;
    private int _padding;
    private bool _isEnded;

    /// <summary>Takes the next piece.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it is no archive of a server.</exception>
    public void Add(ReadOnlySpan<byte> piece)
    {
        while (!piece.IsEmpty)
        {
            if (_left > 0)
            {
                int length = (int)Math.Min(_left, piece.Length);
                receiver.Write(piece[..length]);
                piece = piece[length..];
                _left -= length;
                if (_left == 0)
                {
                    receiver.End();
                }
            }
            else if (_padding > 0)
            {
                int length = Math.Min(_padding, piece.Length);
                piece = piece[length..];
                _padding -= length;
            }
            else
            {
                int length = Math.Min(BlockSize - _filled, piece.Length);
                piece[..length].CopyTo(_block.AsSpan(_filled));
                piece = piece[length..];
                _filled += length;
                if (_filled == BlockSize)
                {
                    _filled = 0;
                    Header();
                }
            }
        }
    }

    /// <summary>Says that nothing follows. Servers before 15 leave it to the receiver to end an archive, so that it has an end is not asked for.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it ends within a file or a header.</exception>
    public void Complete()
    {
        if (_left > 0 || _padding > 0 || _filled > 0)
        {
            throw Wrong("it ends in the middle of a file");
        }
    }

    private void Header()
    {
        if (!_block.AsSpan().ContainsAnyExcept((byte)0))
        {
            _isEnded = true;
            return;
        }

        if (_isEnded)
        {
            throw Wrong("it goes on behind its end");
        }

        uint sum = 0;
        for (int i = 0; i < BlockSize; i++)
        {
            sum += i is >= 148 and < 156 ? ' ' : _block[i];
        }

        if (Number(148, 8) != sum)
        {
            throw Wrong("the sum of a header does not hold");
        }

        char kind = _block[156] == 0 ? '0' : (char)_block[156];
        string prefix = Text(345, 155);
        string path = (prefix.Length > 0 ? prefix + "/" : "") + Text(0, 100);
        path = (path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path).TrimEnd('/');
        long size = kind == '0' ? Number(124, 12) : 0;
        if (kind is not ('0' or '5' or '2') || !IsPlain(path) || size < 0)
        {
            throw Wrong($"it has an entry that no server has: '{path}', of kind '{kind}'");
        }

        receiver.Begin(new TarEntry(
            path, kind, (uint)Number(100, 8) & 0xFFF, (uint)Number(108, 8), (uint)Number(116, 8), size, Number(136, 12), kind == '2' ? Text(157, 100) : ""));
        _left = size;
        _padding = (int)((BlockSize - (size % BlockSize)) % BlockSize);
        if (kind == '0' && size == 0)
        {
            receiver.End();
        }
    }

    // The folder itself has no name of its own.
    private static bool IsPlain(string path) =>
        path.Length == 0 || path == "." || path.Split('/').All(static part => part.Length > 0 && part is not ("." or "..") && !part.Contains('\0'));

    private string Text(int offset, int length)
    {
        ReadOnlySpan<byte> field = _block.AsSpan(offset, length);
        int end = field.IndexOf((byte)0);
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(end < 0 ? field : field[..end]);
        }
        catch (DecoderFallbackException)
        {
            throw Wrong("it has a name that no server has");
        }
    }

    // Octal digits, or where they are too few a number in bytes with the highest bit of the first one set.
    private long Number(int offset, int length)
    {
        ReadOnlySpan<byte> field = _block.AsSpan(offset, length);
        long number = 0;
        if ((field[0] & 0x80) != 0)
        {
            for (int i = 0; i < length; i++)
            {
                number = number > long.MaxValue >> 8 ? throw Wrong("it has a number that is too large") : (number << 8) | (long)(i == 0 ? field[0] & 0x7F : field[i]);
            }

            return number;
        }

        foreach (byte digit in field.Trim([(byte)' ', (byte)0]))
        {
            number = digit is >= (byte)'0' and <= (byte)'7' && number < 1L << 59
                ? (number * 8) + (digit - '0')
                : throw Wrong(string.Create(CultureInfo.InvariantCulture, $"it has a number that is none, at byte {offset} of a header"));
        }

        return number;
    }

    private static BackupIQException Wrong(string what) => new(ErrorCodes.SourceServer, $"The server sent an archive that is none: {what}");
}
