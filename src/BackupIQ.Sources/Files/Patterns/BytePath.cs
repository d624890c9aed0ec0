namespace BackupIQ.Sources.Files.Patterns;

/// <summary>Paths as bytes with <c>/</c> between names.</summary>
public static class BytePath
{
    /// <summary>
    /// The shortest path that says the same, by its text alone: no doubled or trailing slash, no <c>.</c>, and <c>..</c> only at the
    /// start of a relative path. An empty path is <c>.</c>.
    /// </summary>
    public static byte[] Clean(ReadOnlySpan<byte> path)
    {
        bool absolute = path is [(byte)'/', ..];
        List<byte[]> names = [];
        foreach (Range range in path.Split((byte)'/'))
        {
            ReadOnlySpan<byte> name = path[range];
            if (name.IsEmpty || name.SequenceEqual("."u8))
            {
                continue;
            }

            if (!name.SequenceEqual(".."u8))
            {
                names.Add(name.ToArray());
            }
            else if (names.Count > 0 && !names[^1].AsSpan().SequenceEqual(".."u8))
            {
                names.RemoveAt(names.Count - 1);
            }
            else if (!absolute)
            {
                names.Add(name.ToArray());
            }
        }

        using MemoryStream cleaned = new(path.Length + 1);
        for (int i = 0; i < names.Count; i++)
        {
            if (i > 0 || absolute)
            {
                cleaned.WriteByte((byte)'/');
            }

            cleaned.Write(names[i]);
        }

        return cleaned.Length > 0 ? cleaned.ToArray() : absolute ? [(byte)'/'] : [(byte)'.'];
    }

    /// <summary>The clean path below <paramref name="workingFolder"/> unless it is absolute.</summary>
    public static byte[] MakeAbsolute(ReadOnlySpan<byte> path, ReadOnlySpan<byte> workingFolder) =>
        path is [(byte)'/', ..] ? Clean(path) : Clean([.. workingFolder, (byte)'/', .. path]);

    /// <summary>The names of a clean absolute path, from the top; none for <c>/</c>.</summary>
    public static IReadOnlyList<byte[]> Names(ReadOnlySpan<byte> path)
    {
        List<byte[]> names = [];
        foreach (Range range in path.Split((byte)'/'))
        {
            if (!path[range].IsEmpty)
            {
                names.Add(path[range].ToArray());
            }
        }

        return names;
    }
}
