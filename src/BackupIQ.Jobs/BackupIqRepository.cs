using System.Reflection;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <summary>
/// A repository, opened: the door for programs that back up, restore and check. Dispose it to wipe its keys. One operation at a time;
/// open it again for more.
/// </summary>
/// <example>
/// docs/library.md shows a whole program.
/// <code>
/// await using BackupIqRepository mine = await BackupIqRepository.OpenAsync("/mnt/disk/backup", secrets, cancellationToken: cancellationToken);
/// foreach (SnapshotInfo snapshot in await mine.ListSnapshotsAsync(cancellationToken: cancellationToken))
/// {
///     Console.WriteLine($"{snapshot.ShortId} {snapshot.Time:u} {snapshot.Hostname}");
/// }
/// </code>
/// </example>
public sealed partial class BackupIqRepository : IAsyncDisposable
{
    private readonly IStorageBackend _storage;
    private readonly BackupRepository _repository;
    private readonly RepositoryOptions _options;
    private readonly TimeProvider _time;
    private readonly List<string> _findings = [];
    private LocalCache? _cache;

    private BackupIqRepository(IStorageBackend storage, BackupRepository repository, RepositoryOptions options, TimeProvider time)
    {
        _storage = storage;
        _repository = repository;
        _options = options;
        _time = time;
        repository.OnCacheUse = () => _cache ??= LocalCache.Use(options.CacheFolder, repository.Id, options.CacheLimit, time);
        repository.OnIndexRead = options.OnIndexRead;
        Tell(repository.Findings.Select(static finding => finding.ToString()));
    }

    /// <summary>The version of BackupIQ: <c>0.1.0</c>.</summary>
    public static string Version { get; } =
        typeof(BackupIqRepository).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>The repository's id, 32 hex digits.</summary>
    public string Id => _repository.Id.ToString();

    /// <summary>Where it lies, without secrets.</summary>
    public string Location => _storage.Location;

    /// <summary>Damage that was met so far, while opening and since, and prevented nothing; a sentence each: exit code 14.</summary>
    public IReadOnlyList<string> Findings
    {
        get
        {
            lock (_findings)
            {
                return [.. _findings];
            }
        }
    }

    /// <summary>What the repository says of itself.</summary>
    public RepositorySettingsInfo Settings => new(
        Id,
        _repository.Configuration.Label,
        _repository.Configuration.Created,
        _repository.Configuration.Generation,
        _repository.Configuration.AppendOnly);

    /// <summary>Says for all clients whether they only add unless they are told that they maintain the repository.</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>, or <c>AppendOnly</c>: this process may only add.</exception>
    public Task SetAppendOnlyAsync(bool appendOnly, CancellationToken cancellationToken = default) =>
        _repository.SetAppendOnlyAsync(appendOnly, cancellationToken);

    /// <summary>Whether there is anything at <paramref name="url"/> that could be a repository. Makes nothing.</summary>
    /// <exception cref="BackupIQException">It cannot be told, because the storage refuses or cannot be reached.</exception>
    public static Task<bool> ExistsAsync(string url, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        StorageLocator.ExistsAsync(url, time ?? TimeProvider.System, cancellationToken);

    /// <summary>Whether there is anything at a path of this machine's own file system that could be a repository.</summary>
    public static bool ExistsAt(string path) => StorageLocator.ExistsAt(path);

    /// <summary>The path of a repository on this machine's own file system, or null for any other.</summary>
    public static string? LocalPath(string url) => StorageLocator.LocalPath(url);

    /// <summary>
    /// Makes a repository at <paramref name="url"/> (a path or <c>file:///path</c>) with at least a password, a key file or a key service, and opens it.
    /// </summary>
    /// <returns>The repository, and the text of its recovery kit when one was asked for: it holds a secret, so store it 0600.</returns>
    /// <exception cref="BackupIQException"><c>RepositoryExists</c>, <c>Validation</c>, or the storage failed.</exception>
    public static async Task<(BackupIqRepository Repository, string? RecoveryKit)> CreateAsync(
        string url,
        RepositorySecrets secrets,
        RepositoryOptions? options = null,
        bool recoveryKit = true,
        BackupIqRepository? chunkerFrom = null,
        TimeProvider? time = null,
        CancellationToken cancellationToken = default)
    {
        await using IKeyProvider? provider = await KeyProviderLocator.OpenAsync(secrets, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        string? made = StorageLocator.LocalPath(url) is { } path && !StorageLocator.ExistsAt(path) ? path : null;
        IStorageBackend storage = await StorageLocator.OpenAsync(url, create: true, options, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        try
        {
            CreateOptions create = new()
            {
                Password = secrets.Password,
                KeyFile = secrets.KeyFile,
                KeyProvider = provider,
                RecoveryKit = recoveryKit,
                ChunkerFrom = chunkerFrom?._repository,
                AppendOnly = options?.AppendOnly ?? false,
            };
            CreatedRepository created = await BackupRepository.CreateAsync(storage, create, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
            return (new BackupIqRepository(storage, created.Repository, options ?? new RepositoryOptions(), time ?? TimeProvider.System), created.RecoveryKit);
        }
        catch
        {
            await storage.DisposeAsync().ConfigureAwait(false);
            StorageLocator.RemoveEmpty(made);
            throw;
        }
    }

    /// <summary>Opens the repository at <paramref name="url"/>.</summary>
    /// <exception cref="BackupIQException">
    /// <c>RepositoryNotFound</c>, <c>Authentication</c>, <c>KeyDamaged</c>, <c>KeyDisabled</c> and others of a key service, or the storage failed.
    /// </exception>
    public static async Task<BackupIqRepository> OpenAsync(
        string url,
        RepositorySecrets secrets,
        RepositoryOptions? options = null,
        TimeProvider? time = null,
        CancellationToken cancellationToken = default)
    {
        AppendOnlyBackend storage = await StorageLocator.OpenAsync(url, create: false, options, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        try
        {
            await using IKeyProvider? provider = await KeyProviderLocator.OpenAsync(secrets, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
            using RecoveryKit? kit = secrets.RecoveryKit is null ? null : RecoveryKit.Parse(secrets.RecoveryKit);
            Credentials credentials = new() { Password = secrets.Password, KeyFile = secrets.KeyFile, KeyProvider = provider, RecoveryKit = kit };
            BackupRepository repository = await BackupRepository.OpenAsync(storage, credentials, time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
            if (options?.AppendOnly is null && repository.Configuration.AppendOnly)
            {
                storage.Close();
            }

            return new BackupIqRepository(storage, repository, options ?? new RepositoryOptions(), time ?? TimeProvider.System);
        }
        catch
        {
            await storage.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>
    /// Backs up what <paramref name="request"/> names. The snapshot exists whole when this returns, or not at all. Items that could not be
    /// read are told to <paramref name="monitor"/> and counted.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; what was complete is stored and reused by the next run.</exception>
    /// <exception cref="BackupIQException">It failed; nothing was committed.</exception>
    public async Task<BackupOutcome> BackupAsync(BackupRequest request, BackupMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        using BackupBeginning beginning = BackupBeginning.Begin(request, Location, _options, _time, cancellationToken);
        return await BackupAsync(beginning, monitor, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same of what was begun before this repository was open. It stays the caller's, and is good for one backup.</summary>
    /// <exception cref="OperationCanceledException">As above.</exception>
    /// <exception cref="BackupIQException">As above.</exception>
    public async Task<BackupOutcome> BackupAsync(BackupBeginning beginning, BackupMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new BackupMonitor();
        DateTimeOffset started = _time.GetUtcNow();
        BackupRunner runner = new(_repository, _time, _options.CacheFolder);
        BackupOptions options = beginning.Request.ToOptions(_options, "backupiq " + Version);
        BackupResult result = beginning.Discovery is { } discovery
            ? await runner.RunAsync(discovery, options, monitor.Progress, cancellationToken).ConfigureAwait(false)
            : await runner.RunAsync(beginning.Source, options, monitor.Progress, cancellationToken).ConfigureAwait(false);
        Tell(result.Damage);
        if (beginning.Source is FileSource files)
        {
            foreach (SourceNotice notice in files.Notices)
            {
                monitor.OnNotice?.Invoke($"{PathText.Show(notice.Path)}: {notice.Message}");
            }
        }

        return ToOutcome(result, started);
    }

    private BackupOutcome ToOutcome(BackupResult result, DateTimeOffset began) => new()
    {
        Snapshot = result.Snapshot is null ? null : SnapshotInfo.From(result.Snapshot),
        Counts = BackupCounts.From(result.Summary, result.Snapshot?.Time ?? began, result.Snapshot?.Ended ?? _time.GetUtcNow()),
        Warnings = result.Warnings,
        BytesPut = result.BytesPut,
        LocksExtended = result.Locks.Extended,
        LockProblem = result.Locks.Problem,
    };

    /// <summary>The snapshots that <paramref name="query"/> chooses, oldest first. Those that cannot be read are damage, which is told.</summary>
    public async Task<IReadOnlyList<SnapshotInfo>> ListSnapshotsAsync(SnapshotQuery? query = null, CancellationToken cancellationToken = default)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> all = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);
        query ??= new SnapshotQuery();
        SnapshotInfo[] chosen = [.. all.Select(SnapshotInfo.From).Where(query.Matches)];
        return query.Limit is { } limit && limit < chosen.Length ? chosen[^limit..] : chosen;
    }

    /// <summary>
    /// What interrupted runs had stored, oldest first, the last of each run: partial snapshots, of which the next run takes over what did not
    /// change. They are found by their ids alone, and restore like others as far as they go.
    /// </summary>
    public async Task<IReadOnlyList<SnapshotInfo>> ListPartialAsync(SnapshotQuery? query = null, CancellationToken cancellationToken = default)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> partials = await store.ListLastPartialAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);
        return [.. partials.Select(SnapshotInfo.From).Where((query ?? new SnapshotQuery()).Matches)];
    }

    /// <summary>
    /// The snapshot that <paramref name="text"/> names: an id, a unique prefix of 4 or more digits, a name, <c>latest</c>, <c>latest~2</c> or
    /// <c>@2026-11-22T10:00</c>. A query narrows what <c>latest</c> chooses among.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>, <c>SnapshotAmbiguous</c> or <c>Usage</c>; <c>CorruptData</c> where it is there, but damaged.
    /// </exception>
    public async Task<SnapshotInfo> FindSnapshotAsync(string text, SnapshotQuery? query = null, CancellationToken cancellationToken = default) =>
        SnapshotInfo.From(await FindAsync(text, query, cancellationToken).ConfigureAwait(false));

    /// <summary>
    /// Restores. When this returns, everything that was restored is durable; entries that could not be are told to
    /// <paramref name="monitor"/> and counted.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>, <c>PathNotFound</c>, or repository or target failed as a whole; <c>StorageArchived</c>: what is needed lies in an archive and was asked for, and
    /// <see cref="RestoreRequest.WaitForArchive"/> is not said.
    /// </exception>
    public async Task<RestoreOutcome> RestoreAsync(RestoreRequest request, RestoreMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new RestoreMonitor();
        RestoreOptions options = request.ToOptions(_options);
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        Snapshot snapshot = await FindAsync(request.Snapshot, null, cancellationToken).ConfigureAwait(false);
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        Tell(load.Findings);
        await RecallAsync(request, options, snapshot, index, monitor, cancellationToken).ConfigureAwait(false);
        using LinuxRestoreTarget target = new(request.Target);
        RestoreResult result = await RestoreRunner
            .RunAsync(_repository, index, snapshot, request.Path, target, options, monitor.Progress, cancellationToken).ConfigureAwait(false);
        return ToOutcome(snapshot, result);
    }

    /// <summary>Checks the repository and changes nothing but the ledger of what was verified. Damage is in the report and no exception.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the subset is none; or the storage cannot be reached.</exception>
    public async Task<CheckReport> CheckAsync(CheckRequest? request = null, CheckMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        request ??= new CheckRequest();
        CheckOptions options = request.ToOptions(_options) with
        {
            BeforeReading = request.Recall.Wait ? (packs, stop) => RecallAsync(packs, request.Recall, isTrial: false, stop) : null,
        };
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Check, cancellationToken).ConfigureAwait(false);
        CheckRunner runner = new(_repository, _time);
        return CheckReport.From(await runner.RunAsync(options, (monitor ?? new CheckMonitor()).Progress, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>What the ledger of verifications says of the packs that are there; reads no pack.</summary>
    public async Task<VerificationInfo> ReadVerificationAsync(CancellationToken cancellationToken = default)
    {
        VerificationState state = await VerificationStatus.ReadAsync(_repository, _time, cancellationToken).ConfigureAwait(false);
        return new VerificationInfo(state.Packs, state.NeverVerified, state.Oldest, state.Interrupted);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _repository.DisposeAsync().ConfigureAwait(false);
        await _storage.DisposeAsync().ConfigureAwait(false);
        _cache?.Dispose();
    }

    private SnapshotStore Snapshots() => new(_repository, _options.At);

    private static RestoreOutcome ToOutcome(Snapshot snapshot, RestoreResult result) => new()
    {
        Snapshot = SnapshotInfo.From(snapshot),
        TotalFiles = result.TotalFiles,
        FilesRestored = result.FilesRestored,
        FilesUnchanged = result.FilesUnchanged,
        FilesSkipped = result.FilesSkipped,
        FilesDeleted = result.FilesDeleted,
        FilesVerified = result.FilesVerified,
        TotalBytes = result.TotalBytes,
        BytesRestored = result.BytesRestored,
        Errors = result.ErrorCount,
        Warnings = [.. result.Warnings.Select(static warning => (warning.Message, warning.Count, warning.Examples))],
        Duration = result.Duration,
        ExitCode = result.ExitCode,
    };

    private async Task<Snapshot> FindAsync(string text, SnapshotQuery? query, CancellationToken cancellationToken)
    {
        SnapshotStore store = Snapshots();
        try
        {
            Snapshot found = await store.FindAsync(text, snapshot => query?.Matches(SnapshotInfo.From(snapshot)) ?? true, cancellationToken).ConfigureAwait(false);
            TellOfSnapshots(store, text);
            return found;
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.SnapshotNotFound && !SnapshotStore.IsByTime(text))
        {
            // What an interrupted run had stored is found by its id alone, so that nobody takes it for a whole snapshot.
            IReadOnlyList<Snapshot> partials = await store.ListLastPartialAsync(cancellationToken).ConfigureAwait(false);
            if (partials.Any(partial => text.Length >= 4 && partial.Id.ToString().StartsWith(text, StringComparison.Ordinal)))
            {
                return SnapshotStore.Find(partials, text);
            }

            throw;
        }
    }

    // Where snapshots are chosen by time, one that cannot be read may be the one that is meant.
    private void TellOfSnapshots(SnapshotStore store, params IReadOnlyList<string> names)
    {
        if (names.Count == 0 || names.Any(SnapshotStore.IsByTime))
        {
            Tell(store.Damaged);
        }
    }

    private void TellOfLocks(string? problem)
    {
        if (problem is not null)
        {
            _options.OnStorageNotice?.Invoke(new StorageNotice($"Locks of what snapshots need could not be extended, so it can be deleted when they end: {problem}", IsWarning: true));
        }
    }

    private void Tell(IEnumerable<string> damage)
    {
        lock (_findings)
        {
            foreach (string finding in damage)
            {
                if (!_findings.Contains(finding))
                {
                    _findings.Add(finding);
                    _options.OnDamage?.Invoke(finding);
                }
            }
        }
    }
}
