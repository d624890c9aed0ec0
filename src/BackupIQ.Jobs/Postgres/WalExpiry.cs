using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Repository.Logs;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Storage;

namespace BackupIQ.Jobs.Postgres;

/// <summary>For how long every moment of a server is to be reached: from all base backups that are kept, from the newest few, or for a time.</summary>
/// <param name="Bases">From so many of the newest; null: no such limit.</param>
/// <param name="Time">For so long; null: no such limit.</param>
internal readonly record struct WalKeep(int? Bases, TimeSpan? Time)
{
    /// <summary>Reads <c>all</c>, a number of base backups, or a time such as <c>14d</c>; null is all.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none of them.</exception>
    public static WalKeep Parse(string? text) => TryParse(text ?? "all", out WalKeep keep)
        ? keep
        : throw new BackupIQException(ErrorCodes.Usage, $"--wal-keep: '{text}' is neither a number of base backups nor a time", "Write all, 3, 14d, 2w or 36h.");

    /// <summary>The same; false: it is none of them.</summary>
    public static bool TryParse(string text, out WalKeep keep)
    {
        keep = default;
        if (text == "all")
        {
            return true;
        }

        long unit = text.Length < 2 ? 0 : text[^1] switch
        {
            'h' => TimeSpan.TicksPerHour,
            'd' => TimeSpan.TicksPerDay,
            'w' => 7 * TimeSpan.TicksPerDay,
            _ => 0,
        };
        if (!int.TryParse(unit > 0 ? text[..^1] : text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count is 0 or > 100_000)
        {
            return false;
        }

        keep = unit > 0 ? new WalKeep(null, TimeSpan.FromTicks(count * unit)) : new WalKeep(count, null);
        return true;
    }

    /// <summary>Those from which every later moment is to be reached; the others are kept as they are.</summary>
    public IReadOnlyList<WalBase> Reaching(IReadOnlyList<WalBase> bases, DateTimeOffset now)
    {
        WalBase[] newestFirst = [.. bases.OrderByDescending(static one => one.Stopped)];
        if (Bases is { } count)
        {
            return [.. newestFirst.Take(count)];
        }

        if (Time is { } time)
        {
            // The newest that is older than that is the one from which its beginning is reached.
            int later = newestFirst.TakeWhile(one => one.Stopped > now - time).Count();
            return [.. newestFirst.Take(later + 1)];
        }

        return newestFirst;
    }
}

/// <summary>Which files of a log nobody needs any more, and removes them. Killed at any moment it leaves more than is needed, and never less.</summary>
internal sealed class WalExpiry(WalArchive archive, TimeProvider time)
{
    // So many at once, the oldest first: who is killed between leaves what is newer whole.
    private const int AtOnce = 1000;

    private IReadOnlyList<LogFile> _doomed = [];

    /// <summary>What stays.</summary>
    public IReadOnlyList<LogFile> Kept { get; private set; } = [];

    /// <summary>Finds out what would go.</summary>
    /// <param name="bases">All base backups that are there, forgotten ones too as long as they can be brought back.</param>
    /// <param name="keep">For how long every moment is to be reached.</param>
    /// <param name="onDamage">Hears what cannot be read.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<WalExpiryInfo> PlanAsync(IReadOnlyList<WalBase> bases, WalKeep keep, Action<string> onDamage, CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        WalListing listing = await archive.ListAllAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await archive.ReadHistoriesAsync(listing.Files, (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        DateTimeOffset now = time.GetUtcNow();
        IReadOnlyList<WalBase> reaching = keep.Reaching(bases, now);
        WalNeeds? needs = reaching.Count == 0 ? null : new WalNeeds(identity.SegmentSize, histories, reaching, [.. bases.Except(reaching)]);
        bool IsNeeded(uint timeline, ulong number, DateTimeOffset storedAt) =>
            needs is null ? keep.Time is not { } span || storedAt >= now - span : needs.IsNeeded(timeline, number, storedAt);

        HashSet<WalFileName> whole = [.. listing.Files.Where(static file => file.Name.Kind == WalFileKind.Segment).Select(static file => file.Name)];
        List<LogFile> doomed = [];
        List<LogFile> kept = [];
        int segments = 0;
        string? oldest = null;
        foreach (WalArchivedFile file in listing.Files)
        {
            // Histories are small, and tell how the others belong together.
            bool goes = file.Name.Kind != WalFileKind.History && !IsNeeded(file.Name.Timeline, file.Name.NumberOf(identity.SegmentSize), file.StoredAt);
            (goes ? doomed : kept).Add(file.File);
            segments += goes && file.Name.Kind == WalFileKind.Segment ? 1 : 0;
            oldest ??= !goes && file.Name.Kind == WalFileKind.Segment ? file.Name.ToString() : null;
        }

        foreach (WalPiece piece in listing.Pieces)
        {
            bool goes = whole.Contains(piece.Segment) || !IsNeeded(piece.Segment.Timeline, piece.Segment.NumberOf(identity.SegmentSize), piece.File.Stored.StoredAt);
            (goes ? doomed : kept).Add(piece.File);
        }

        foreach (WalGap gap in listing.Gaps)
        {
            bool goes = !IsNeeded(gap.Timeline, gap.To.Value / identity.SegmentSize, gap.File.Stored.StoredAt);
            (goes ? doomed : kept).Add(gap.File);
        }

        _doomed = doomed;
        Kept = kept;
        return new WalExpiryInfo(
            archive.Name,
            segments,
            doomed.Count,
            doomed.Sum(static file => file.Stored.Size),
            kept.Count,
            kept.Sum(static file => file.Stored.Size),
            reaching.Count,
            bases.Count - reaching.Count,
            oldest);
    }

    /// <summary>Removes what was planned.</summary>
    /// <returns>What could not be removed, and why.</returns>
    /// <exception cref="StorageException"><c>AppendOnly</c>: this process may only add; or the storage cannot be reached.</exception>
    public async Task<IReadOnlyDictionary<StorageKey, StorageException>> RunAsync(CancellationToken cancellationToken)
    {
        Dictionary<StorageKey, StorageException> failures = [];
        foreach (LogFile[] some in _doomed.Chunk(AtOnce))
        {
            foreach ((StorageKey key, StorageException failure) in await archive.DeleteAsync(some, cancellationToken).ConfigureAwait(false))
            {
                failures[key] = failure;
            }
        }

        return failures;
    }
}
