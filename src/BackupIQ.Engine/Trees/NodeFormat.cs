using System.Buffers.Binary;
using System.Numerics;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// The bytes of a node: tagged fields, each a tag byte, a length and a value (docs/format.md, Trees). Fields that are zero or absent are
/// left out; fields that this version does not know are kept and written back.
/// </summary>
internal static class NodeFormat
{
    public const byte NameTag = 1;
    public const byte TypeTag = 2;
    public const byte ModeTag = 3;
    public const byte UserIdTag = 4;
    public const byte GroupIdTag = 5;
    public const byte UserNameTag = 6;
    public const byte GroupNameTag = 7;
    public const byte ModifiedTag = 8;
    public const byte SizeTag = 9;
    public const byte DeviceTag = 10;
    public const byte LinkTargetTag = 11;
    public const byte ExtendedAttributeTag = 12;
    public const byte HardLinkTag = 13;
    public const byte StreamTag = 14;
    public const byte SubtreeTag = 15;
    public const byte FlagsTag = 16;

    public const ulong SparseFlag = 1;
    public const ulong ChangedFlag = 2;

    /// <summary>Whether bytes can be an entry's own name: not empty, at most 4096 bytes, not a way out of its folder.</summary>
    public static bool IsName(ReadOnlySpan<byte> name) =>
        name.Length is > 0 and <= 4096 && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8) && !name.ContainsAny((byte)'/', (byte)0);

    /// <summary>Appends the node's fields.</summary>
    public static void Write(TlvWriter writer, Node node)
    {
        NodeMetadata metadata = node.Metadata;
        writer.WriteField(NameTag, metadata.Name);
        writer.WriteField(TypeTag, (ulong)metadata.Type);
        WriteNumber(writer, ModeTag, metadata.Mode);
        WriteNumber(writer, UserIdTag, metadata.UserId);
        WriteNumber(writer, GroupIdTag, metadata.GroupId);
        WriteText(writer, UserNameTag, metadata.UserName);
        WriteText(writer, GroupNameTag, metadata.GroupName);
        Span<byte> scratch = stackalloc byte[24];
        int length = PutVarint(scratch, ZigZag(metadata.Modified.Seconds));
        length += PutVarint(scratch[length..], metadata.Modified.Nanoseconds);
        writer.WriteField(ModifiedTag, scratch[..length]);
        WriteNumber(writer, SizeTag, metadata.Size);
        if (metadata.Type is NodeType.BlockDevice or NodeType.CharacterDevice)
        {
            length = PutVarint(scratch, metadata.DeviceMajor);
            length += PutVarint(scratch[length..], metadata.DeviceMinor);
            writer.WriteField(DeviceTag, scratch[..length]);
        }

        WriteText(writer, LinkTargetTag, metadata.LinkTarget);
        foreach (ExtendedAttribute attribute in metadata.ExtendedAttributes)
        {
            writer.WriteByte(ExtendedAttributeTag);
            writer.WriteVarint((ulong)(TlvWriter.VarintLength((ulong)attribute.Name.Length) + attribute.Name.Length + attribute.Value.Length));
            writer.WriteBlock(attribute.Name);
            writer.WriteBytes(attribute.Value);
        }

        if (node.HardLinkGroup != 0)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(scratch, node.HardLinkGroup);
            writer.WriteField(HardLinkTag, scratch[..8]);
        }

        if (node.Content is { } content)
        {
            TlvWriter stream = new(64 + (content.Chunks.Count * 36) + content.Inline.Length);
            WriteStream(stream, content);
            writer.WriteField(StreamTag, stream.Written);
        }

        if (node.Subtree is { } subtree)
        {
            writer.WriteByte(SubtreeTag);
            writer.WriteByte(ChunkId.Size);
            writer.WriteChunkId(subtree);
        }

        WriteNumber(writer, FlagsTag, (metadata.IsSparse ? SparseFlag : 0) | (node.ChangedWhileRead ? ChangedFlag : 0));
        writer.WriteBytes(node.UnknownFields.Span);
    }

    /// <summary>Reads a node; every length and name is checked.</summary>
    /// <exception cref="CorruptDataException">The bytes are not a node.</exception>
    public static Node Read(ReadOnlySpan<byte> bytes)
    {
        TlvReader reader = new(bytes);
        NodeFields fields = new();
        List<ExtendedAttribute>? attributes = null;
        TlvWriter? unknown = null;
        while (!reader.IsAtEnd)
        {
            byte tag = reader.ReadByte();
            ReadOnlySpan<byte> value = reader.ReadBlock();
            switch (tag)
            {
                case ExtendedAttributeTag:
                    TlvReader attribute = new(value);
                    byte[] name = attribute.ReadBlock().ToArray();
                    (attributes ??= []).Add(new ExtendedAttribute(name, attribute.Rest.ToArray()));
                    break;
                case StreamTag when value.Length > 0 && value[0] == 0:
                    fields.Content = ReadStream(value);
                    break;
                default:
                    if (!fields.Take(tag, value))
                    {
                        (unknown ??= new TlvWriter(64)).WriteField(tag, value);
                    }

                    break;
            }
        }

        return fields.ToNode(attributes ?? [], unknown?.Written.ToArray() ?? []);
    }

    /// <summary>Writes a stream's value: its name (empty: the data), its kind and what the kind needs.</summary>
    public static void WriteStream(TlvWriter writer, FileContent content)
    {
        writer.WriteByte(0);
        writer.WriteByte((byte)content.Kind);
        if (content.Kind == ContentKind.Inline)
        {
            writer.WriteBytes(content.Inline.Span);
            return;
        }

        writer.WriteByte(content.Kind == ContentKind.Pages ? (byte)BitOperations.Log2((uint)content.PageSize) : content.Profile);
        if (content.Kind is ContentKind.Extents or ContentKind.Indirect)
        {
            WriteExtents(writer, content.Extents);
        }

        WriteChunks(writer, content.Chunks);
        if (content.Kind == ContentKind.Pages)
        {
            WriteChunks(writer, content.Sums);
        }
    }

    /// <summary>Reads what <see cref="WriteStream"/> wrote.</summary>
    public static FileContent ReadStream(ReadOnlySpan<byte> value)
    {
        TlvReader reader = new(value);
        reader.ReadBlock();
        ContentKind kind = (ContentKind)reader.ReadByte();
        switch (kind)
        {
            case ContentKind.Inline:
                return new FileContent { Kind = kind, Inline = reader.Rest.ToArray() };
            case ContentKind.Chunks:
                byte profile = reader.ReadByte();
                return new FileContent { Kind = kind, Profile = profile, Chunks = ReadChunks(ref reader) };
            case ContentKind.Extents or ContentKind.Indirect:
                profile = reader.ReadByte();
                IReadOnlyList<Extent> extents = ReadExtents(ref reader);
                return new FileContent { Kind = kind, Profile = profile, Extents = extents, Chunks = ReadChunks(ref reader) };
            case ContentKind.Pages:
                byte log = reader.ReadByte();
                if (log is < 9 or > 16)
                {
                    throw TlvReader.Malformed("pages of a size that no file has");
                }

                FileContent pages = new() { Kind = kind, PageSize = 1 << log, Chunks = ReadChunks(ref reader), Sums = ReadChunks(ref reader) };
                return pages.Sums.Count == pages.Chunks.Count ? pages : throw TlvReader.Malformed("a page map lacks its sums");
            default:
                throw TlvReader.Malformed($"content of an unknown kind {(byte)kind}; a newer version wrote it");
        }
    }

    public static void WriteChunks(TlvWriter writer, IReadOnlyList<ChunkReference> chunks)
    {
        writer.WriteVarint((ulong)chunks.Count);
        for (int i = 0; i < chunks.Count; i++)
        {
            writer.WriteChunkId(chunks[i].Id);
            writer.WriteVarint(chunks[i].Length);
        }
    }

    public static ChunkReference[] ReadChunks(ref TlvReader reader)
    {
        ulong count = reader.ReadVarint();
        if (count > (ulong)reader.Rest.Length / (ChunkId.Size + 1))
        {
            throw TlvReader.Malformed("a list of chunks is longer than what is left");
        }

        ChunkReference[] chunks = new ChunkReference[(int)count];
        for (int i = 0; i < chunks.Length; i++)
        {
            chunks[i] = new ChunkReference(reader.ReadChunkId(), reader.ReadUInt32());
        }

        return chunks;
    }

    private static void WriteExtents(TlvWriter writer, IReadOnlyList<Extent> extents)
    {
        writer.WriteVarint((ulong)extents.Count);
        ulong end = 0;
        foreach (Extent extent in extents)
        {
            writer.WriteVarint(extent.Offset - end);
            writer.WriteVarint(extent.Length);
            end = extent.Offset + extent.Length;
        }
    }

    private static Extent[] ReadExtents(ref TlvReader reader)
    {
        ulong count = reader.ReadVarint();
        if (count > (ulong)reader.Rest.Length / 2)
        {
            throw TlvReader.Malformed("a list of extents is longer than what is left");
        }

        Extent[] extents = new Extent[(int)count];
        ulong end = 0;
        for (int i = 0; i < extents.Length; i++)
        {
            ulong offset = end + reader.ReadVarint();
            ulong length = reader.ReadVarint();
            if (offset < end || length == 0 || offset + length < offset || offset + length > long.MaxValue)
            {
                throw TlvReader.Malformed("an extent lies outside its file");
            }

            extents[i] = new Extent(offset, length);
            end = offset + length;
        }

        return extents;
    }

    private static void WriteNumber(TlvWriter writer, byte tag, ulong value)
    {
        if (value != 0)
        {
            writer.WriteField(tag, value);
        }
    }

    private static void WriteText(TlvWriter writer, byte tag, byte[]? value)
    {
        if (value is not null)
        {
            writer.WriteField(tag, value);
        }
    }

    private static ulong ZigZag(long value) => ((ulong)value << 1) ^ (ulong)(value >> 63);

    private static int PutVarint(Span<byte> span, ulong value)
    {
        int i = 0;
        while (value >= 0x80)
        {
            span[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        span[i++] = (byte)value;
        return i;
    }

    /// <summary>The single-valued fields of a node while it is read.</summary>
    private struct NodeFields
    {
        private byte[]? _name;
        private NodeType _type;
        private uint _mode;
        private uint _userId;
        private uint _groupId;
        private byte[]? _userName;
        private byte[]? _groupName;
        private FileTime _modified;
        private ulong _size;
        private uint _major;
        private uint _minor;
        private byte[]? _linkTarget;
        private ulong _hardLinkGroup;
        private ChunkId? _subtree;
        private ulong _flags;

        public FileContent? Content { get; set; }

        public bool Take(byte tag, ReadOnlySpan<byte> value)
        {
            TlvReader reader = new(value);
            switch (tag)
            {
                case NameTag: _name = value.ToArray(); break;
                case TypeTag: _type = (NodeType)reader.ReadByte(); break;
                case ModeTag: _mode = reader.ReadUInt32() & 0xFFF; break;
                case UserIdTag: _userId = reader.ReadUInt32(); break;
                case GroupIdTag: _groupId = reader.ReadUInt32(); break;
                case UserNameTag: _userName = value.ToArray(); break;
                case GroupNameTag: _groupName = value.ToArray(); break;
                case ModifiedTag: _modified = ReadTime(ref reader); break;
                case SizeTag: _size = reader.ReadVarint(); break;
                case DeviceTag: _major = reader.ReadUInt32(); _minor = reader.ReadUInt32(); break;
                case LinkTargetTag: _linkTarget = value.ToArray(); break;
                case HardLinkTag when value.Length == 8: _hardLinkGroup = BinaryPrimitives.ReadUInt64LittleEndian(value); break;
                case SubtreeTag: _subtree = reader.ReadChunkId(); break;
                case FlagsTag: _flags = reader.ReadVarint(); break;
                default: return false;
            }

            return true;
        }

        public readonly Node ToNode(IReadOnlyList<ExtendedAttribute> attributes, byte[] unknown)
        {
            if (_name is null || !IsName(_name))
            {
                throw TlvReader.Malformed("an entry has a name that no file may have").WithHostileName();
            }

            if (_size > long.MaxValue || (_type == NodeType.Directory && _subtree is null) || (_type == NodeType.File && Content is null))
            {
                throw TlvReader.Malformed("an entry lacks its content");
            }

            if (Content is { Kind: ContentKind.Pages } pages && (ulong)pages.Chunks.Count != PageMap.BlocksFor(_size, pages.PageSize))
            {
                throw PageMap.WrongCount();
            }

            return new Node
            {
                Metadata = new NodeMetadata
                {
                    Name = _name,
                    Type = _type,
                    Mode = _mode,
                    UserId = _userId,
                    GroupId = _groupId,
                    UserName = _userName,
                    GroupName = _groupName,
                    Modified = _modified,
                    Size = _size,
                    DeviceMajor = _major,
                    DeviceMinor = _minor,
                    LinkTarget = _linkTarget,
                    ExtendedAttributes = attributes,
                    IsSparse = (_flags & SparseFlag) != 0,
                },
                Subtree = _subtree,
                Content = Content,
                HardLinkGroup = _hardLinkGroup,
                ChangedWhileRead = (_flags & ChangedFlag) != 0,
                UnknownFields = unknown,
            };
        }
    }

    /// <summary>Reads a time: signed seconds, then nanoseconds below a second.</summary>
    public static FileTime ReadTime(ref TlvReader reader)
    {
        long seconds = reader.ReadSigned();
        uint nanoseconds = reader.ReadUInt32();
        return nanoseconds < 1_000_000_000 ? new FileTime(seconds, nanoseconds) : throw TlvReader.Malformed("a time is out of range");
    }

    private static CorruptDataException WithHostileName(this CorruptDataException exception)
    {
        exception.With("refused", "a name that would leave its folder");
        return exception;
    }
}
