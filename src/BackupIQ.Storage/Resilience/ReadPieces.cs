namespace BackupIQ.Storage.Resilience;

/// <summary>
/// How much is asked of a storage in one read: as much as it is known to answer well within the time after which a silent request is given
/// up. A long read over a slow line is so never taken for a dead one, and loses little when it breaks; over a quick line it is one request.
/// Thread-safe.
/// </summary>
internal sealed class ReadPieces(TimeSpan longestSilence)
{
    /// <summary>A line that cannot move this in the time of silence (1 KiB a second for the default) is as good as none.</summary>
    private const int Least = 64 << 10;

    private const int Most = 64 << 20;

    // 8 MiB at first: 140 KB a second answer that in time, and most reads are smaller.
    private int _size = 8 << 20;

    /// <summary>Bytes of a read.</summary>
    public int Size => Volatile.Read(ref _size);

    /// <summary>So many bytes came in one read, after so long.</summary>
    public void Came(int bytes, TimeSpan after)
    {
        int size = Size;
        if (after > longestSilence / 8)
        {
            Interlocked.CompareExchange(ref _size, Math.Max(Least, size / 2), size);
        }
        else if (bytes >= size && after < longestSilence / 32)
        {
            Interlocked.CompareExchange(ref _size, Math.Min(Most, size * 2), size);
        }
    }

    /// <summary>A read of so many bytes did not come in time.</summary>
    public void Stalled(int asked)
    {
        int size = Size;
        Interlocked.CompareExchange(ref _size, Math.Max(Least, Math.Min(size, asked) / 8), size);
    }
}
