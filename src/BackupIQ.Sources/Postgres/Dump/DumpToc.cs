using System.Globalization;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>An entry of a dump's table of contents.</summary>
internal sealed record DumpTocEntry
{
    public required int Id { get; init; }

    /// <summary>The object's oid in the server that was dumped.</summary>
    public required long Oid { get; init; }

    /// <summary>Its name, or that of what it belongs to and its own.</summary>
    public required string Tag { get; init; }

    /// <summary>What it is, in pg_dump's words: <c>TABLE DATA</c>, <c>INDEX</c>, …</summary>
    public required string Kind { get; init; }

    public required string? Schema { get; init; }

    /// <summary>The role that owns it.</summary>
    public required string? Owner { get; init; }

    /// <summary>Entries that must be there before it.</summary>
    public required IReadOnlyList<int> DependsOn { get; init; }

    /// <summary>The file of its data in the folder; null: it has none.</summary>
    public required string? File { get; init; }

    /// <summary>Of rights: the statements that give them.</summary>
    public required string? Grants { get; init; }
}

/// <summary>
/// Reads <c>toc.dat</c> of a dump in the directory format: what is in the dump, and in which files. The format is that of pg_dump's archives of versions 1.12 to 1.16
/// (PostgreSQL 9.0 to 18), as its source (<c>pg_backup_archiver.c</c>, ReadHead and ReadToc) has it.
/// </summary>
internal ref struct DumpToc
{
    // A folder's table of contents says that it is a tar's, as it always did.
    private const int TarFormat = 3;
    private const int DirectoryFormat = 5;
    private const int MostEntries = 10_000_000;

    private ReadOnlySpan<byte> _rest;
    private int _intSize;

    /// <summary>Reads all entries; null: it is of a version that is not known here, which is no damage.</summary>
    /// <exception cref="BackupIQException"><c>CorruptData</c>: it is no table of contents, or not a whole one.</exception>
    public static IReadOnlyList<DumpTocEntry>? Read(ReadOnlySpan<byte> bytes)
    {
        DumpToc reader = new() { _rest = bytes };
        if (!reader.Take(5).SequenceEqual("PGDMP"u8))
        {
            throw Damaged("it begins otherwise");
        }

        (int major, int minor) = (reader.Byte(), reader.Byte());
        reader.Byte();
        if (major != 1 || minor is < 12 or > 16)
        {
            return null;
        }

        reader._intSize = reader.Byte();
        reader.Byte();
        if (reader._intSize is < 1 or > 8 || reader.Byte() is not (TarFormat or DirectoryFormat))
        {
            throw Damaged("it is none of a folder");
        }

        if (minor >= 15)
        {
            reader.Byte();
        }
        else
        {
            reader.Int();
        }

        for (int i = 0; i < 7; i++)
        {
            reader.Int();
        }

        for (int i = 0; i < 3; i++)
        {
            reader.Text();
        }

        int count = reader.Int();
        if (count is < 0 or > MostEntries)
        {
            throw Damaged($"it has {count.ToString(CultureInfo.InvariantCulture)} entries");
        }

        List<DumpTocEntry> entries = [];
        for (int i = 0; i < count; i++)
        {
            entries.Add(reader.Entry(minor));
        }

        return entries;
    }

    private DumpTocEntry Entry(int minor)
    {
        int id = Int();
        Int();
        Text();
        long oid = Number(Text());
        string tag = Text() ?? "";
        string kind = Text() ?? "";
        Int();

        // How to make it, to drop it, and to copy into it.
        string? definition = Text();
        Text();
        Text();
        string? schema = Text();
        Text();
        if (minor >= 14)
        {
            Text();
        }

        if (minor >= 16)
        {
            Int();
        }

        string? owner = Text();
        Text();
        List<int> dependsOn = [];
        while (Text() is { } other)
        {
            dependsOn.Add((int)Math.Clamp(Number(other), 0, int.MaxValue));
        }

        return new DumpTocEntry
        {
            Id = id,
            Oid = oid,
            Tag = tag,
            Kind = kind,
            Schema = schema is { Length: > 0 } ? schema : null,
            Owner = owner is { Length: > 0 } ? owner : null,
            DependsOn = dependsOn,
            File = Text() is not { Length: > 0 } file ? null : IsName(file) ? file : throw Damaged("it names a file outside of its folder"),
            Grants = kind is "ACL" or "DEFAULT ACL" ? definition : null,
        };
    }

    // pg_restore opens what it says, wherever that leads.
    private static bool IsName(string file) => !file.AsSpan().ContainsAny('/', '\0') && file is not ("." or "..");

    private static long Number(string? text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw Damaged("a number in it is none");

    private ReadOnlySpan<byte> Take(int length)
    {
        if (length < 0 || length > _rest.Length)
        {
            throw Damaged("it ends early");
        }

        ReadOnlySpan<byte> taken = _rest[..length];
        _rest = _rest[length..];
        return taken;
    }

    private int Byte() => Take(1)[0];

    // A sign, then the bytes from the lowest up.
    private int Int()
    {
        bool isNegative = Byte() != 0;
        ulong value = 0;
        int shift = 0;
        foreach (byte one in Take(_intSize))
        {
            value |= (ulong)one << shift;
            shift += 8;
        }

        return value > int.MaxValue ? throw Damaged("a number in it is too large") : isNegative ? -(int)value : (int)value;
    }

    private string? Text()
    {
        int length = Int();
        return length < 0 ? null : Encoding.UTF8.GetString(Take(length));
    }

    private static BackupIQException Damaged(string why) => new(ErrorCodes.CorruptData, $"The dump's table of contents (toc.dat) cannot be read: {why}");
}
