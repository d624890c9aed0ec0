using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// A node read just far enough to compare it with what is on disk, without allocating. It points into the page that it was read from.
/// </summary>
internal ref struct NodePeek
{
    /// <summary>The node's fields as they stand in the page; written again as they are when nothing changed.</summary>
    public ReadOnlySpan<byte> Raw;

    public ReadOnlySpan<byte> Name;

    public NodeType Type;

    public FileTime Modified;

    public ulong Size;

    public ulong HardLinkGroup;

    public ReadOnlySpan<byte> Stream;

    public ReadOnlySpan<byte> SubtreeBytes;

    public bool ChangedWhileRead;

    /// <summary>Reads no more than name and type, which writers put first.</summary>
    public static void ReadHead(ReadOnlySpan<byte> raw, out ReadOnlySpan<byte> name, out NodeType type)
    {
        TlvReader reader = new(raw);
        if (reader.ReadByte() == NodeFormat.NameTag)
        {
            name = reader.ReadBlock();
            if (reader.ReadByte() == NodeFormat.TypeTag && reader.ReadBlock() is [byte only])
            {
                type = (NodeType)only;
                return;
            }
        }

        NodePeek peek = Read(raw);
        name = peek.Name;
        type = peek.Type;
    }

    public static NodePeek Read(ReadOnlySpan<byte> raw)
    {
        NodePeek peek = new() { Raw = raw };
        TlvReader reader = new(raw);
        while (!reader.IsAtEnd)
        {
            byte tag = reader.ReadByte();
            ReadOnlySpan<byte> value = reader.ReadBlock();
            TlvReader field = new(value);
            switch (tag)
            {
                case NodeFormat.NameTag: peek.Name = value; break;
                case NodeFormat.TypeTag: peek.Type = (NodeType)field.ReadByte(); break;
                case NodeFormat.ModifiedTag: peek.Modified = NodeFormat.ReadTime(ref field); break;
                case NodeFormat.SizeTag: peek.Size = field.ReadVarint(); break;
                case NodeFormat.HardLinkTag when value.Length == 8: peek.HardLinkGroup = BitConverter.ToUInt64(value); break;
                case NodeFormat.StreamTag when value.Length > 0 && value[0] == 0: peek.Stream = value; break;
                case NodeFormat.SubtreeTag when value.Length == ChunkId.Size: peek.SubtreeBytes = value; break;
                case NodeFormat.FlagsTag: peek.ChangedWhileRead = (field.ReadVarint() & NodeFormat.ChangedFlag) != 0; break;
                default: break;
            }
        }

        return peek;
    }
}
