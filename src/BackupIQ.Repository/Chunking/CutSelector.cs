namespace BackupIQ.Repository.Chunking;

/// <summary>
/// Chooses a file's cuts from the candidates of its segments. Given every segment in file order it yields exactly the cuts that
/// <see cref="GearChunker.NextCut"/> gives, so a file may be scanned by several threads. Not for several threads itself.
/// </summary>
/// <remarks>Take all cuts with <see cref="TryTakeCut"/> after each <see cref="Add"/>; what is left then is at most one chunk's candidates.</remarks>
public sealed class CutSelector
{
    private readonly ChunkerProfile _profile;
    private readonly CandidateList _pending = new();
    private int _next; // first pending run that may still matter
    private long _chunkStart;
    private long _known; // candidates are known for all positions before this
    private bool _isEnd;

    /// <summary>A selector for one file after the other, cut with <paramref name="profile"/>.</summary>
    public CutSelector(ChunkerProfile profile) => _profile = profile;

    /// <summary>Begins a new file; what was added before is forgotten.</summary>
    public void Reset()
    {
        _pending.Clear();
        _next = 0;
        _chunkStart = 0;
        _known = 0;
        _isEnd = false;
    }

    /// <summary>
    /// Adds the candidates of the next segment, which ends before <paramref name="segmentEnd"/>, and with the last one that the file
    /// ends there. The list is copied; the caller may clear and reuse it.
    /// </summary>
    /// <exception cref="ArgumentException">The candidates are not of the segment that comes next.</exception>
    /// <exception cref="InvalidOperationException">The file has ended.</exception>
    public void Add(CandidateList candidates, long segmentEnd, bool isEnd)
    {
        if (_isEnd)
        {
            throw new InvalidOperationException("The file has ended; reset the selector for the next one.");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(segmentEnd, _known);
        ReadOnlySpan<CandidateRun> runs = candidates.Runs;
        if (runs.Length > 0 && (runs[0].Position < _known || runs[^1].Position + runs[^1].Length > segmentEnd))
        {
            throw new ArgumentException("The candidates are not of the next segment.", nameof(candidates));
        }

        if (_next > 0)
        {
            _pending.RemoveFirst(_next);
            _next = 0;
        }

        foreach (CandidateRun run in runs)
        {
            _pending.Add(run);
        }

        _known = segmentEnd;
        _isEnd = isEnd;
    }

    /// <summary>Gives the end of the next chunk (the offset after its last byte), if what was added decides it.</summary>
    public bool TryTakeCut(out long end)
    {
        // Positions of a chunk's last byte: the first allowed, the first judged loosely, and the one where the chunk is cut anyway.
        long first = _chunkStart + _profile.MinSize - 1;
        long firstLoose = _chunkStart + _profile.AverageSize - 1;
        long last = _chunkStart + _profile.MaxSize - 1;
        ReadOnlySpan<CandidateRun> runs = _pending.Runs;
        for (; _next < runs.Length; _next++)
        {
            CandidateRun run = runs[_next];
            long position = Math.Max(run.Position, run.Strict ? first : firstLoose);
            if (position > last)
            {
                break;
            }

            if (position < run.Position + run.Length)
            {
                return Take(position + 1, out end);
            }
        }

        if (_known > last)
        {
            return Take(last + 1, out end);
        }

        if (_isEnd && _known > _chunkStart)
        {
            return Take(_known, out end);
        }

        end = 0;
        return false;
    }

    private bool Take(long cut, out long end)
    {
        // The run that gave the cut stays: the rest of it may be of use to a later chunk.
        _chunkStart = cut;
        end = cut;
        return true;
    }
}
