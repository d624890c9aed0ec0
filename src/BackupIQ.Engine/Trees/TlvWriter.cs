using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>A growing buffer for varints and tagged fields; reused from directory to directory.</summary>
internal sealed class TlvWriter(int capacity = 1024)
{
    private byte[] _buffer = new byte[capacity];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Written => _buffer.AsSpan(0, Length);

    public void Clear() => Length = 0;

    public void WriteVarint(ulong value)
    {
        Span<byte> span = Reserve(10);
        int i = 0;
        while (value >= 0x80)
        {
            span[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        span[i++] = (byte)value;
        Length += i;
    }

    public void WriteSigned(long value) => WriteVarint(((ulong)value << 1) ^ (ulong)(value >> 63));

    public void WriteByte(byte value)
    {
        Reserve(1)[0] = value;
        Length++;
    }

    public void WriteBytes(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        Length += bytes.Length;
    }

    public void WriteBlock(ReadOnlySpan<byte> bytes)
    {
        WriteVarint((ulong)bytes.Length);
        WriteBytes(bytes);
    }

    public void WriteChunkId(in ChunkId id)
    {
        id.Write(Reserve(ChunkId.Size));
        Length += ChunkId.Size;
    }

    public void WriteField(byte tag, ReadOnlySpan<byte> bytes)
    {
        WriteByte(tag);
        WriteBlock(bytes);
    }

    /// <summary>A field whose value is one varint.</summary>
    public void WriteField(byte tag, ulong value)
    {
        WriteByte(tag);
        WriteByte((byte)VarintLength(value));
        WriteVarint(value);
    }

    public static int VarintLength(ulong value)
    {
        int length = 1;
        while (value >= 0x80)
        {
            value >>= 7;
            length++;
        }

        return length;
    }

    private Span<byte> Reserve(int count)
    {
        if (_buffer.Length - Length < count)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, Length + count));
        }

        return _buffer.AsSpan(Length);
    }
}
