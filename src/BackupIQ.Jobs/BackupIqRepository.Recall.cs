using System.Collections.Concurrent;
using System.Globalization;
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

/// <content>Archives: what a restore needs is brought back before it begins.</content>
public sealed partial class BackupIqRepository
{
    // A restore that found out pack by pack what is archived would wait for hours at each. So all of it is planned first, as in a dry run, and asked for at once.
    private async Task RecallAsync(RestoreRequest request, RestoreOptions options, Snapshot snapshot, ChunkIndex index, RestoreMonitor monitor, CancellationToken cancellationToken)
    {
        StorageArchive? archive = _storage.Capabilities.Archive;
        RecallOrder order = request.ToRecall(archive);
        if (archive is null && !request.WaitForArchive)
        {
            return;
        }

        ConcurrentDictionary<PackId, bool> needed = new();
        using (LinuxRestoreTarget target = new(request.Target))
        {
            RestoreOptions plan = options with { DryRun = true, OnPack = pack => needed.TryAdd(pack, true) };
            await RestoreRunner.RunAsync(_repository, index, snapshot, request.Path, target, plan, new RestoreProgress(), cancellationToken).ConfigureAwait(false);
        }

        RecallPipeline recall = new(_storage);
        TimeSpan? within = archive?.Takes[order.Priority];
        RecallState state = await recall.AskAsync(needed.Keys, cancellationToken).ConfigureAwait(false);
        if (state.IsReady)
        {
            return;
        }

        if (request.DryRun)
        {
            Tell(state, 0);
            return;
        }

        await recall.RequestAsync(state.Archived, order, cancellationToken).ConfigureAwait(false);
        Tell(state, state.Archived.Count);
        if (!request.WaitForArchive)
        {
            string when = within is { } time ? string.Create(CultureInfo.InvariantCulture, $", and are back within {time.TotalHours:0.#} h as a rule") : "";
            throw new BackupIQException(
                ErrorCodes.StorageArchived,
                $"{state.Objects} packs that are needed ({state.Bytes} bytes) lie in an archive; they were asked for{when}",
                "Run the same again then, or with --wait-archive, which waits for them.");
        }

        while (!state.IsReady)
        {
            await Task.Delay(request.ArchivePoll, _time, cancellationToken).ConfigureAwait(false);
            RecallState now = await recall.AskAsync(state.Archived.Concat(state.Returning).Select(static item => PackOf(item.Key)), cancellationToken).ConfigureAwait(false);

            // What the storage gave up is asked for again.
            await recall.RequestAsync(now.Archived, order, cancellationToken).ConfigureAwait(false);
            if (now.Objects < state.Objects)
            {
                Tell(now, now.Archived.Count);
            }

            state = now;
        }

        void Tell(RecallState told, int requested) => monitor.OnRecall?.Invoke(new RecallInfo(told.Objects, told.Bytes, requested, within));
    }

    private static PackId PackOf(StorageKey key) => RepositoryLayout.TryParsePack(key, out _, out PackId pack) ? pack : throw new ArgumentException($"{key} is no pack.", nameof(key));
}
