using System.Buffers.Binary;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>Reads the fields of a message, none of them over its end.</summary>
internal ref struct WireReader(ReadOnlySpan<byte> body)
{
    private ReadOnlySpan<byte> _left = body;

    public readonly bool IsAtEnd => _left.IsEmpty;

    public byte Byte() => Bytes(1)[0];

    public int Int16() => BinaryPrimitives.ReadUInt16BigEndian(Bytes(2));

    public int Int32() => BinaryPrimitives.ReadInt32BigEndian(Bytes(4));

    public long Int64() => BinaryPrimitives.ReadInt64BigEndian(Bytes(8));

    /// <summary>A text that a zero byte ends.</summary>
    public string Text()
    {
        int end = _left.IndexOf((byte)0);
        string text = Encoding.UTF8.GetString(end < 0 ? throw Short() : _left[..end]);
        _left = _left[(end + 1)..];
        return text;
    }

    public ReadOnlySpan<byte> Bytes(int length)
    {
        ReadOnlySpan<byte> bytes = (uint)length <= (uint)_left.Length ? _left[..length] : throw Short();
        _left = _left[length..];
        return bytes;
    }

    public ReadOnlySpan<byte> Rest()
    {
        ReadOnlySpan<byte> rest = _left;
        _left = [];
        return rest;
    }

    private static BackupIQException Short() => new(ErrorCodes.SourceServer, "The server sent a message that ends before it says all that it has to");
}

/// <summary>What the server says went wrong, or should be known.</summary>
/// <param name="State">Its code: five letters and digits.</param>
/// <param name="Message">Its words.</param>
internal sealed record WireError(string State, string Message)
{
    /// <summary>Reads the fields.</summary>
    public static WireError Read(ReadOnlySpan<byte> body)
    {
        WireReader reader = new(body);
        string state = "";
        string message = "";
        while (!reader.IsAtEnd && reader.Byte() is not 0 and var field)
        {
            string text = reader.Text();
            state = field == 'C' ? text : state;
            message = field == 'M' ? text : message;
        }

        return new WireError(state, message);
    }

    public BackupIQException ToException(string place)
    {
        bool isDenied = State == "42501" || State.StartsWith("28", StringComparison.Ordinal);
        return Message.Contains("promoted", StringComparison.Ordinal)
            ? Backup.PostgresSession.Promoted()
            : new WireException(
                isDenied ? ErrorCodes.Authorization : ErrorCodes.SourceServer,
                $"The server at {place} refused: {Message}",
                isDenied ? "Let the role in for replication: REPLICATION, and a line for 'replication' in pg_hba.conf." : null,
                State);
    }
}

/// <summary>The server refused, and said by a code why.</summary>
internal sealed class WireException(ErrorCode code, string message, string? guidance, string state) : BackupIQException(code, message, guidance)
{
    /// <summary>Its code.</summary>
    public string State { get; } = state;
}
