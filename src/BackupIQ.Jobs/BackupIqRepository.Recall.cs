using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <content>Archives: what is needed is brought back before anything is read.</content>
public sealed partial class BackupIqRepository
{
    // A restore that found out pack by pack what is archived would wait for hours at each. So all of it is planned first, as in a dry run, and asked for at once.
    private async Task RecallAsync(RestoreRequest request, RestoreOptions options, Snapshot snapshot, ChunkIndex index, RestoreMonitor monitor, CancellationToken cancellationToken)
    {
        RecallOptions recall = request.ToRecall(monitor);
        recall.ToOrder(_storage.Capabilities.Archive);
        if (_storage.Capabilities.Archive is null && !recall.Wait)
        {
            return;
        }

        ConcurrentDictionary<PackId, bool> needed = new();
        await PlanPacksAsync(snapshot, index, request.Path, request.Target, options, needed, cancellationToken).ConfigureAwait(false);
        await RecallAsync(needed.Keys, recall, request.DryRun, cancellationToken).ConfigureAwait(false);
    }

    // The packs of a snapshot, or a path in it: those that a restore to a place where nothing is would read.
    private async Task AddPacksAsync(Snapshot snapshot, byte[] path, ChunkIndex index, ConcurrentDictionary<PackId, bool> packs, CancellationToken cancellationToken)
    {
        byte[] nowhere = Encoding.UTF8.GetBytes(Path.Join(Path.GetTempPath(), $"backupiq-{SessionId.New()}"));
        RestoreOptions options = new() { Concurrency = _options.Jobs, MemoryBudget = _options.MemoryBudget };
        await PlanPacksAsync(snapshot, index, path, nowhere, options, packs, cancellationToken).ConfigureAwait(false);
    }

    // The packs of some snapshots but for those that others have.
    private async Task RecallAsync(IReadOnlyList<Snapshot> snapshots, IReadOnlyList<Snapshot> without, RecallOptions options, CancellationToken cancellationToken)
    {
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        ConcurrentDictionary<PackId, bool> packs = new();
        ConcurrentDictionary<PackId, bool> others = new();
        foreach (Snapshot snapshot in snapshots)
        {
            await AddPacksAsync(snapshot, "/"u8.ToArray(), index, packs, cancellationToken).ConfigureAwait(false);
        }

        foreach (Snapshot snapshot in without)
        {
            await AddPacksAsync(snapshot, "/"u8.ToArray(), index, others, cancellationToken).ConfigureAwait(false);
        }

        await RecallAsync(packs.Keys.Except(others.Keys), options, isTrial: false, cancellationToken).ConfigureAwait(false);
    }

    private async Task PlanPacksAsync(
        Snapshot snapshot, ChunkIndex index, byte[] path, byte[] folder, RestoreOptions options, ConcurrentDictionary<PackId, bool> packs, CancellationToken cancellationToken)
    {
        using LinuxRestoreTarget target = new(folder);
        RestoreOptions plan = options with { DryRun = true, OnPack = pack => packs.TryAdd(pack, true) };
        await RestoreRunner.RunAsync(_repository, index, snapshot, path, target, plan, new RestoreProgress(), cancellationToken).ConfigureAwait(false);
    }

    // What of these packs lies in an archive is asked for, and waited for or told.
    private async Task RecallAsync(IEnumerable<PackId> packs, RecallOptions options, bool isTrial, CancellationToken cancellationToken)
    {
        StorageArchive? archive = _storage.Capabilities.Archive;
        RecallOrder order = options.ToOrder(archive);
        RecallPipeline recall = new(_storage);
        TimeSpan? within = archive?.Takes[order.Priority];
        RecallState state = await recall.AskAsync(packs, cancellationToken).ConfigureAwait(false);
        if (state.IsReady)
        {
            return;
        }

        if (isTrial)
        {
            Tell(state, 0);
            return;
        }

        await recall.RequestAsync(state.Archived, order, cancellationToken).ConfigureAwait(false);
        Tell(state, state.Archived.Count);
        if (!options.Wait)
        {
            string when = within is { } time ? string.Create(CultureInfo.InvariantCulture, $", and are back within {time.TotalHours:0.#} h as a rule") : "";
            throw new BackupIQException(
                ErrorCodes.StorageArchived,
                $"{state.Objects} packs that are needed ({state.Bytes} bytes) lie in an archive; they were asked for{when}",
                "Run the same again then, or with --wait-archive, which waits for them.");
        }

        while (!state.IsReady)
        {
            await Task.Delay(options.Poll, _time, cancellationToken).ConfigureAwait(false);
            RecallState now = await recall.AskAsync(state.Archived.Concat(state.Returning).Select(static item => PackOf(item.Key)), cancellationToken).ConfigureAwait(false);

            // What the storage gave up is asked for again.
            await recall.RequestAsync(now.Archived, order, cancellationToken).ConfigureAwait(false);
            if (now.Objects < state.Objects)
            {
                Tell(now, now.Archived.Count);
            }

            state = now;
        }

        void Tell(RecallState told, int requested) => options.OnRecall?.Invoke(new RecallInfo(told.Objects, told.Bytes, requested, within));
    }

    private static PackId PackOf(StorageKey key) => RepositoryLayout.TryParsePack(key, out _, out PackId pack) ? pack : throw new ArgumentException($"{key} is no pack.", nameof(key));
}
