namespace BackupIQ.Repository.Chunking;

/// <summary>
/// Positions at which a file may be cut, in ascending order, as <see cref="GearChunker.FindCandidates"/> found them in one segment.
/// Reusable; neighbours of one kind are kept as one run, so that a segment of one repeated byte does not take a place for each byte.
/// A general segment has four candidates a MiB; the worst that data can do is a run of 16 bytes for every second position.
/// </summary>
public sealed class CandidateList
{
    private CandidateRun[] _runs = new CandidateRun[16];
    private int _count;

    /// <summary>How many positions there are.</summary>
    public long Count
    {
        get
        {
            long count = 0;
            foreach (CandidateRun run in Runs)
            {
                count += run.Length;
            }

            return count;
        }
    }

    internal ReadOnlySpan<CandidateRun> Runs => _runs.AsSpan(0, _count);

    /// <summary>Forgets all positions and keeps the room.</summary>
    public void Clear() => _count = 0;

    internal void Add(long position, bool strict)
    {
        if (_count > 0)
        {
            ref CandidateRun last = ref _runs[_count - 1];
            if (last.Strict == strict && last.Position + last.Length == position)
            {
                last.Length++;
                return;
            }
        }

        Add(new CandidateRun { Position = position, Length = 1, Strict = strict });
    }

    internal void Add(CandidateRun run)
    {
        if (_count == _runs.Length)
        {
            Array.Resize(ref _runs, 2 * _runs.Length);
        }

        _runs[_count++] = run;
    }

    /// <summary>Drops the first <paramref name="count"/> runs.</summary>
    internal void RemoveFirst(int count)
    {
        _runs.AsSpan(count, _count - count).CopyTo(_runs);
        _count -= count;
    }
}

/// <summary><see cref="Length"/> candidates of one kind side by side; positions are those of the last byte of a chunk.</summary>
internal struct CandidateRun
{
    public long Position;
    public int Length;
    public bool Strict;
}
