using System.Collections.Concurrent;
using BackupIQ.Engine.Diff;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Jobs;

/// <content>Reading a repository as a person does: listing, comparing, taking single files out.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>Opens what snapshots hold, for listing and searching. The caller disposes it.</summary>
    public async Task<SnapshotBrowser> BrowseAsync(CancellationToken cancellationToken = default)
    {
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        Tell(load.Findings);
        return new SnapshotBrowser(_repository, load, _options.CacheFolder);
    }

    /// <summary>Opens snapshots as folders and files, for serving and mounting. The caller disposes it before the repository.</summary>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>, <c>PathNotFound</c>, or the storage failed.</exception>
    public Task<RepositoryView> ViewAsync(ViewRequest request, CancellationToken cancellationToken = default) =>
        RepositoryView.OpenAsync(_repository, _options, request, Tell, _time, cancellationToken);

    /// <summary>
    /// Compares two snapshots, or folders of them: tells <paramref name="onChange"/> every difference in the order of the paths, and
    /// <paramref name="onFailure"/> every folder that cannot be compared wholly because of damage.
    /// </summary>
    /// <exception cref="BackupIQException"><c>SnapshotNotFound</c>, <c>PathNotFound</c>, or the storage failed.</exception>
    public async Task<DiffOutcome> DiffAsync(
        DiffRequest request, Action<DiffEntry> onChange, Action<ItemFailure>? onFailure = null, CancellationToken cancellationToken = default)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> snapshots = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        DiffSide before = new(store.Choose(snapshots, request.Before), request.BeforePath);
        DiffSide after = new(store.Choose(snapshots, request.After), request.AfterPath);
        TellOfSnapshots(store, request.Before, request.After);
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        Tell(load.Findings);
        long errors = 0;
        DiffStatistics statistics = DiffRunner.Run(
            _repository, index, before, after, new DiffOptions { Metadata = request.Metadata }, change => onChange(DiffEntry.From(change)), Damaged, cancellationToken);
        return new DiffOutcome
        {
            Before = SnapshotInfo.From(before.Snapshot),
            After = SnapshotInfo.From(after.Snapshot),
            Added = DiffCounts.From(statistics.Added),
            Removed = DiffCounts.From(statistics.Removed),
            ChangedFiles = statistics.ChangedFiles,
            ChangedMetadata = statistics.ChangedMetadata,
            ChangedDirectories = statistics.ChangedDirectories,
            RenamedFiles = statistics.RenamedFiles,
            RenamedDirectories = statistics.RenamedDirectories,
            RenamesSkipped = statistics.RenamesSkipped,
            Errors = errors,
        };

        void Damaged(byte[] path, BackupIQException damage)
        {
            errors++;
            onFailure?.Invoke(new ItemFailure(damage.Code, path, damage.Message));
        }
    }

    /// <summary>
    /// Writes a file of a snapshot, or a folder as an archive, to a stream; nothing that was not verified. What is damaged is left out of
    /// an archive, told and counted.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>, <c>PathNotFound</c>; <c>CorruptData</c> or <c>ChunkMissing</c>: a file is damaged, and what was written ends in
    /// the middle of it.
    /// </exception>
    public async Task DumpAsync(DumpRequest request, Stream output, DumpMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        Snapshot snapshot = await FindAsync(request.Snapshot, null, cancellationToken).ConfigureAwait(false);
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        Tell(load.Findings);
        if (request.Recall.Wait)
        {
            ConcurrentDictionary<PackId, bool> packs = new();
            await AddPacksAsync(snapshot, request.Path, index, packs, cancellationToken).ConfigureAwait(false);
            await RecallAsync(packs.Keys, request.Recall, isTrial: false, cancellationToken).ConfigureAwait(false);
        }

        DumpOptions options = new()
        {
            Archive = request.Zip ? DumpArchive.Zip : DumpArchive.Tar,
            KeepHoles = request.KeepHoles,
            FilesOnly = request.FilesOnly,
            Reading = _options.ToReading(),
        };
        await DumpRunner
            .RunAsync(_repository, index, snapshot, request.Path, output, options, (monitor ?? new DumpMonitor()).Progress, cancellationToken).ConfigureAwait(false);
    }
}
