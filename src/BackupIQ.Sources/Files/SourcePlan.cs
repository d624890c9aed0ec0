using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Sources.Files;

/// <summary>The given paths as one tree: which folders lead to them, and where the backup itself begins.</summary>
internal sealed class SourcePlan
{
    private readonly SortedDictionary<byte[], SourcePlan> _children = new(ByBytes.Instance);

    private SourcePlan(byte[] name, byte[] path)
    {
        Name = name;
        Path = path;
    }

    /// <summary>The name; empty for the top.</summary>
    internal byte[] Name { get; }

    /// <summary>The whole path.</summary>
    internal byte[] Path { get; }

    /// <summary>Whether this path was given itself.</summary>
    internal bool IsGiven { get; private set; }

    /// <summary>The next folders or given paths, sorted by their bytes.</summary>
    internal IReadOnlyCollection<SourcePlan> Children => _children.Values;

    /// <summary>The tree of clean absolute paths.</summary>
    internal static SourcePlan Of(IEnumerable<byte[]> paths)
    {
        SourcePlan top = new([], [(byte)'/']);
        foreach (byte[] path in paths)
        {
            SourcePlan plan = top;
            foreach (byte[] name in BytePath.Names(path))
            {
                if (!plan._children.TryGetValue(name, out SourcePlan? child))
                {
                    child = new SourcePlan(name, plan.Name.Length == 0 ? [(byte)'/', .. name] : [.. plan.Path, (byte)'/', .. name]);
                    plan._children.Add(name, child);
                }

                plan = child;
            }

            plan.IsGiven = true;
        }

        return top;
    }
}

/// <summary>Compares by unsigned bytes, a prefix first.</summary>
internal sealed class ByBytes : IComparer<byte[]>, IEqualityComparer<byte[]>
{
    internal static readonly ByBytes Instance = new();

    /// <inheritdoc/>
    public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);

    /// <inheritdoc/>
    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    /// <inheritdoc/>
    public int GetHashCode(byte[] obj)
    {
        HashCode hash = default;
        hash.AddBytes(obj);
        return hash.ToHashCode();
    }
}
