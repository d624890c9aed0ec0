using System.Buffers.Binary;
using System.Runtime.InteropServices;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Format;

/// <summary>A pack as index segments list it: 48 bytes.</summary>
internal readonly record struct PackEntry(PackId Id, ulong Size, PackKind Kind, byte SaltCount, uint FirstSalt)
{
    public const int EncodedSize = 48;

    public void Write(Span<byte> bytes)
    {
        bytes[..EncodedSize].Clear();
        Id.Write(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[32..], Size);
        bytes[40] = (byte)Kind;
        bytes[41] = SaltCount;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[44..], FirstSalt);
    }

    public static PackEntry Read(ReadOnlySpan<byte> bytes) => new(
        PackId.Read(bytes),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[32..]),
        (PackKind)bytes[40],
        bytes[41],
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[44..]));
}

/// <summary>An entry of the sorted part: 28 bytes.</summary>
internal readonly record struct IndexEntry(UInt128 Prefix, uint Frame, uint Offset, uint Length)
{
    public const int Size = 28;

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt128BigEndian(bytes, Prefix);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], Frame);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[20..], Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[24..], Length);
    }

    public static IndexEntry Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt128BigEndian(bytes),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]));
}

/// <summary>
/// The plain bytes of an index segment, also of the runs in the local cache (docs/format.md, Index): head, packs, salts, frames,
/// tombstones, entries sorted by prefix. This type knows where each part lies and reads single records.
/// </summary>
internal readonly record struct IndexLayout(uint Packs, uint Salts, uint Frames, uint Tombstones, ulong Entries)
{
    public const int HeadSize = 56;
    public const int FrameSize = FrameEntry.Size + 4;

    public static ReadOnlySpan<byte> Magic => "BIQX"u8;

    public long PacksAt => HeadSize;

    public long SaltsAt => PacksAt + ((long)Packs * PackEntry.EncodedSize);

    public long FramesAt => SaltsAt + ((long)Salts * SaltRow.Size);

    public long TombstonesAt => FramesAt + ((long)Frames * FrameSize);

    public long EntriesAt => TombstonesAt + ((long)Tombstones * PackId.Size);

    public long Size => EntriesAt + ((long)Entries * IndexEntry.Size);

    public void WriteHead(Span<byte> bytes, SessionId session, ushort worker, ulong sequence)
    {
        bytes[..HeadSize].Clear();
        Magic.CopyTo(bytes);
        bytes[4] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[6..], worker);
        session.Write(bytes[8..]);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[24..], sequence);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[32..], Packs);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[36..], Salts);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[40..], Frames);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[44..], Tombstones);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[48..], Entries);
    }

    /// <summary>Reads the head; the parts must fill <paramref name="length"/> bytes exactly.</summary>
    public static IndexLayout ReadHead(ReadOnlySpan<byte> bytes, long length)
    {
        if (bytes.Length < HeadSize || !bytes[..4].SequenceEqual(Magic) || bytes[4] != 1)
        {
            throw new CorruptDataException("An index segment has a wrong head.");
        }

        IndexLayout layout = new(
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[36..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[40..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[44..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[48..]));
        return layout.Entries <= uint.MaxValue && layout.Size == length
            ? layout
            : throw new CorruptDataException("An index segment has a wrong length.");
    }
}

/// <summary>Makes the plain bytes of an index segment out of the contents of packs.</summary>
internal sealed class IndexSegmentBuilder
{
    private readonly List<PackEntry> _packs = [];
    private readonly List<SaltRow> _salts = [];
    private readonly List<(FrameEntry Frame, uint Pack)> _frames = [];
    private readonly List<IndexEntry> _entries = [];
    private readonly List<PackId> _tombstones = [];

    public int PackCount => _packs.Count;

    public bool IsEmpty => _packs.Count == 0 && _tombstones.Count == 0;

    public void AddPack(PackId id, ulong size, IReadOnlyList<SaltRow> salts, PackContents contents)
    {
        uint pack = (uint)_packs.Count;
        _packs.Add(new PackEntry(id, size, contents.Kind, (byte)salts.Count, (uint)_salts.Count));
        _salts.AddRange(salts);
        int chunk = 0;
        foreach (FrameEntry frame in contents.Frames)
        {
            uint number = (uint)_frames.Count;
            _frames.Add((frame, pack));
            uint offset = 0;
            for (int i = 0; i < frame.ChunkCount; i++, chunk++)
            {
                ChunkEntry entry = contents.Chunks[chunk];
                _entries.Add(new IndexEntry(entry.Id.High, number, offset, entry.Length));
                offset += entry.Length;
            }
        }
    }

    public void AddTombstone(PackId pack) => _tombstones.Add(pack);

    public byte[] Build(SessionId session, ushort worker, ulong sequence)
    {
        CollectionsMarshal.AsSpan(_entries).Sort(static (a, b) => a.Prefix.CompareTo(b.Prefix));
        IndexLayout layout = new((uint)_packs.Count, (uint)_salts.Count, (uint)_frames.Count, (uint)_tombstones.Count, (ulong)_entries.Count);
        byte[] bytes = new byte[layout.Size];
        layout.WriteHead(bytes, session, worker, sequence);
        for (int i = 0; i < _packs.Count; i++)
        {
            _packs[i].Write(bytes.AsSpan((int)layout.PacksAt + (i * PackEntry.EncodedSize)));
        }

        for (int i = 0; i < _salts.Count; i++)
        {
            _salts[i].Write(bytes.AsSpan((int)layout.SaltsAt + (i * SaltRow.Size)));
        }

        for (int i = 0; i < _frames.Count; i++)
        {
            Span<byte> at = bytes.AsSpan((int)layout.FramesAt + (i * IndexLayout.FrameSize));
            _frames[i].Frame.Write(at);
            BinaryPrimitives.WriteUInt32LittleEndian(at[FrameEntry.Size..], _frames[i].Pack);
        }

        for (int i = 0; i < _tombstones.Count; i++)
        {
            _tombstones[i].Write(bytes.AsSpan((int)layout.TombstonesAt + (i * PackId.Size)));
        }

        for (int i = 0; i < _entries.Count; i++)
        {
            _entries[i].Write(bytes.AsSpan((int)layout.EntriesAt + (i * IndexEntry.Size)));
        }

        return bytes;
    }
}
