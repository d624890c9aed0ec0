namespace BackupIQ.Sources.Files.Patterns;

/// <summary>An absolute path that grows and shrinks by a name at a time, as a walk does, and knows where each name is.</summary>
public sealed class PathCursor
{
    private byte[] _bytes = new byte[256];
    private int[] _ends = new int[32];

    /// <summary>How many names the path has; 0 for <c>/</c>.</summary>
    public int Count { get; private set; }

    /// <summary>The whole path, as <c>/a/b</c>; empty for the top. Valid until the next change.</summary>
    public ReadOnlySpan<byte> Path => _bytes.AsSpan(0, End(Count));

    /// <summary>The name at <paramref name="index"/> from the top. Valid until the next change.</summary>
    public ReadOnlySpan<byte> this[int index] => _bytes.AsSpan(End(index) + 1, _ends[index] - End(index) - 1);

    /// <summary>Goes down into <paramref name="name"/>.</summary>
    public void Push(ReadOnlySpan<byte> name)
    {
        int start = End(Count);
        int end = checked(start + 1 + name.Length);
        if (end > _bytes.Length)
        {
            Array.Resize(ref _bytes, Math.Max(end, _bytes.Length * 2));
        }

        if (Count == _ends.Length)
        {
            Array.Resize(ref _ends, Count * 2);
        }

        _bytes[start] = (byte)'/';
        name.CopyTo(_bytes.AsSpan(start + 1));
        _ends[Count++] = end;
    }

    /// <summary>Goes up by one name.</summary>
    public void Pop() => Count--;

    /// <summary>Goes to an absolute path.</summary>
    public void Set(ReadOnlySpan<byte> path)
    {
        Count = 0;
        foreach (Range range in path.Split((byte)'/'))
        {
            if (!path[range].IsEmpty)
            {
                Push(path[range]);
            }
        }
    }

    private int End(int count) => count == 0 ? 0 : _ends[count - 1];
}
