using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Storage;
using BackupIQ.Storage.Mirroring;

namespace BackupIQ.Jobs.Composition;

/// <summary>Puts a repository's mirrors beside its storage, and compares the two. Apart from <see cref="StorageLocator"/>, so that who has none loads nothing of it.</summary>
internal static class MirroredStorage
{
    private const int HashedAtOnce = 1 << 20;

    // Who is at work, what interrupted runs had stored, and what was verified where, are of one storage alone. That a session was announced lets writers count on what its segments name.
    internal static readonly MirrorLayout Layout = new()
    {
        Contents = [RepositoryLayout.DataPackPrefix, RepositoryLayout.MetadataPackPrefix],
        Index = RepositoryLayout.IndexPrefix,
        Roots = RepositoryLayout.SnapshotPrefix,
        Announcements = RepositoryLayout.SessionPrefix,
        IsOwn = static key => key.Value.StartsWith(RepositoryLayout.PartialSnapshotPrefix, StringComparison.Ordinal)
            || key.Value.StartsWith(RepositoryLayout.LedgerPrefix, StringComparison.Ordinal)
            || (RepositoryLayout.TryParseSession(key, out _, out ReadOnlySpan<char> part) && part.StartsWith(RepositoryLayout.BeatPart)),
        IsWhole = IsWhole,
    };

    /// <summary>Opens a storage with the mirrors that the options name; where it cannot be reached, a mirror takes its place for who reads.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: a mirror is named that cannot be one; or as <see cref="StorageLocator.OpenAsync"/>.</exception>
    public static async Task<IStorageBackend> OpenAsync(
        string url, bool create, RepositoryOptions use, Func<bool> mayRemove, TimeProvider time, CancellationToken cancellationToken)
    {
        RequireDistinct(url, use.Mirrors);
        RepositoryOptions ofMirrors = use with { Mirrors = [] };
        MirrorSource[] mirrors = [.. use.Mirrors.Select(mirror => new MirrorSource(NameOf(mirror), token => StorageLocator.OpenOneAsync(mirror, create, ofMirrors, time, token)))];
        IStorageBackend? storage = null;
        BackupIQException? away = null;
        try
        {
            storage = await StorageLocator.OpenOneAsync(url, create, use, time, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (!create && e.IsTransient)
        {
            away = e;
        }

        MirrorOptions options = new() { Layout = Layout, Identify = IdentifyAsync, IsNew = create, MayRemove = mayRemove, OnNotice = notice => Tell(notice, use) };
        return await MirroredBackend.OpenAsync(storage, away, mirrors, options, time, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Compares each mirror with the storage, and brings it in step where <paramref name="request"/> says so.</summary>
    /// <exception cref="BackupIQException">The storage itself cannot be reached or read; <c>RepositoryNotFound</c>: it holds none. What is wrong with a mirror is in its report.</exception>
    public static async Task<IReadOnlyList<MirrorReport>> SyncAsync(
        string url, MirrorSyncRequest request, MirrorMonitor monitor, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken)
    {
        RequireDistinct(url, use.Mirrors);
        RepositoryOptions alone = use with { Mirrors = [] };
        await using IStorageBackend storage = await StorageLocator.OpenOneAsync(url, create: false, alone, time, cancellationToken).ConfigureAwait(false);
        string identity = await IdentifyAsync(storage, cancellationToken).ConfigureAwait(false)
            ?? throw new BackupIQException(ErrorCodes.RepositoryNotFound, "There is no repository that could be mirrored").With("location", storage.Location);
        List<MirrorReport> reports = [];
        foreach (string mirror in use.Mirrors)
        {
            reports.Add(await SyncOneAsync(storage, identity, mirror, request, monitor, alone, time, cancellationToken).ConfigureAwait(false));
        }

        return reports;
    }

    private static async Task<MirrorReport> SyncOneAsync(
        IStorageBackend storage, string identity, string url, MirrorSyncRequest request, MirrorMonitor monitor, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken)
    {
        MirrorReport report = new(NameOf(url));
        IStorageBackend? mirror = null;
        try
        {
            mirror = await StorageLocator.OpenOneAsync(url, create: false, use, time, cancellationToken).ConfigureAwait(false);
            MirrorPipeline pipeline = new(storage, mirror, Layout, time);
            MirrorPlan plan = await pipeline.CompareAsync([], cancellationToken).ConfigureAwait(false);
            report = MirrorReport.Of(NameOf(url), plan);
            if (await RefusalAsync(mirror, identity, plan, request, cancellationToken).ConfigureAwait(false) is { } refusal)
            {
                return report with { Problem = refusal };
            }

            if (request.DryRun)
            {
                return report with { Problem = report.IsInStep ? null : "it is behind" };
            }

            monitor.Begin(report.Location, plan, pipeline);
            return await BringInStepAsync(pipeline, plan, report, request, use.AppendOnly != true, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (e.Code != ErrorCodes.Usage)
        {
            return report with { Problem = e.Message.TrimEnd('.') };
        }
        finally
        {
            if (mirror is not null)
            {
                await mirror.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private static async Task<MirrorReport> BringInStepAsync(
        MirrorPipeline pipeline, MirrorPlan plan, MirrorReport report, MirrorSyncRequest request, bool mayRemove, CancellationToken cancellationToken)
    {
        if (mayRemove && (request.Verify || plan.DifferingCount > 0))
        {
            await pipeline.VerifyAsync(plan, request.Verify, cancellationToken).ConfigureAwait(false);
        }

        if (request.Delete)
        {
            await pipeline.RemoveStrayRootsAsync(plan, cancellationToken).ConfigureAwait(false);
        }

        (MirrorPlan after, bool isWhole) = await pipeline.FollowAsync([], mayRemove, cancellationToken).ConfigureAwait(false);
        if (request.Delete && isWhole)
        {
            await pipeline.RemoveStrayAsync(after, cancellationToken).ConfigureAwait(false);
        }

        MirrorResult result = pipeline.Result;
        return report with
        {
            Copied = result.Copied,
            BytesCopied = result.BytesCopied,
            Removed = result.Removed,
            Verified = result.Verified,
            Healed = result.Healed,
            HealedBack = result.HealedBack,
            Damaged = [.. result.Damaged.Select(static key => key.Value)],
            IsInStep = isWhole && result.Damaged.Count == 0,
            Problem = isWhole && result.Damaged.Count == 0 ? null
                : result.Damaged.Count == 0 ? "it is behind"
                : RepositoryLayout.TryParsePack(result.Damaged[0], out _, out _) ? $"{result.Damaged[0]} is damaged, and the mirror has no whole one"
                : $"{result.Damaged[0]} is not the same on both sides, and only who has a key can tell which is right: 'backupiq check' each, and 'backupiq repair packs' the other with this one as its --mirror",
        };
    }

    // What keeps a mirror from being brought in step; null: nothing.
    private static async Task<string?> RefusalAsync(IStorageBackend mirror, string identity, MirrorPlan plan, MirrorSyncRequest request, CancellationToken cancellationToken)
    {
        string? found = await IdentifyAsync(mirror, cancellationToken).ConfigureAwait(false);
        bool hasOther = plan.StrayCount > 0 || plan.StrayRootCount > 0;
        return found is not null && found != identity ? $"it holds another repository: {found}, not {identity}"
            : found is null && hasOther ? "it holds no repository, but other things"
            : found is null && !request.Fill ? "it holds no repository yet; --init fills it"
            : plan.StrayRootCount > 0 && !request.Delete ? $"it has {plan.StrayRootCount} snapshots that the repository has not: either they were removed there while the mirror was away, and --delete removes them here; or somebody used the mirror by itself, and 'backupiq copy' brings them over"
            : plan.StrayRootCount * 2 > plan.MirrorRootCount && !request.AllowMass ? $"more than half of its snapshots would be removed ({plan.StrayRootCount} of {plan.MirrorRootCount}); --allow-mass does it all the same"
            : null;
    }

    private static async Task<string?> IdentifyAsync(IStorageBackend storage, CancellationToken cancellationToken) =>
        (await BackupRepository.IdentifyAsync(storage, cancellationToken).ConfigureAwait(false))?.ToString();

    // Whatever is no pack has a name that tells nothing of its bytes; its seal is checked by who opens it.
    private static bool IsWhole(StorageKey key, Stream bytes)
    {
        if (!RepositoryLayout.TryParsePack(key, out _, out PackId id))
        {
            return true;
        }

        Blake3Hasher hasher = new();
        byte[] buffer = GC.AllocateUninitializedArray<byte>(HashedAtOnce);
        while (bytes.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false) is > 0 and int read)
        {
            hasher.Update(buffer.AsSpan(0, read));
        }

        Span<byte> digest = stackalloc byte[PackId.Size];
        hasher.Finish(digest);
        return PackId.Read(digest) == id;
    }

    private static void Tell(MirrorNotice notice, RepositoryOptions use) =>
        use.OnStorageNotice?.Invoke(new StorageNotice(notice.Message, IsWarning: notice.IsBehind != false) { Mirror = notice.Mirror, IsBehind = notice.IsBehind });

    private static void RequireDistinct(string url, IReadOnlyList<string> mirrors)
    {
        foreach (string mirror in mirrors)
        {
            if (StorageLocator.LocalPath(mirror) is null)
            {
                // What is no URL is refused now, and not when the mirror is first needed.
                RemoteStorage.ProviderOf(mirror);
            }

            if (NameOf(mirror) == NameOf(url) || mirrors.Count(other => NameOf(other) == NameOf(mirror)) > 1)
            {
                throw new BackupIQException(ErrorCodes.Usage, "A mirror is named twice, or is the repository itself", "Give each place once: --repo for the repository, --mirror for each mirror.").With("mirror", NameOf(mirror));
            }
        }
    }

    private static string NameOf(string url) => StorageLocator.LocalPath(url) is { } path ? Path.TrimEndingDirectorySeparator(path) : url;
}
