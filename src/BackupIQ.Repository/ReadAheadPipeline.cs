using System.Runtime.CompilerServices;
using BackupIQ.Storage;

namespace BackupIQ.Repository;

/// <summary>
/// Reads many small things one after the other, several of them at a time: over a line each costs a round trip, and a repository of a year has hundreds. Workers live here.
/// </summary>
internal static class ReadAheadPipeline
{
    /// <summary>Requests that carry little at once: as many as an endpoint takes by default.</summary>
    private const int OverALine = 16;

    private const int LargeOverALine = 4;

    /// <summary>How many small reads are under way at once. A disk of this machine gives them as quickly one by one.</summary>
    public static int WidthFor(IStorageBackend storage) => storage.Capabilities.IsLocal ? 1 : OverALine;

    /// <summary>The same for objects of which some are large: segments of an index, of up to 64 MiB.</summary>
    public static int WidthForLarge(IStorageBackend storage) => storage.Capabilities.IsLocal ? 1 : LargeOverALine;

    /// <summary>What <paramref name="read"/> makes of each item, in the order of the items. What it throws is thrown in its turn, when no read is under way any more.</summary>
    public static async IAsyncEnumerable<TResult> RunAsync<TItem, TResult>(
        IReadOnlyList<TItem> items, int width, Func<TItem, CancellationToken, Task<TResult>> read, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Queue<Task<TResult>> running = new();
        int next = 0;
        try
        {
            while (next < items.Count || running.Count > 0)
            {
                while (next < items.Count && running.Count < width)
                {
                    running.Enqueue(read(items[next++], stop.Token));
                }

                yield return await running.Peek();
                _ = running.Dequeue();
            }
        }
        finally
        {
            await stop.CancelAsync();
            await ((Task)Task.WhenAll(running)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
