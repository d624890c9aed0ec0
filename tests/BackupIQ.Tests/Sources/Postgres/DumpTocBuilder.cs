using System.Text;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>Writes tables of contents of dumps as pg_dump's versions do (pg_backup_archiver.c, WriteHead and WriteToc).</summary>
internal sealed class DumpTocBuilder(int minor)
{
    private readonly List<byte> _entries = [];
    private int _count;

    /// <summary>Adds an entry; its id is its number.</summary>
    public DumpTocBuilder Add(string kind, string tag, string? schema = "public", string? file = null, string definition = "", string owner = "ci", params int[] on)
    {
        List<byte> to = _entries;
        Int(to, ++_count);
        Int(to, file is null ? 0 : 1);
        Text(to, "1259");
        Text(to, "16385");
        Text(to, tag);
        Text(to, kind);
        Int(to, 2);
        Text(to, definition);
        Text(to, "");
        Text(to, null);
        Text(to, schema);
        Text(to, null);
        if (minor >= 14)
        {
            Text(to, "heap");
        }

        if (minor >= 16)
        {
            Int(to, 'r');
        }

        Text(to, owner);
        Text(to, "false");
        foreach (int other in on)
        {
            Text(to, $"{other}");
        }

        Text(to, null);
        Text(to, file ?? "");
        return this;
    }

    public byte[] Build()
    {
        List<byte> head = [.. "PGDMP"u8, 1, (byte)minor, 0, 4, 8, 3];
        if (minor >= 15)
        {
            head.Add(0);
        }
        else
        {
            Int(head, -1);
        }

        for (int i = 0; i < 7; i++)
        {
            Int(head, i);
        }

        Text(head, "shop");
        Text(head, "15.18");
        Text(head, "15.18 (Debian)");
        Int(head, _count);
        return [.. head, .. _entries];
    }

    private static void Int(List<byte> to, int value)
    {
        to.Add(value < 0 ? (byte)1 : (byte)0);
        to.AddRange(BitConverter.GetBytes(Math.Abs(value)));
    }

    private static void Text(List<byte> to, string? text)
    {
        Int(to, text is null ? -1 : Encoding.UTF8.GetByteCount(text));
        to.AddRange(Encoding.UTF8.GetBytes(text ?? ""));
    }
}
