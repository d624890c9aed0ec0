using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>The archive of a server in the repository that it is backed up into, as a backup uses it. What it fetched goes when it is disposed.</summary>
/// <param name="archive">The archive.</param>
/// <param name="primary">Can be told to begin another segment, so that one that is not full is archived; null: nobody can, or need be.</param>
/// <param name="patience">How long is waited for segments.</param>
/// <param name="time">Measures and waits.</param>
internal sealed class BackupWal(WalArchive archive, PostgresSession? primary, TimeSpan patience, TimeProvider time) : IPostgresWal, IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    private DirectoryInfo? _folder;

    /// <inheritdoc/>
    public string? Fetch(string segment, CancellationToken cancellationToken) => FetchAsync(WalArchive.ParseName(segment), cancellationToken).GetAwaiter().GetResult();

    /// <inheritdoc/>
    public bool WaitFor(IReadOnlyList<string> segments, CancellationToken cancellationToken) => WaitForAsync(segments, cancellationToken).GetAwaiter().GetResult();

    /// <inheritdoc/>
    public void Dispose()
    {
        _folder?.Delete(recursive: true);
        _folder = null;
    }

    private async Task<string?> FetchAsync(WalFileName segment, CancellationToken cancellationToken)
    {
        _folder ??= Directory.CreateTempSubdirectory("backupiq-wal-");
        string path = Path.Combine(_folder.FullName, segment.ToString());
        using FileStream file = DurableFile.OpenPrivate(path, FileMode.CreateNew, FileShare.None);
        return await archive.TryReadAsync(segment, piece => file.WriteAsync(piece, cancellationToken), cancellationToken).ConfigureAwait(false) ? path : null;
    }

    private async Task<bool> WaitForAsync(IReadOnlyList<string> segments, CancellationToken cancellationToken)
    {
        if (primary is not null)
        {
            try
            {
                await primary.QueryAsync("SELECT pg_switch_wal()", cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException)
            {
                // Without the right to it, or without the primary: the segment is archived when it is full, or when archive_timeout says so.
            }
        }

        WalFileName[] missing = [.. segments.Select(WalArchive.ParseName)];
        for (long began = time.GetTimestamp(); ;)
        {
            missing = await archive.FindMissingAsync(missing, cancellationToken).ConfigureAwait(false);
            if (missing.Length == 0 || time.GetElapsedTime(began) >= patience)
            {
                return missing.Length == 0;
            }

            await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
        }
    }
}
