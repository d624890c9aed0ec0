using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>
/// Which chunks of the target begin where in a file that is to be copied, because that stretch of it is the same as in a version that was copied
/// before. A cut depends on nothing but the bytes from the cut before it, so a chunk whose bytes all lie in such a stretch will be cut there again
/// if a chunk begins where it does.
/// </summary>
internal sealed class KnownChunks
{
    private readonly Dictionary<long, ChunkReference> _at = [];

    private KnownChunks()
    {
    }

    /// <summary>Compares two versions of a file by the source's chunks; null when they have nothing in common.</summary>
    /// <param name="now">The source's chunks of the file that is to be copied.</param>
    /// <param name="before">The source's chunks of the version that was copied.</param>
    /// <param name="copied">The target's chunks of that version.</param>
    public static KnownChunks? Find(IReadOnlyList<ChunkReference> now, IReadOnlyList<ChunkReference> before, IReadOnlyList<ChunkReference> copied)
    {
        long[] starts = StartsOf(before);
        long[] copiedStarts = StartsOf(copied);
        Dictionary<ChunkId, int> places = new(before.Count);
        for (int i = before.Count - 1; i >= 0; i--)
        {
            places[before[i].Id] = i;
        }

        KnownChunks known = new();
        long at = 0;
        int next = 0;
        while (next < now.Count)
        {
            if (!places.TryGetValue(now[next].Id, out int place))
            {
                at += now[next++].Length;
                continue;
            }

            // As far as both go on alike.
            int first = place;
            long start = at;
            while (next < now.Count && place < before.Count && now[next].Id == before[place].Id)
            {
                at += now[next++].Length;
                place++;
            }

            known.Add(start - starts[first], starts[first], starts[place], copied, copiedStarts, next == now.Count && place == before.Count);
        }

        return known._at.Count > 0 ? known : null;
    }

    /// <summary>The chunk that begins at a place of the file, if it is known.</summary>
    public bool TryGet(long offset, out ChunkReference chunk) => _at.TryGetValue(offset, out chunk);

    private void Add(
        long shift, long from, long to, IReadOnlyList<ChunkReference> copied, long[] copiedStarts, bool reachesEnd)
    {
        int i = Array.BinarySearch(copiedStarts, from);
        for (i = i < 0 ? ~i : i; i < copied.Count && copiedStarts[i + 1] <= to; i++)
        {
            // The last chunk ends where the file ended, and not where its bytes say.
            if (i < copied.Count - 1 || reachesEnd)
            {
                _at[copiedStarts[i] + shift] = copied[i];
            }
        }
    }

    // One more than there are chunks: the last is the end.
    private static long[] StartsOf(IReadOnlyList<ChunkReference> chunks)
    {
        long[] starts = new long[chunks.Count + 1];
        for (int i = 0; i < chunks.Count; i++)
        {
            starts[i + 1] = starts[i] + chunks[i].Length;
        }

        return starts;
    }
}
