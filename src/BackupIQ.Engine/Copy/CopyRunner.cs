using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Copy;

/// <summary>
/// Copies snapshots from one repository into another that may have other keys, cuts and storage. Each is read, verified, cut, named and sealed
/// anew, unless the target has it or a copy of it. A copy exists whole or not at all; what was stored when a run ends early is used by the next.
/// </summary>
public sealed class CopyRunner(BackupRepository from, BackupRepository to, CopyOptions options, TimeProvider time)
{
    /// <summary>
    /// Sessions that are announced before the first of them commits, so that the later ones may rely on what the earlier stored without looking
    /// at every folder again. Not more: what a killed run leaves open must be fenced off one by one.
    /// </summary>
    private const int SessionsAtOnce = 32;

    /// <summary>A fenced session begins again with another; more than twice means that something else is wrong.</summary>
    private const int MaxAttempts = 3;

    /// <summary>Frames of metadata that are kept of either repository: a walk in step is in two places of each at a time, its tree and its scan.</summary>
    private const int MetadataFrames = 4;

    private readonly List<string> _damage = [];

    /// <summary>
    /// Copies snapshots of the source, each series from its oldest on. The caller has announced that the source is being read before it listed them
    /// (<see cref="ReadingSession"/>).
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; what is copied is copied, and the next run goes on from there.</exception>
    /// <exception cref="BackupIQException">A storage failed; likewise.</exception>
    public async Task<CopyResult> RunAsync(IReadOnlyList<Snapshot> chosen, CopyProgress progress, CancellationToken cancellationToken)
    {
        CopyTable table = await CopyTable.ReadAsync(from, to, cancellationToken);
        _damage.AddRange(table.Damage);
        List<CopiedSnapshot> results = [];
        List<Snapshot> pending = [];
        foreach (Snapshot snapshot in CopyTable.InOrder(chosen))
        {
            if (table.CopyOf(snapshot) is not { } copy)
            {
                pending.Add(snapshot);
                continue;
            }

            CopyOutcome outcome = copy.Annotations.IsForgotten ? CopyOutcome.ForgottenThere : CopyOutcome.AlreadyThere;
            if (outcome == CopyOutcome.AlreadyThere && !options.DryRun)
            {
                await KeepAsync(snapshot, copy.Id, cancellationToken);
            }

            results.Add(new CopiedSnapshot(snapshot, copy, outcome));
            progress.Done(results[^1]);
        }

        progress.Start(pending.Count);
        if (!options.DryRun && pending.Count > 0)
        {
            if (options.BeforeReading is { } prepare)
            {
                await prepare(pending, [.. results.Select(static one => one.Original)], cancellationToken);
            }

            await CopyAllAsync(pending, table, results, progress, cancellationToken);
        }
        else
        {
            foreach (Snapshot snapshot in pending)
            {
                results.Add(new CopiedSnapshot(snapshot, null, CopyOutcome.Copied));
                progress.Done(results[^1]);
            }
        }

        return new CopyResult(results, _damage);
    }

    private async Task CopyAllAsync(
        List<Snapshot> pending, CopyTable table, List<CopiedSnapshot> results, CopyProgress progress, CancellationToken cancellationToken)
    {
        IndexLoad load = await IndexLoader.LoadAsync(from, options.CacheFolder, cancellationToken);
        using ChunkIndex index = load.Index;
        _damage.AddRange(load.Findings);
        ReadingOptions reading = new() { MemoryBudget = options.ReadingBudget, Concurrency = options.ReadingConcurrency };
        using SnapshotReader files = new(from, index, reading, Tell);
        using ChunkReader metadata = new(from, index, MetadataFrames);
        int next = 0;
        int attempts = 0;
        while (next < pending.Count)
        {
            Snapshot[] batch = [.. pending.Skip(next).Take(SessionsAtOnce)];
            await using UploadSessionSeries sessions = await UploadSessionSeries.OpenAsync(
                to, options.ToBackup(batch[0]).ToUpload(), batch.Length, options.CacheFolder, time, cancellationToken);
            _damage.AddRange(sessions.Findings.Except(_damage).ToArray());
            using ChunkReader target = new(to, sessions.Index, MetadataFrames);
            table.Distrust();
            try
            {
                for (int i = 0; i < batch.Length; i++, next++)
                {
                    if (table.CopyOf(batch[i]) is { } twin)
                    {
                        // The source had it twice: copies of one original.
                        results.Add(new CopiedSnapshot(batch[i], twin, CopyOutcome.AlreadyThere));
                        progress.Done(results[^1]);
                        continue;
                    }

                    SnapshotSource Source(IReadOnlyList<CopiedTree> known) =>
                        new(batch[i], files, id => metadata.Read(PackKind.Metadata, id), id => target.Read(PackKind.Metadata, id), known);
                    results.Add(await CopyAsync(batch[i], sessions.Next(), table, Source, progress, cancellationToken));
                    attempts = 0;
                    progress.Done(results[^1]);
                }
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.SessionFenced && ++attempts < MaxAttempts)
            {
                // Other sessions, everything looked up again: what this one stored is found.
                progress.OnNotice?.Invoke("Maintenance took this run for dead and fenced it off; it goes on with what is stored.");
            }
        }
    }

    private async Task<CopiedSnapshot> CopyAsync(
        Snapshot snapshot,
        UploadSession session,
        CopyTable table,
        Func<IReadOnlyList<CopiedTree>, SnapshotSource> open,
        CopyProgress progress,
        CancellationToken cancellationToken)
    {
        using SnapshotSource source = open(table.Known(snapshot));
        BackupProgress counters = progress.Begin(snapshot);
        try
        {
            Snapshot copyOf = snapshot with
            {
                Original = snapshot.SourceId,
                OriginalRepository = snapshot.OriginalRepository ?? from.Id.ToString(),
                Parent = null,
                Partial = false,
            };
            BackupResult result = await new BackupRunner(to, time, options.CacheFolder)
                .RunInAsync(session, source, options.ToBackup(copyOf), counters, cancellationToken);
            CopyOutcome outcome = result.Snapshot is null ? CopyOutcome.Damaged : CopyOutcome.Copied;
            if (result.Snapshot is { } copy)
            {
                table.Add(snapshot, copy);
                await KeepAsync(snapshot, copy.Id, cancellationToken);
            }

            return new CopiedSnapshot(snapshot, result.Snapshot, outcome)
            {
                Failures = counters.Failures,
                FilesRead = counters.FilesDone,
                BytesRead = counters.BytesDone,
                DataAdded = session.DataAdded,
                BytesPut = result.BytesPut,
                LockProblem = result.Locks.Problem,
            };
        }
        finally
        {
            progress.End(counters);
        }
    }

    // Holds and pins come along, each once: what is withdrawn in the target stays so.
    private Task KeepAsync(Snapshot original, SessionId copy, CancellationToken cancellationToken) =>
        new AnnotationStore(to, new AnnotationAuthor(options.Hostname, options.Username, options.ProgramVersion), time)
            .TakeOverAsync(copy, [.. original.Annotations.Holds, .. original.Annotations.Pins], cancellationToken);

    private void Tell(string finding)
    {
        lock (_damage)
        {
            _damage.Add(finding);
        }
    }
}
