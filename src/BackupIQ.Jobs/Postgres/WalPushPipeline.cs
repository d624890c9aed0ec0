using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>
/// Pushes the file that a server asks for, and beside it those that it will ask for next: the ones that are ready in <c>archive_status</c>. What was pushed
/// ahead is noted when it is durable, so that the call for it is answered at once.
/// </summary>
internal sealed class WalPushPipeline(WalArchive archive, WalSpool? spool, WalPushMonitor monitor)
{
    private const int AtOnce = 4;
    private const int Ahead = 8;

    /// <summary>When this returns <paramref name="path"/> is durable in the repository.</summary>
    /// <returns>How many files were pushed beside it.</returns>
    /// <exception cref="BackupIQException">As <see cref="WalArchive.PushAsync"/> says, of <paramref name="path"/> alone.</exception>
    public async Task<int> RunAsync(string path, CancellationToken cancellationToken = default)
    {
        string[] ready = spool is null ? [] : [.. Ready(path)];
        spool?.Sweep();
        int pushed = 0;
        Task own = PushAsync(path, cancellationToken);
        Task ahead = Parallel.ForEachAsync(ready, new ParallelOptions { MaxDegreeOfParallelism = AtOnce - 1, CancellationToken = cancellationToken }, async (next, stop) =>
        {
            try
            {
                string identity = WalSpool.IdentityOf(next);
                await PushAsync(next, stop).ConfigureAwait(false);
                spool!.NotePushed(next, identity);
                Interlocked.Increment(ref pushed);
            }
            catch (BackupIQException e)
            {
                monitor.OnAheadFailure?.Invoke($"{Path.GetFileName(next)}: {e.Message}");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The server has archived and removed it meanwhile.
            }
        });
        await Task.WhenAll(own, ahead).ConfigureAwait(false);
        return pushed;
    }

    private async Task PushAsync(string path, CancellationToken cancellationToken)
    {
        // Compressing begins at once, beside the others.
        await Task.Yield();
        if (await archive.PushAsync(path, isServersOwn: true, cancellationToken).ConfigureAwait(false) is { } notice)
        {
            monitor.OnNotice?.Invoke(notice);
        }
    }

    private IEnumerable<string> Ready(string path)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
        string status = Path.Combine(folder, "archive_status");
        string own = Path.GetFileName(path);
        if (!Directory.Exists(status))
        {
            return [];
        }

        const string suffix = ".ready";
        return Directory.EnumerateFiles(status, "*" + suffix)
            .Select(static file => Path.GetFileName(file)[..^suffix.Length])
            .Where(name => WalFileName.TryParse(name, out _) && string.CompareOrdinal(name, own) > 0)
            .Order(StringComparer.Ordinal)
            .Select(name => Path.Combine(folder, name))
            .Where(file => !spool!.HasPushed(file))
            .Take(Ahead);
    }
}
