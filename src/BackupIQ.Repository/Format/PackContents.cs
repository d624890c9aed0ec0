using System.Buffers.Binary;
using BackupIQ.Primitives;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The contents table of a pack: its frames, and for each the full ids and lengths of its chunks, which lie back to back in the opened
/// frame (docs/format.md, Packs). Sealed twice at the pack's end; the index can be rebuilt from it and it from the index.
/// </summary>
internal sealed class PackContents(PackKind kind, SessionId session, ushort worker)
{
    public const int HeadSize = 28;
    public const int ChunkSize = ChunkId.Size + 4;

    /// <summary>The largest table that is read: a pack of 256 MiB full of the smallest chunks stays below.</summary>
    public const int MaxSize = 64 << 20;

    public PackKind Kind { get; } = kind;

    public SessionId Session { get; } = session;

    public ushort Worker { get; } = worker;

    public List<FrameEntry> Frames { get; } = [];

    public List<ChunkEntry> Chunks { get; } = [];

    public int Size => HeadSize + (Frames.Count * FrameEntry.Size) + (Chunks.Count * ChunkSize);

    public void Write(Span<byte> bytes)
    {
        bytes[0] = 1;
        bytes[1] = (byte)Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[2..], Worker);
        Session.Write(bytes[4..]);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[20..], Frames.Count);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[24..], Chunks.Count);
        int at = HeadSize;
        foreach (FrameEntry frame in Frames)
        {
            frame.Write(bytes[at..]);
            at += FrameEntry.Size;
        }

        foreach (ChunkEntry chunk in Chunks)
        {
            chunk.Id.Write(bytes[at..]);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[(at + ChunkId.Size)..], chunk.Length);
            at += ChunkSize;
        }
    }

    /// <summary>Reads a table and checks every number against the pack's size.</summary>
    /// <exception cref="CorruptDataException">It is not a contents table.</exception>
    public static PackContents Read(ReadOnlySpan<byte> bytes, long packSize, int saltRows)
    {
        if (bytes.Length < HeadSize || bytes[0] != 1 || (PackKind)bytes[1] is not (PackKind.Data or PackKind.Metadata))
        {
            throw new CorruptDataException("A pack's contents table is malformed.");
        }

        uint frames = BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]);
        uint chunks = BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]);
        if (HeadSize + ((long)frames * FrameEntry.Size) + ((long)chunks * ChunkSize) != bytes.Length)
        {
            throw new CorruptDataException("A pack's contents table has a wrong length.");
        }

        PackContents contents = new((PackKind)bytes[1], SessionId.Read(bytes[4..]), BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]));
        contents.Frames.Capacity = (int)frames;
        contents.Chunks.Capacity = (int)chunks;
        int chunkAt = HeadSize + ((int)frames * FrameEntry.Size);
        for (int i = 0; i < frames; i++)
        {
            FrameEntry frame = FrameEntry.Read(bytes[(HeadSize + (i * FrameEntry.Size))..]);
            if (!frame.IsPlausible(packSize, saltRows))
            {
                throw new CorruptDataException("A pack's contents table names a frame outside the pack.");
            }

            contents.Frames.Add(frame);
            contents.ReadChunks(bytes, ref chunkAt, frame);
        }

        return chunkAt == bytes.Length ? contents : throw new CorruptDataException("A pack's contents table has chunks of no frame.");
    }

    private void ReadChunks(ReadOnlySpan<byte> bytes, ref int at, in FrameEntry frame)
    {
        long end = 0;
        for (int i = 0; i < frame.ChunkCount; i++, at += ChunkSize)
        {
            if (at + ChunkSize > bytes.Length)
            {
                throw new CorruptDataException("A pack's contents table is cut short.");
            }

            uint length = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at + ChunkId.Size)..]);
            end += length;
            if (length == 0 || end > frame.PlainLength)
            {
                throw new CorruptDataException("A pack's contents table names a chunk outside its frame.");
            }

            Chunks.Add(new ChunkEntry(ChunkId.Read(bytes[at..]), length));
        }
    }
}

/// <summary>A chunk as contents tables list it.</summary>
internal readonly record struct ChunkEntry(ChunkId Id, uint Length);
