using System.Numerics;

namespace BackupIQ.Repository.Chunking;

/// <summary>
/// The sizes between which files are cut, in bytes, all powers of two. Part of the format: a file's node names its profile, and files
/// deduplicate against each other only when cut with the same sizes.
/// </summary>
public sealed record ChunkerProfile
{
    /// <summary>The smallest minimum: the hash must cover bytes of the chunk alone.</summary>
    public const int SmallestMin = 64;

    /// <summary>The largest maximum: a chunk is held in memory and addressed with 32 bits.</summary>
    public const int LargestMax = 1 << 28;

    /// <summary>Makes a profile.</summary>
    /// <exception cref="ArgumentOutOfRangeException">
    /// A size is not a power of two, or not 64 ≤ <paramref name="minSize"/> &lt; <paramref name="averageSize"/> &lt;
    /// <paramref name="maxSize"/> ≤ 256 MiB.
    /// </exception>
    public ChunkerProfile(string name, int minSize, int averageSize, int maxSize)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Check(minSize, SmallestMin, LargestMax / 4, nameof(minSize));
        Check(averageSize, minSize * 2, LargestMax / 2, nameof(averageSize));
        Check(maxSize, averageSize * 2, LargestMax, nameof(maxSize));
        Name = name;
        MinSize = minSize;
        AverageSize = averageSize;
        MaxSize = maxSize;
    }

    /// <summary>
    /// For files of any kind. Chunks of 1 MiB keep index and seals few (a terabyte is a million chunks) and still find what moved
    /// within a file; many small files share frames, so small chunks would gain little.
    /// </summary>
    public static ChunkerProfile General { get; } = new("general", 256 << 10, 1 << 20, 4 << 20);

    /// <summary>The name that stands in a node.</summary>
    public string Name { get; }

    /// <summary>No chunk is shorter, except a file's last.</summary>
    public int MinSize { get; }

    /// <summary>Before this length a cut is four times as unlikely as 1 in this many bytes, after it four times as likely.</summary>
    public int AverageSize { get; }

    /// <summary>No chunk is longer.</summary>
    public int MaxSize { get; }

    /// <summary>A position is a strict candidate when its hash is at most this: the highest log2(average) + 2 bits are zero.</summary>
    internal ulong StrictLimit => ulong.MaxValue >> (BitOperations.Log2((uint)AverageSize) + 2);

    /// <summary>A position is a candidate at all when its hash is at most this: the highest log2(average) − 2 bits are zero.</summary>
    internal ulong LooseLimit => ulong.MaxValue >> (BitOperations.Log2((uint)AverageSize) - 2);

    private static void Check(int value, int least, int most, string name)
    {
        if (!BitOperations.IsPow2(value) || value < least || value > most)
        {
            throw new ArgumentOutOfRangeException(name, value, $"Must be a power of two from {least} to {most}.");
        }
    }
}
