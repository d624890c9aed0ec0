using BackupIQ.Engine.Backup;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// What tells a later run whether an entry changed, and belongs to one machine: kept beside the tree, so that equal trees on two machines
/// share their metadata. Scan pages run parallel to tree pages: one entry for each node, in the same order (docs/format.md, Scans).
/// </summary>
internal readonly record struct ScanEntry(FileTime Changed, ulong Inode, ulong Device, ChunkId? Subscan)
{
    public static ScanEntry Of(in SourceStat stat, ChunkId? subscan = null) => new(stat.Changed, stat.Inode, stat.Device, subscan);

    public void Write(TlvWriter writer)
    {
        writer.WriteSigned(Changed.Seconds);
        writer.WriteVarint(Changed.Nanoseconds);
        writer.WriteVarint(Inode);
        writer.WriteVarint(Device);
        writer.WriteByte(Subscan is null ? (byte)0 : (byte)1);
        if (Subscan is { } id)
        {
            writer.WriteChunkId(id);
        }
    }

    public static ScanEntry Read(ref TlvReader reader)
    {
        FileTime changed = NodeFormat.ReadTime(ref reader);
        ulong inode = reader.ReadVarint();
        ulong device = reader.ReadVarint();
        return reader.ReadByte() switch
        {
            0 => new ScanEntry(changed, inode, device, null),
            1 => new ScanEntry(changed, inode, device, reader.ReadChunkId()),
            _ => throw TlvReader.Malformed("a scan entry has an unknown flag"),
        };
    }
}
