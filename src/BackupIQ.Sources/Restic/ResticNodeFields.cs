using System.Text.Json;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>The fields of an entry as they stand in a tree's document: read one after the other, then refused or taken.</summary>
internal struct ResticNodeFields()
{
    /// <summary>What Linux may have of attributes of one entry is less than 128 KiB; macOS's resource forks may be larger.</summary>
    private const int MaxAttributes = 1 << 20;

    private const int MaxName = 4096;

    private static readonly byte[] Replacement = [0xEF, 0xBF, 0xBD];

    private byte[] _quoted = [];
    private string _type = "";
    private ulong _mode;
    private FileTime _modified;
    private FileTime _changed;
    private uint _userId;
    private uint _groupId;
    private byte[] _userName = [];
    private byte[] _groupName = [];
    private ulong _inode;
    private ulong _deviceId;
    private ulong _size;
    private ulong _links;
    private byte[]? _target;
    private byte[]? _rawTarget;
    private ulong _device;
    private List<ExtendedAttribute> _attributes = [];
    private int _attributeBytes;
    private ResticId[] _content = [];
    private ResticId? _subtree;
    private string? _problem;

    /// <summary>Reads a field: stands on its name, and leaves on the last token of its value.</summary>
    public void ReadField(ref Utf8JsonReader reader)
    {
        if (Is(ref reader, "name"u8))
        {
            _quoted = ResticText.Read(ref reader);
        }
        else if (Is(ref reader, "type"u8))
        {
            _type = reader.GetString() ?? "";
        }
        else if (Is(ref reader, "mode"u8))
        {
            _mode = reader.GetUInt64();
        }
        else if (Is(ref reader, "mtime"u8))
        {
            _modified = Time(ref reader);
        }
        else if (Is(ref reader, "ctime"u8))
        {
            _changed = Time(ref reader);
        }
        else if (Is(ref reader, "uid"u8))
        {
            _userId = reader.GetUInt32();
        }
        else if (Is(ref reader, "gid"u8))
        {
            _groupId = reader.GetUInt32();
        }
        else if (Is(ref reader, "user"u8))
        {
            _userName = ResticText.Read(ref reader);
        }
        else if (Is(ref reader, "group"u8))
        {
            _groupName = ResticText.Read(ref reader);
        }
        else if (Is(ref reader, "inode"u8))
        {
            _inode = reader.GetUInt64();
        }
        else if (Is(ref reader, "device_id"u8))
        {
            _deviceId = reader.GetUInt64();
        }
        else if (Is(ref reader, "size"u8))
        {
            _size = reader.GetUInt64();
        }
        else if (Is(ref reader, "links"u8))
        {
            _links = reader.GetUInt64();
        }
        else if (Is(ref reader, "linktarget"u8))
        {
            _target = ResticText.Read(ref reader);
        }
        else if (Is(ref reader, "linktarget_raw"u8))
        {
            _rawTarget = reader.TokenType == JsonTokenType.Null ? null : reader.GetBytesFromBase64();
        }
        else if (Is(ref reader, "device"u8))
        {
            _device = reader.GetUInt64();
        }
        else if (Is(ref reader, "extended_attributes"u8))
        {
            ReadAttributes(ref reader);
        }
        else if (Is(ref reader, "content"u8))
        {
            ReadContent(ref reader);
        }
        else if (Is(ref reader, "subtree"u8))
        {
            _subtree = reader.TokenType == JsonTokenType.Null ? null : Id(ref reader);
        }
        else
        {
            // Access times are not kept; error, generic_attributes and what newer versions write have no place here.
            reader.Read();
            reader.Skip();
        }
    }

    /// <summary>Why the entry cannot be kept; null where it can.</summary>
    public readonly ResticRefusal? Refusal()
    {
        byte[]? name = ResticText.Unquote(_quoted);
        byte[] shown = name ?? _quoted;
        return name is null || !IsName(name) ? new ResticRefusal(shown, ErrorCodes.HostileName, "It has a name that no file may have, so it is left out.")
            : TypeOf(_type) is not { } type ? new ResticRefusal(shown, ErrorCodes.SourceUnreadable, $"It is of the kind '{(_type.Length > 40 ? _type[..40] : _type)}', which cannot be kept, so it is left out.")
            : _size > long.MaxValue ? new ResticRefusal(shown, ErrorCodes.SourceUnreadable, "Its size is none that a file may have, so it is left out.")
            : type == NodeType.Directory && _subtree is null ? new ResticRefusal(shown, ErrorCodes.SourceUnreadable, "It is a folder without a tree, so it is left out.")
            : _userName.Length > MaxName || _groupName.Length > MaxName || (_rawTarget ?? _target)?.Length > MaxName
                ? new ResticRefusal(shown, ErrorCodes.SourceUnreadable, "What is said of it is longer than it can be of any file, so it is left out.")
            : null;
    }

    /// <summary>What of the entry cannot be kept though it can itself; null where all can.</summary>
    public readonly ResticRefusal? Problem() =>
        _problem is null ? null : new ResticRefusal(ResticText.Unquote(_quoted) ?? _quoted, ErrorCodes.SourceUnreadable, _problem);

    /// <summary>The entry, where nothing refuses it.</summary>
    public readonly ResticNode ToNode()
    {
        NodeType type = TypeOf(_type)!.Value;
        byte[]? target = type == NodeType.SymbolicLink ? _rawTarget ?? _target ?? [] : null;
        bool isLossy = (_rawTarget is null && HasReplacement(target)) || _attributes.Any(static attribute => HasReplacement(attribute.Name));
        return new ResticNode
        {
            Name = ResticText.Unquote(_quoted)!,
            Type = type,
            Mode = Permissions(_mode),
            Modified = _modified,
            Changed = _changed,
            UserId = _userId,
            GroupId = _groupId,
            UserName = _userName.Length == 0 ? null : _userName,
            GroupName = _groupName.Length == 0 ? null : _groupName,
            Inode = _inode,
            DeviceId = _deviceId,
            Size = type == NodeType.File ? _size : 0,
            Links = _links,
            LinkTarget = target,
            Device = _device,
            ExtendedAttributes = [.. _attributes.OrderBy(static attribute => attribute.Name, Files.ByBytes.Instance)],
            Content = type == NodeType.File ? _content : [],
            Subtree = type == NodeType.Directory ? _subtree : null,
            IsLossy = isLossy,
        };
    }

    private static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<byte> name) => reader.ValueTextEquals(name) && reader.Read();

    private static bool HasReplacement(byte[]? bytes) => bytes is not null && bytes.AsSpan().IndexOf(Replacement) >= 0;

    private static FileTime Time(ref Utf8JsonReader reader) =>
        ResticTime.TryParse(ResticText.Read(ref reader), out FileTime time, out _) ? time : throw new JsonException("A time is none.");

    private static ResticId Id(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String && ResticId.TryParse(reader.ValueSpan, out ResticId id) ? id : throw new JsonException("An id is none.");

    private void ReadAttributes(ref Utf8JsonReader reader)
    {
        _attributes = [];
        _attributeBytes = 0;
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        HashSet<byte[]> names = new(Files.ByBytes.Instance);
        while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
        {
            byte[] name = [];
            byte[] value = [];
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (Is(ref reader, "name"u8))
                {
                    name = ResticText.Read(ref reader);
                }
                else if (Is(ref reader, "value"u8))
                {
                    value = reader.TokenType == JsonTokenType.Null ? [] : reader.GetBytesFromBase64();
                }
                else
                {
                    reader.Read();
                    reader.Skip();
                }
            }

            if (name.Length is 0 or > MaxName || name.AsSpan().Contains((byte)0) || !names.Add(name))
            {
                _problem = "One of its attributes has a name that none may have, so that attribute is left out.";
            }
            else if (name.Length + value.Length > MaxAttributes - _attributeBytes)
            {
                _problem = "Its attributes are more than can be kept, so not all of them are.";
            }
            else
            {
                _attributeBytes += name.Length + value.Length;
                _attributes.Add(new ExtendedAttribute(name, value));
            }
        }

        if (reader.TokenType != JsonTokenType.EndArray)
        {
            throw new JsonException("The attributes are no list.");
        }
    }

    private void ReadContent(ref Utf8JsonReader reader)
    {
        _content = [];
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException("The content is no list.");
        }

        List<ResticId> content = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            content.Add(Id(ref reader));
        }

        _content = [.. content];
    }

    private static bool IsName(ReadOnlySpan<byte> name) =>
        name.Length is > 0 and <= MaxName && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8) && !name.ContainsAny((byte)'/', (byte)0);

    // Go's os.FileMode: permissions as everywhere, the rest in bits of its own.
    private static uint Permissions(ulong mode) =>
        (uint)(mode & 0x1ff)
        | ((mode & (1 << 23)) != 0 ? 0x800u : 0)
        | ((mode & (1 << 22)) != 0 ? 0x400u : 0)
        | ((mode & (1 << 20)) != 0 ? 0x200u : 0);

    private static NodeType? TypeOf(string type) => type switch
    {
        "file" => NodeType.File,
        "dir" => NodeType.Directory,
        "symlink" => NodeType.SymbolicLink,
        "dev" => NodeType.BlockDevice,
        "chardev" => NodeType.CharacterDevice,
        "fifo" => NodeType.Fifo,
        "socket" => NodeType.Socket,
        _ => null,
    };
}

/// <summary>An entry that is left out, or something of it.</summary>
/// <param name="Name">What it is called, for a message.</param>
/// <param name="Code">What kind of failure that is.</param>
/// <param name="Reason">A sentence.</param>
internal sealed record ResticRefusal(byte[] Name, ErrorCode Code, string Reason);
