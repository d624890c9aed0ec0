namespace BackupIQ.Repository.Maintenance;

/// <summary>One bit for each entry or frame of an index: what is remembered of a hundred million chunks takes 12 MB. Any thread may set and ask.</summary>
internal sealed class AtomicBits(long count)
{
    private readonly ulong[] _words = new ulong[(count + 63) / 64];

    /// <summary>Sets a bit; true when it was not set before, for exactly one of those who set it at once.</summary>
    public bool Set(long bit)
    {
        ulong mask = 1UL << (int)(bit & 63);
        return (Interlocked.Or(ref _words[bit >> 6], mask) & mask) == 0;
    }

    /// <summary>Whether the bit is set.</summary>
    public bool this[long bit] => (Volatile.Read(ref _words[bit >> 6]) & (1UL << (int)(bit & 63))) != 0;
}
