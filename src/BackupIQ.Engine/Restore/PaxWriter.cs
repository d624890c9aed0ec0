using System.Buffers.Text;
using System.Globalization;
using System.Text;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Writes a tar archive in POSIX.1-2001's pax format: what does not fit a ustar header, times in nanoseconds and extended attributes (as
/// <c>SCHILY.xattr.*</c> and <c>SCHILY.acl.*</c>) stand in an extended header before it. Names are bytes and stay what they are.
/// </summary>
internal sealed class PaxWriter(Stream output) : IArchiveWriter
{
    private const int BlockSize = 512;

    /// <summary>tar reads 20 blocks at a time.</summary>
    private const int RecordSize = 20 * BlockSize;

    private const long MaxOctal7 = 0x1fffff;
    private const long MaxOctal11 = 0x1_ffff_ffff;

    private readonly byte[] _header = new byte[BlockSize];
    private readonly MemoryStream _extended = new();
    private long _written;

    /// <inheritdoc/>
    public string? Refuses(NodeType type) => type == NodeType.Socket ? "a tar archive has no sockets" : null;

    /// <inheritdoc/>
    public bool HasHardLinks => true;

    /// <inheritdoc/>
    public async Task AddAsync(byte[] path, NodeMetadata metadata, byte[]? linkTo, ArchiveContent? file, CancellationToken cancellationToken)
    {
        byte[] name = metadata.Type == NodeType.Directory && path[^1] != (byte)'/' ? [.. path, (byte)'/'] : path;
        byte[] linkName = linkTo ?? metadata.LinkTarget ?? [];
        char type = linkTo is not null ? '1' : metadata.Type switch
        {
            NodeType.Directory => '5',
            NodeType.SymbolicLink => '2',
            NodeType.CharacterDevice => '3',
            NodeType.BlockDevice => '4',
            NodeType.Fifo => '6',
            _ => '0',
        };
        byte[] map = type == '0' && file?.Extents is { } extents ? SparseMap(extents, (long)metadata.Size) : [];
        long size = type != '0' ? 0 : map.Length > 0 ? map.Length + file!.Extents!.Sum(static extent => (long)extent.Length) : (long)metadata.Size;
        _extended.SetLength(0);
        Array.Clear(_header);
        bool isRaw = !IsUtf8(name) || !IsUtf8(linkName);
        if (isRaw && (!FitsName(name) || linkName.Length > 100 || map.Length > 0))
        {
            AddRecord("hdrcharset", "BINARY"u8);
        }

        if (map.Length > 0)
        {
            // GNU's sparse format 1.0: who does not know it finds the file under a name that says so.
            AddRecord("GNU.sparse.major", "1"u8);
            AddRecord("GNU.sparse.minor", "0"u8);
            AddRecord("GNU.sparse.name", name);
            AddRecord("GNU.sparse.realsize", Encoding.ASCII.GetBytes(metadata.Size.ToString(CultureInfo.InvariantCulture)));
            "GNUSparseFile.0/file"u8.CopyTo(_header);
        }
        else
        {
            PutName(name, isRaw);
        }

        PutText(157, 100, "linkpath", linkName, isRaw);
        PutText(265, 31, "uname", metadata.UserName ?? [], isRaw);
        PutText(297, 31, "gname", metadata.GroupName ?? [], isRaw);
        PutNumber(108, 8, "uid", metadata.UserId, MaxOctal7);
        PutNumber(116, 8, "gid", metadata.GroupId, MaxOctal7);
        PutNumber(124, 12, "size", size, MaxOctal11);
        PutTime(metadata.Modified);
        PutOctal(100, 8, metadata.Mode & 0xfff);
        if (type is '3' or '4')
        {
            PutOctal(329, 8, metadata.DeviceMajor & MaxOctal7);
            PutOctal(337, 8, metadata.DeviceMinor & MaxOctal7);
        }

        if (type != '1')
        {
            AddAttributes(metadata.ExtendedAttributes);
        }

        _header[156] = (byte)type;
        byte[] main = [.. _header];
        if (_extended.Length > 0)
        {
            Array.Clear(_header);
            "PaxHeaders/entry"u8.CopyTo(_header);
            PutOctal(100, 8, 0x1a4);
            PutOctal(108, 8, 0);
            PutOctal(116, 8, 0);
            PutOctal(124, 12, _extended.Length);
            PutOctal(136, 12, Math.Clamp(metadata.Modified.Seconds, 0, MaxOctal11));
            _header[156] = (byte)'x';
            await PutHeaderAsync(_header, cancellationToken).ConfigureAwait(false);
            await WriteAsync(_extended.GetBuffer().AsMemory(0, (int)_extended.Length), cancellationToken).ConfigureAwait(false);
            await PadAsync(BlockSize, cancellationToken).ConfigureAwait(false);
        }

        await PutHeaderAsync(main, cancellationToken).ConfigureAwait(false);
        if (file is not null && size > 0)
        {
            await output.WriteAsync(map, cancellationToken).ConfigureAwait(false);
            foreach (Extent extent in map.Length > 0 ? file.Extents! : [new Extent(0, metadata.Size)])
            {
                await file.CopyAsync((long)extent.Offset, (long)extent.Length, output).ConfigureAwait(false);
            }

            _written += size;
            await PadAsync(BlockSize, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async Task EndAsync(CancellationToken cancellationToken)
    {
        await WriteAsync(new byte[2 * BlockSize], cancellationToken).ConfigureAwait(false);
        await PadAsync(RecordSize, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await output.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
        _written += bytes.Length;
    }

    // The number of runs of data, then of each where it begins and how long it is, a number a line; the last tells where the file ends.
    private static byte[] SparseMap(IReadOnlyList<Extent> extents, long size)
    {
        bool endsInHole = extents.Count == 0 || (long)(extents[^1].Offset + extents[^1].Length) < size;
        StringBuilder map = new();
        map.Append(CultureInfo.InvariantCulture, $"{extents.Count + (endsInHole ? 1 : 0)}\n");
        foreach (Extent extent in extents)
        {
            map.Append(CultureInfo.InvariantCulture, $"{extent.Offset}\n{extent.Length}\n");
        }

        map.Append(endsInHole ? string.Create(CultureInfo.InvariantCulture, $"{size}\n0\n") : "");
        int blocks = (map.Length + BlockSize - 1) / BlockSize;
        return Encoding.ASCII.GetBytes(map.Append('\0', (blocks * BlockSize) - map.Length).ToString());
    }

    private static bool IsUtf8(ReadOnlySpan<byte> text) => System.Text.Unicode.Utf8.IsValid(text);

    // A name of the header, or two parts of it around a slash.
    private static bool FitsName(ReadOnlySpan<byte> name) => name.Length <= 100 || SplitOf(name) > 0;

    private static int SplitOf(ReadOnlySpan<byte> name)
    {
        if (name.Length > 256)
        {
            return -1;
        }

        // The slash at a folder's end is no place to split.
        int split = name[..Math.Min(156, name.Length - 1)].LastIndexOf((byte)'/');
        return split > 0 && name.Length - split - 1 <= 100 ? split : -1;
    }

    private static async Task WriteZerosAsync(Stream output, long count, CancellationToken cancellationToken)
    {
        byte[] zeros = new byte[(int)Math.Min(count, RecordSize)];
        for (; count > 0; count -= zeros.Length)
        {
            await output.WriteAsync(zeros.AsMemory(0, (int)Math.Min(count, zeros.Length)), cancellationToken).ConfigureAwait(false);
        }
    }

    private void PutName(ReadOnlySpan<byte> name, bool isRaw)
    {
        int split = name.Length > 100 ? SplitOf(name) : -1;
        bool fits = name.Length <= 100 || split > 0;
        if (split > 0)
        {
            name[(split + 1)..].CopyTo(_header);
            name[..split].CopyTo(_header.AsSpan(345));
        }
        else
        {
            name[..Math.Min(100, name.Length)].CopyTo(_header);
        }

        // ustar's names are ASCII; a reader in any locale understands the other place.
        if (!fits || (!isRaw && !Ascii.IsValid(name)))
        {
            AddRecord("path", name);
        }
    }

    private void PutText(int offset, int room, string keyword, ReadOnlySpan<byte> text, bool isRaw)
    {
        text[..Math.Min(room, text.Length)].CopyTo(_header.AsSpan(offset));
        if (text.Length > room || (!isRaw && !Ascii.IsValid(text) && IsUtf8(text)))
        {
            AddRecord(keyword, text);
        }
    }

    private void PutNumber(int offset, int length, string keyword, long value, long most)
    {
        PutOctal(offset, length, value <= most ? value : 0);
        if (value > most)
        {
            AddRecord(keyword, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));
        }
    }

    private void PutTime(FileTime time)
    {
        PutOctal(136, 12, Math.Clamp(time.Seconds, 0, MaxOctal11));
        if (time.Nanoseconds == 0 && time.Seconds is >= 0 and <= MaxOctal11)
        {
            return;
        }

        // A decimal number: what is before 1970 counts its fraction downwards.
        bool isNegative = time.Seconds < 0;
        bool borrows = isNegative && time.Nanoseconds > 0;
        Int128 seconds = isNegative ? -((Int128)time.Seconds + (borrows ? 1 : 0)) : time.Seconds;
        uint nanoseconds = borrows ? 1_000_000_000 - time.Nanoseconds : time.Nanoseconds;
        string text = string.Create(CultureInfo.InvariantCulture, $"{(isNegative ? "-" : "")}{seconds}.{nanoseconds:000000000}");
        AddRecord("mtime", Encoding.ASCII.GetBytes(text.TrimEnd('0').TrimEnd('.')));
    }

    private void AddAttributes(IReadOnlyList<ExtendedAttribute> attributes)
    {
        foreach (ExtendedAttribute attribute in attributes)
        {
            ReadOnlySpan<byte> name = attribute.Name;
            if (name.SequenceEqual("system.posix_acl_access"u8) || name.SequenceEqual("system.posix_acl_default"u8))
            {
                if (AclText.TryWrite(attribute.Value, out string acl))
                {
                    AddRecord(name.EndsWith("access"u8) ? "SCHILY.acl.access" : "SCHILY.acl.default", Encoding.ASCII.GetBytes(acl));
                }

                continue;
            }

            // An equals sign would end the keyword; GNU tar spells it so.
            using MemoryStream keyword = new();
            keyword.Write("SCHILY.xattr."u8);
            foreach (byte b in name)
            {
                if (b is (byte)'=' or (byte)'%')
                {
                    keyword.Write(b == (byte)'=' ? "%3D"u8 : "%25"u8);
                }
                else
                {
                    keyword.WriteByte(b);
                }
            }

            AddRecord(keyword.ToArray(), attribute.Value);
        }
    }

    private void AddRecord(string keyword, ReadOnlySpan<byte> value) => AddRecord(Encoding.ASCII.GetBytes(keyword), value);

    // "LENGTH keyword=value\n", where the length counts its own digits.
    private void AddRecord(ReadOnlySpan<byte> keyword, ReadOnlySpan<byte> value)
    {
        int rest = keyword.Length + value.Length + 3;
        int length = rest + 1;
        while (length != rest + Digits(length))
        {
            length = rest + Digits(length);
        }

        Span<byte> number = stackalloc byte[12];
        _ = Utf8Formatter.TryFormat(length, number, out int digits);
        _extended.Write(number[..digits]);
        _extended.WriteByte((byte)' ');
        _extended.Write(keyword);
        _extended.WriteByte((byte)'=');
        _extended.Write(value);
        _extended.WriteByte((byte)'\n');
    }

    private static int Digits(int number) => number.ToString(CultureInfo.InvariantCulture).Length;

    private void PutOctal(int offset, int length, long value)
    {
        for (int i = offset + length - 2; i >= offset; i--)
        {
            _header[i] = (byte)('0' + (value & 7));
            value >>= 3;
        }
    }

    private async Task PutHeaderAsync(byte[] header, CancellationToken cancellationToken)
    {
        "ustar\0"u8.CopyTo(header.AsSpan(257));
        "00"u8.CopyTo(header.AsSpan(263));
        header.AsSpan(148, 8).Fill((byte)' ');
        int sum = 0;
        foreach (byte b in header)
        {
            sum += b;
        }

        for (int i = 153; i >= 148; i--)
        {
            header[i] = (byte)('0' + (sum & 7));
            sum >>= 3;
        }

        header[154] = 0;
        await WriteAsync(header, cancellationToken).ConfigureAwait(false);
    }

    private async Task PadAsync(int unit, CancellationToken cancellationToken)
    {
        long missing = (unit - (_written % unit)) % unit;
        await WriteZerosAsync(output, missing, cancellationToken).ConfigureAwait(false);
        _written += missing;
    }
}
