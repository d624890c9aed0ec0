using BackupIQ.Engine.Copy;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Postgres;
using BackupIQ.Storage;
using BackupIQ.Storage.Archive;

namespace BackupIQ.Jobs;

/// <content>Copying between repositories.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Copies snapshots of another repository into this one, whatever its keys, cuts and storage. Everything that is read is verified. What
    /// this repository has, or has a copy of, is left out; a snapshot of which anything is damaged is not copied, told to
    /// <paramref name="monitor"/> and counted. Whatever ends a copy early, the next goes on from there.
    /// </summary>
    /// <param name="from">The other repository; the caller's. It is only read.</param>
    /// <param name="request">Which snapshots, and how; null: all.</param>
    /// <param name="monitor">Watches.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>; <c>Usage</c>: both are the same repository; or a storage failed.</exception>
    public async Task<CopyReport> CopyFromAsync(
        BackupIqRepository from, CopyRequest? request = null, CopyMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        if (from.Location == Location)
        {
            throw new BackupIQException(ErrorCodes.Usage, "Source and target are the same repository").With("location", Location);
        }

        request ??= new CopyRequest();
        long started = _time.GetTimestamp();
        await using ReadingSession? reading = request.DryRun ? null : await from.ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<Snapshot> chosen = await from.SelectAsync(request.Snapshots, cancellationToken).ConfigureAwait(false);
        CopyResult result = await CopyAsync(from, chosen, request, monitor ?? new CopyMonitor(), cancellationToken).ConfigureAwait(false);
        Tell(result.Damage);
        TellOfLocks(result.Snapshots.Select(static one => one.LockProblem).FirstOrDefault(static problem => problem is not null));

        // After the snapshots, for what these need is copied of the logs. Of chosen ones those of the servers that they are of.
        string[]? servers = request.Snapshots.IsAll ? null : [.. chosen.Where(static one => one.Kind == PostgresKind).Select(static one => PostgresDocument.Read(one.Db).Server).Distinct(StringComparer.Ordinal)];
        IReadOnlyList<WalCopyInfo> logs = servers is { Length: 0 } ? [] : await CopyWalAsync(from, servers, request.DryRun, cancellationToken).ConfigureAwait(false);
        return new CopyReport([.. result.Snapshots.Select(CopiedSnapshotInfo.From)], _time.GetElapsedTime(started)) { Logs = logs };
    }

    // What the snapshots that were copied before have in common with the next is not read again as a rule, so it is not brought back. Where it is after all, everything is.
    private async Task<CopyResult> CopyAsync(BackupIqRepository from, IReadOnlyList<Snapshot> chosen, CopyRequest request, CopyMonitor monitor, CancellationToken cancellationToken)
    {
        CopyOptions options = request.ToOptions(_options, "backupiq " + Version);
        if (!request.Recall.Wait)
        {
            return await new CopyRunner(from._repository, _repository, options, _time).RunAsync(chosen, monitor.Progress, cancellationToken).ConfigureAwait(false);
        }

        CopyOptions sparing = options with { BeforeReading = (pending, copied, stop) => from.RecallAsync(pending, copied, request.Recall, stop) };
        try
        {
            return await new CopyRunner(from._repository, _repository, sparing, _time).RunAsync(chosen, monitor.Progress, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageArchived)
        {
            CopyOptions everything = options with { BeforeReading = (pending, _, stop) => from.RecallAsync(pending, [], request.Recall, stop) };
            return await new CopyRunner(from._repository, _repository, everything, _time).RunAsync(chosen, monitor.Progress, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Writes a snapshot as one sealed file that <paramref name="secrets"/> open and nothing else: a repository of its own, with its own keys,
    /// which <see cref="OpenAsync"/> takes like any other to be read and copied from. The stream need not be seekable.
    /// </summary>
    /// <param name="snapshot">As <see cref="FindSnapshotAsync"/> takes it.</param>
    /// <param name="output">Where to; the caller's, who also makes it durable.</param>
    /// <param name="secrets">A password or a key file.</param>
    /// <param name="compression">As the command line takes it.</param>
    /// <param name="monitor">Watches.</param>
    /// <param name="cancellationToken">Ends it; what was written then is no export.</param>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>; <c>DamageFound</c>: something of it is damaged, which was told to <paramref name="monitor"/>, and what was written
    /// is no export.
    /// </exception>
    public async Task<ExportReport> ExportAsync(
        string snapshot,
        Stream output,
        RepositorySecrets secrets,
        string compression = "auto",
        CopyMonitor? monitor = null,
        CancellationToken cancellationToken = default)
    {
        long started = _time.GetTimestamp();
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        Snapshot chosen = await FindAsync(snapshot, null, cancellationToken).ConfigureAwait(false);
        await using ArchiveWriter archive = new(output, _time);
        await using IKeyProvider? provider = await KeyProviderLocator.OpenAsync(secrets, _time, cancellationToken).ConfigureAwait(false);
        CreateOptions create = new() { Password = secrets.Password, KeyFile = secrets.KeyFile, KeyProvider = provider, RecoveryKit = false, Compression = compression };
        CreatedRepository created = await BackupRepository.CreateAsync(archive, create, _time, cancellationToken).ConfigureAwait(false);
        await using BackupRepository target = created.Repository;

        // No checkpoints: nobody could take them up. No cache: the file's index is read where the file is.
        CopyRequest request = new() { Compression = compression, CheckpointInterval = TimeSpan.MaxValue };
        CopyRunner runner = new(_repository, target, request.ToOptions(_options with { CacheFolder = null }, "backupiq " + Version), _time);
        CopyResult result = await runner.RunAsync([chosen], (monitor ?? new CopyMonitor()).Progress, cancellationToken).ConfigureAwait(false);
        Tell(result.Damage);
        if (result.Snapshots[0].Copy is null)
        {
            throw new BackupIQException(
                ErrorCodes.DamageFound, $"Snapshot {chosen.ShortId} cannot be exported whole", "'backupiq repair packs' mends what it can; then export again.");
        }

        IReadOnlyList<WalCopyInfo> logs = await ExportWalAsync(chosen, target, cancellationToken).ConfigureAwait(false);
        if (logs.Any(static log => log.Damaged > 0))
        {
            throw new BackupIQException(ErrorCodes.DamageFound, $"The log that snapshot {chosen.ShortId} needs cannot be exported whole", "See what is damaged with 'backupiq pg wal verify'.");
        }

        await archive.FinishAsync(cancellationToken).ConfigureAwait(false);
        return new ExportReport(CopiedSnapshotInfo.From(result.Snapshots[0]), archive.Length, _time.GetElapsedTime(started));
    }
}
