namespace BackupIQ.Engine.Trees;

/// <summary>
/// A directory is one page of nodes, or, beyond some thousand entries, a page that lists pages (docs/format.md, Trees).
/// Page: version 1, kind (0 nodes, 1 list), count, then per node a block, or per page its first name, id and node count.
/// </summary>
internal static class TreePage
{
    public const byte Version = 1;
    public const byte Nodes = 0;
    public const byte List = 1;

    /// <summary>The largest page that is read; writers stay under a quarter of it but for a single huge node.</summary>
    public const int MaxSize = 16 << 20;

    /// <summary>Reads the head of a page of a tree or a scan; returns its kind.</summary>
    public static byte ReadHead(ref TlvReader reader, out int count)
    {
        byte version = reader.ReadByte();
        if (version != Version)
        {
            throw TlvReader.Malformed($"it has version {version}");
        }

        byte kind = reader.ReadByte();
        ulong raw = reader.ReadVarint();
        if (kind > List || raw > (ulong)reader.Rest.Length)
        {
            throw TlvReader.Malformed("its head is wrong");
        }

        count = (int)raw;
        return kind;
    }

    /// <summary>
    /// Whether a page may end before an entry of this name: decided by the name alone, so that an insertion moves one boundary at most.
    /// FNV-1a over the name, finished by a multiply-shift; one name in 2048.
    /// </summary>
    public static bool IsBoundary(ReadOnlySpan<byte> name)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (byte b in name)
        {
            hash = (hash ^ b) * 0x100000001b3;
        }

        return (hash * 0x9E3779B97F4A7C15) >> 53 == 0;
    }
}
