using System.Globalization;
using System.Text;

namespace BackupIQ.Testing.Network;

/// <summary>How long the body of a message is.</summary>
internal enum BodyFraming
{
    None,
    Length,
    Chunked,
    UntilClose,
}

/// <summary>The first line and the headers of an HTTP/1.1 message.</summary>
internal sealed class HttpHead(string text)
{
    private readonly List<string> _lines = [.. text.TrimEnd('\r', '\n').Split("\r\n")];

    public string FirstLine => _lines[0];

    public string? this[string name]
    {
        get
        {
            string? line = _lines.Skip(1).FirstOrDefault(l => l.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase));
            return line?[(name.Length + 1)..].Trim();
        }

        set
        {
            _lines.RemoveAll(l => l.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase));
            if (value is not null)
            {
                _lines.Add($"{name}: {value}");
            }
        }
    }

    public long? Length => this["Content-Length"] is { } length ? long.Parse(length, CultureInfo.InvariantCulture) : null;

    public BodyFraming Framing(BodyFraming otherwise) =>
        this["Transfer-Encoding"]?.Contains("chunked", StringComparison.OrdinalIgnoreCase) == true ? BodyFraming.Chunked
        : Length is { } length ? (length == 0 ? BodyFraming.None : BodyFraming.Length)
        : otherwise;

    public byte[] ToBytes() => Encoding.Latin1.GetBytes(string.Join("\r\n", _lines) + "\r\n\r\n");
}

/// <summary>Reads HTTP/1.1 messages from a stream as far as a proxy must understand them.</summary>
internal sealed class HttpWire(Stream stream)
{
    private readonly byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    public Stream Stream { get; } = stream;

    /// <summary>The next head, or null when the connection ended instead.</summary>
    public async Task<HttpHead?> ReadHeadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            int end = _buffer.AsSpan(_start, _end - _start).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                HttpHead head = new(Encoding.Latin1.GetString(_buffer, _start, end + 4));
                _start += end + 4;
                return head;
            }

            if (!await FillAsync(cancellationToken))
            {
                return null;
            }
        }
    }

    /// <summary>Gives a body piece by piece as it stands on the wire, each with whether it is data and not framing. False: it ended early.</summary>
    public async Task<bool> ReadBodyAsync(BodyFraming framing, long length, Func<Memory<byte>, bool, Task> piece, CancellationToken cancellationToken)
    {
        switch (framing)
        {
            case BodyFraming.None:
                return true;
            case BodyFraming.Length:
                return await ReadDataAsync(length, piece, true, cancellationToken);
            case BodyFraming.UntilClose:
                await ReadDataAsync(long.MaxValue, piece, true, cancellationToken);
                return true;
            default:
                while (await ReadLineAsync(cancellationToken) is { } line)
                {
                    await piece(Encoding.Latin1.GetBytes(line), false);
                    string size = line.Split(';')[0].Trim();
                    long chunk = long.Parse(size, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                    if (chunk == 0)
                    {
                        // Trailers, up to the empty line.
                        string? trailer;
                        do
                        {
                            trailer = await ReadLineAsync(cancellationToken);
                            if (trailer is null)
                            {
                                return false;
                            }

                            await piece(Encoding.Latin1.GetBytes(trailer), false);
                        }
                        while (trailer != "\r\n");
                        return true;
                    }

                    if (!await ReadDataAsync(chunk, piece, true, cancellationToken) || !await ReadDataAsync(2, piece, false, cancellationToken))
                    {
                        return false;
                    }
                }

                return false;
        }
    }

    private async Task<bool> ReadDataAsync(long length, Func<Memory<byte>, bool, Task> piece, bool isData, CancellationToken cancellationToken)
    {
        while (length > 0)
        {
            if (_start == _end && !await FillAsync(cancellationToken))
            {
                return false;
            }

            int count = (int)Math.Min(length, _end - _start);
            Memory<byte> bytes = _buffer.AsMemory(_start, count);
            _start += count;
            length -= count;
            await piece(bytes, isData);
        }

        return true;
    }

    private async Task<string?> ReadLineAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            int end = _buffer.AsSpan(_start, _end - _start).IndexOf("\r\n"u8);
            if (end >= 0)
            {
                string line = Encoding.Latin1.GetString(_buffer, _start, end + 2);
                _start += end + 2;
                return line;
            }

            if (!await FillAsync(cancellationToken))
            {
                return null;
            }
        }
    }

    private async Task<bool> FillAsync(CancellationToken cancellationToken)
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
        {
            throw new InvalidDataException("A head or line does not fit into 64 KiB.");
        }

        int read = await Stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
        _end += read;
        return read > 0;
    }
}
