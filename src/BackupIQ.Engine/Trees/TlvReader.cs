using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>Reads varints and tagged fields from hostile bytes; whatever does not fit is a <see cref="CorruptDataException"/>.</summary>
internal ref struct TlvReader(ReadOnlySpan<byte> data)
{
    private ReadOnlySpan<byte> _rest = data;

    public readonly bool IsAtEnd => _rest.IsEmpty;

    public readonly ReadOnlySpan<byte> Rest => _rest;

    public ulong ReadVarint()
    {
        ulong value = 0;
        for (int i = 0; i < 10; i++)
        {
            if (i >= _rest.Length)
            {
                break;
            }

            byte b = _rest[i];
            value |= (ulong)(b & 0x7f) << (7 * i);
            if (b < 0x80)
            {
                if (i == 9 && b > 1)
                {
                    break;
                }

                _rest = _rest[(i + 1)..];
                return value;
            }
        }

        throw Malformed("a number is cut short or too large");
    }

    public long ReadSigned()
    {
        ulong raw = ReadVarint();
        return (long)(raw >> 1) ^ -(long)(raw & 1);
    }

    public uint ReadUInt32()
    {
        ulong value = ReadVarint();
        return value <= uint.MaxValue ? (uint)value : throw Malformed("a number is too large");
    }

    public byte ReadByte()
    {
        if (_rest.IsEmpty)
        {
            throw Malformed("it is cut short");
        }

        byte b = _rest[0];
        _rest = _rest[1..];
        return b;
    }

    public ReadOnlySpan<byte> ReadBytes(ulong length)
    {
        if (length > (ulong)_rest.Length)
        {
            throw Malformed("a field is longer than what is left");
        }

        ReadOnlySpan<byte> bytes = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return bytes;
    }

    /// <summary>Reads a length and so many bytes.</summary>
    public ReadOnlySpan<byte> ReadBlock() => ReadBytes(ReadVarint());

    public ChunkId ReadChunkId() => ChunkId.Read(ReadBytes(ChunkId.Size));

    public static CorruptDataException Malformed(string why) => new($"A directory of the snapshot is malformed: {why}.");
}
