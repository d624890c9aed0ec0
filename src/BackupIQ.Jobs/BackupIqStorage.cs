using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Conformance;
using BackupIQ.Storage.Local;

namespace BackupIQ.Jobs;

/// <summary>A storage by itself, whatever is on it: no key is needed.</summary>
/// <example>
/// <code>
/// StorageTestReport report = await BackupIqStorage.TestAsync("s3://bucket/backup?region=eu-central-1", cancellationToken: cancellationToken);
/// foreach (StorageGuaranteeInfo guarantee in report.Guarantees)
/// {
///     Console.WriteLine($"{guarantee.Name}: {guarantee.State}, {guarantee.Seen}");
/// }
/// </code>
/// </example>
public static class BackupIqStorage
{
    /// <summary>The large object that <see cref="TestAsync"/> puts and reads unless it is told otherwise, in bytes.</summary>
    public const long LargeObject = 72L << 20;

    /// <summary>
    /// Tries on the storage itself what a repository relies on, in a folder of its own with a random name; nothing of it is left afterwards, also
    /// where this is cancelled.
    /// </summary>
    /// <param name="url">Where it is; a folder on this machine must be there.</param>
    /// <param name="options">How it is used: limits, retries, cache.</param>
    /// <param name="largeObject">Bytes of the large object; 0: none.</param>
    /// <param name="begins">Hears what is tried next.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException">
    /// It cannot be connected to; <c>AppendOnly</c>: who may only add cannot remove again what is tried. What fails after that is in the report.
    /// </exception>
    public static async Task<StorageTestReport> TestAsync(
        string url, RepositoryOptions? options = null, long largeObject = LargeObject, Action<string>? begins = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        RepositoryOptions use = options ?? new RepositoryOptions();
        TimeProvider clock = time ?? TimeProvider.System;
        if (use.AppendOnly == true)
        {
            throw new BackupIQException(ErrorCodes.AppendOnly, "Who may only add cannot remove again what is put to try the storage");
        }

        string? path = StorageLocator.LocalPath(url);
        if (File.Exists(path))
        {
            throw new BackupIQException(ErrorCodes.Usage, "What is to be tried is a file, and no storage that objects can be put on", "Name a folder, or the URL of a storage.").With("path", path);
        }

        using StorageProviders providers = new(clock);
        bool wasEmpty = IsEmptyFolder(url);
        string? spool = null;
        try
        {
            await using IStorageBackend storage = await StorageLocator.OpenAsync(url, create: false, use with { Providers = providers }, clock, cancellationToken).ConfigureAwait(false);
            IStorageBackend plain = await StorageLocator.OpenPlainAsync(url, use, clock, cancellationToken).ConfigureAwait(false);
            await using IStorageBackend second = path is null ? ResilientStorage.Watched(plain, url, use, clock) : plain;
            spool = storage.SpoolFolder;
            StorageInfo space = StorageInfo.From(await storage.GetSpaceAsync(cancellationToken).ConfigureAwait(false), clock.GetUtcNow());
            ConformanceOptions how = new() { Names = RepositoryNames.Samples, LargeObject = largeObject };
            ConformanceReport report = await new ConformanceRun(storage, second, how, clock) { Folders = plain as IFolderStorage }.RunAsync(begins, cancellationToken).ConfigureAwait(false);
            bool isBroken = report.Guarantees.Any(static guarantee => guarantee.State == GuaranteeState.Broken);
            return new StorageTestReport
            {
                Location = storage.Location,
                Folder = report.Folder,
                Guarantees = [.. report.Guarantees.Select(StorageGuaranteeInfo.From)],
                Capabilities = StorageCapabilityInfo.From(storage.Capabilities),
                Space = space,
                Latencies = StorageLatencyInfo.From(report.Latencies),
                UploadRate = report.UploadRate,
                DownloadRate = report.DownloadRate,
                ClockSkew = report.ClockSkew,
                Health = providers.Report().FirstOrDefault(),
                LeftBehind = report.LeftBehind,
                ExitCode = report.StoppedBy?.ExitCode ?? (isBroken ? ErrorCodes.DamageFound.ExitCode : 0),
            };
        }
        finally
        {
            RemoveSpool(wasEmpty ? spool : null);
        }
    }

    /// <summary>Looks at a storage: what it can do, its space, what a repository holds there, and how its provider does. Changes nothing.</summary>
    /// <param name="url">Where it is.</param>
    /// <param name="options">How it is used.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException">It cannot be connected to or read.</exception>
    public static async Task<StorageReport> InspectAsync(
        string url, RepositoryOptions? options = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        TimeProvider clock = time ?? TimeProvider.System;
        using StorageProviders providers = new(clock);
        RepositoryOptions use = (options ?? new RepositoryOptions()) with { Providers = providers };
        bool wasEmpty = IsEmptyFolder(url);
        string? spool = null;
        try
        {
            await using IStorageBackend storage = await StorageLocator.OpenAsync(url, create: false, use, clock, cancellationToken).ConfigureAwait(false);
            spool = storage.SpoolFolder;
            StorageInfo space = StorageInfo.From(await storage.GetSpaceAsync(cancellationToken).ConfigureAwait(false), clock.GetUtcNow());
            return new StorageReport
            {
                Location = storage.Location,
                Capabilities = StorageCapabilityInfo.From(storage.Capabilities),
                Space = space,
                Kinds = await CountAsync(storage, cancellationToken).ConfigureAwait(false),
                Mirrors = await CompareAsync(url, use, clock, cancellationToken).ConfigureAwait(false),
                Health = HealthOf(url, providers),
            };
        }
        finally
        {
            RemoveSpool(wasEmpty ? spool : null);
        }
    }

    /// <summary>
    /// Brings the mirrors of a repository (<see cref="RepositoryOptions.Mirrors"/>) in step with it by comparing what is on both; no key is needed. Packs are compared with their names on the way, so that
    /// damage is not copied. It can be ended at any time, and the next run goes on.
    /// </summary>
    /// <param name="url">The repository's own storage.</param>
    /// <param name="request">What may be done.</param>
    /// <param name="options">How the storages are used, and which mirrors.</param>
    /// <param name="monitor">Watches.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>A report of each mirror; what is wrong with one keeps none of the others.</returns>
    /// <exception cref="BackupIQException">
    /// The repository's own storage cannot be reached; <c>RepositoryNotFound</c>: it holds none; <c>AppendOnly</c>: who may only add removes and replaces nothing;
    /// <c>Usage</c>: a mirror cannot be one.
    /// </exception>
    public static Task<IReadOnlyList<MirrorReport>> SyncAsync(
        string url, MirrorSyncRequest request, RepositoryOptions options, MirrorMonitor? monitor = null, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        options.AppendOnly == true && (request.Delete || request.Verify)
            ? throw new BackupIQException(ErrorCodes.AppendOnly, "Who may only add to a repository removes and replaces nothing on its mirrors")
            : MirroredStorage.SyncAsync(url, request, monitor ?? new MirrorMonitor(), options, time ?? TimeProvider.System, cancellationToken);

    /// <summary>
    /// The address by which anybody reads one object of a storage for a time (S3, Azure with the account's key, Google Cloud Storage with a service account's key). What
    /// a repository stores is sealed: who reads it learns its length.
    /// </summary>
    /// <param name="url">Where it is.</param>
    /// <param name="key">The object's name, as <c>d/…</c>.</param>
    /// <param name="lasts">For how long; at most seven days.</param>
    /// <param name="options">How the storage is used.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException">
    /// <c>Usage</c>: no name, too long or no time, or this storage or who is signed in to it gives no links; <c>StorageObjectNotFound</c>: there is no such object.
    /// </exception>
    public static async Task<StorageLinkInfo> LinkAsync(
        string url, string key, TimeSpan lasts, RepositoryOptions? options = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        if (!StorageKey.TryCreate(key, out StorageKey name))
        {
            throw new BackupIQException(ErrorCodes.Usage, "That is no object's name", "As 's/0123…' or 'config/a.00000001'; 'backupiq storage info' tells which kinds there are.");
        }

        if (lasts < TimeSpan.FromSeconds(1) || lasts > ILinkStorage.Longest)
        {
            throw new BackupIQException(ErrorCodes.Usage, "A link lasts from a second to seven days", "Who needs it for longer should get rights of their own.");
        }

        await using IStorageBackend storage = await StorageLocator.OpenPlainAsync(url, options ?? new RepositoryOptions(), time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        if (storage is not ILinkStorage linking)
        {
            throw new BackupIQException(ErrorCodes.Usage, "This storage gives no links", "S3, Azure Blob Storage and Google Cloud Storage do.").With("location", storage.Location);
        }

        if (await storage.StatAsync(name, cancellationToken).ConfigureAwait(false) is not { } found)
        {
            throw new StorageException(ErrorCodes.StorageObjectNotFound, $"There is no object {name}", "'backupiq storage info' tells which kinds there are.").With("location", storage.Location);
        }

        StorageLink link = await linking.LinkAsync(name, TimeSpan.FromSeconds(Math.Floor(lasts.TotalSeconds)), cancellationToken).ConfigureAwait(false);
        return new StorageLinkInfo(link, found.Size);
    }

    /// <summary>What a repository's folder is mounted from, where that is no disk of this machine: <c>nfs4 server:/export</c>; null otherwise.</summary>
    public static NetworkMountInfo? MountAt(string url) =>
        StorageLocator.LocalPath(url) is { } path && NetworkMount.At(path) is { } mount ? new NetworkMountInfo(mount.ToString(), mount.ListingLag) : null;

    /// <summary>
    /// Lets this machine use a storage that asks for a person (Google Drive): they type a code in a browser, on any machine. What comes of it is kept in a file of its
    /// owner alone, and a sign-in that was there is replaced.
    /// </summary>
    /// <param name="url">Where it is.</param>
    /// <param name="tell">Shows the person what to do.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Stops waiting; nothing is kept then.</param>
    /// <returns>The file.</returns>
    /// <exception cref="BackupIQException"><c>Usage</c>: the storage asks for nobody; <c>StorageAuthentication</c>: the person refused, or did nothing in time.</exception>
    public static Task<string> SignInAsync(string url, Action<StorageConsent> tell, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        StorageUrl.HasScheme(url)
            ? RemoteStorage.SignInAsync(url, tell, time ?? TimeProvider.System, cancellationToken)
            : throw new BackupIQException(ErrorCodes.Usage, "Nobody signs in to a folder", "Name the URL of a storage, as gdrive://Backups.");

    // Where the storage itself is away there is nothing to compare with, and that was told.
    private static async Task<IReadOnlyList<MirrorReport>> CompareAsync(string url, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken)
    {
        if (use.Mirrors.Count == 0)
        {
            return [];
        }

        try
        {
            IReadOnlyList<MirrorReport> reports = await MirroredStorage
                .SyncAsync(url, new MirrorSyncRequest { DryRun = true, Fill = true, Delete = true, AllowMass = true }, new MirrorMonitor(), use, time, cancellationToken).ConfigureAwait(false);
            return [.. reports.Zip(use.Mirrors, (report, mirror) => report with { Health = HealthOf(mirror, use.Providers!) })];
        }
        catch (BackupIQException e) when (e.IsTransient || e.Code == ErrorCodes.RepositoryNotFound)
        {
            return [.. use.Mirrors.Select(mirror => new MirrorReport(mirror) { Problem = $"it could not be compared: {e.Message.TrimEnd('.')}", Health = HealthOf(mirror, use.Providers!) })];
        }
    }

    private static StorageHealthInfo? HealthOf(string url, StorageProviders providers) =>
        StorageLocator.LocalPath(url) is null && RemoteStorage.ProviderOf(url) is { } name ? providers.Report().FirstOrDefault(one => one.Provider == name) : null;

    private static async Task<IReadOnlyList<StoredKind>> CountAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        Dictionary<string, StoredKind> kinds = new(StringComparer.Ordinal);
        await foreach (StoredObject item in storage.ListAsync("", cancellationToken).ConfigureAwait(false))
        {
            string kind = RepositoryNames.KindOf(item.Key);
            StoredKind sum = kinds.GetValueOrDefault(kind) ?? new StoredKind(kind, 0, 0, DateTimeOffset.MinValue);
            kinds[kind] = new StoredKind(kind, sum.Objects + 1, sum.Bytes + item.Size, item.StoredAt > sum.Newest ? item.StoredAt : sum.Newest);
        }

        return [.. kinds.Values.OrderByDescending(static kind => kind.Bytes).ThenBy(static kind => kind.Kind, StringComparer.Ordinal)];
    }

    private static bool IsEmptyFolder(string url) => StorageLocator.LocalPath(url) is { } path && Directory.Exists(path) && !StorageLocator.ExistsAt(path);

    // What opening made in a folder that was empty.
    private static void RemoveSpool(string? folder)
    {
        try
        {
            if (folder is not null)
            {
                Directory.Delete(folder);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody began to use it meanwhile.
        }
    }
}
