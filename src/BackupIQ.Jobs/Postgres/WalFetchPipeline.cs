using BackupIQ.Primitives;
using BackupIQ.Repository.Hashing;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>
/// Fetches the file that a recovering server asks for, and beside a segment those that it will ask for next, into the spool.
/// </summary>
internal sealed class WalFetchPipeline(WalArchive archive, WalSpool? spool)
{
    private const int AtOnce = 4;
    private const int Ahead = 7;

    /// <summary>
    /// Puts <paramref name="name"/> in the place of <paramref name="target"/>: whole, proven by its seals, and durable. False: it is provably not in the archive,
    /// and nothing was written.
    /// </summary>
    /// <exception cref="BackupIQException">It cannot be told, or it is damaged; nothing was written.</exception>
    public async Task<bool> RunAsync(WalFileName name, string target, CancellationToken cancellationToken = default)
    {
        Task<bool> own = FetchAsync(name, target, cancellationToken);
        await Task.WhenAll(own, FetchAheadAsync(name, cancellationToken)).ConfigureAwait(false);
        return await own.ConfigureAwait(false);
    }

    private async Task FetchAheadAsync(WalFileName name, CancellationToken cancellationToken)
    {
        if (spool is null || name.Kind != WalFileKind.Segment)
        {
            return;
        }

        spool.Sweep();
        try
        {
            if (await archive.ReadIdentityAsync(cancellationToken).ConfigureAwait(false) is not { } identity)
            {
                return;
            }

            ulong number = name.NumberOf(identity.SegmentSize);
            IEnumerable<WalFileName> next = Enumerable.Range(1, Ahead)
                .Select(i => WalFileName.OfSegment(name.Timeline, number + (ulong)i, identity.SegmentSize))
                .Where(segment => !spool.Has(segment.ToString()));
            await Parallel.ForEachAsync(
                next,
                new ParallelOptions { MaxDegreeOfParallelism = AtOnce - 1, CancellationToken = cancellationToken },
                async (segment, stop) => await FetchOneAheadAsync(segment, stop).ConfigureAwait(false)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is BackupIQException or IOException or UnauthorizedAccessException)
        {
            // What cannot be fetched ahead is asked for by its own call, which says why.
        }
    }

    private async Task<bool> FetchAsync(WalFileName name, string target, CancellationToken cancellationToken)
    {
        await Task.Yield();
        try
        {
            using WalTarget to = new(target);
            if (!await archive.ReadAsync(name, piece => to.Stream.WriteAsync(piece, cancellationToken), cancellationToken).ConfigureAwait(false))
            {
                return false;
            }

            to.Commit();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Restore, $"The file cannot be written: {e.Message}", null, e).With("path", target);
        }
    }

    private async Task FetchOneAheadAsync(WalFileName name, CancellationToken cancellationToken)
    {
        string temporary = spool!.Temporary();
        try
        {
            Blake3Hasher hasher = new();
            bool isThere;
            using (FileStream file = DurableFile.OpenPrivate(temporary, FileMode.CreateNew, FileShare.None))
            {
                isThere = await archive.TryReadAsync(
                    name,
                    piece =>
                    {
                        hasher.Update(piece.Span);
                        file.Write(piece.Span);
                        return ValueTask.CompletedTask;
                    },
                    cancellationToken).ConfigureAwait(false);
            }

            if (isThere)
            {
                Span<byte> digest = stackalloc byte[Blake3.DigestSize];
                hasher.Finish(digest);
                spool.Keep(name.ToString(), temporary, digest);
            }
        }
        finally
        {
            File.Delete(temporary);
        }
    }
}
