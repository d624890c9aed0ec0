using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Sources.Restic;

namespace BackupIQ.Jobs;

/// <content>Taking over what other programs backed up.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Takes snapshots of a restic repository over, oldest first, each as a snapshot of its own with its time, host, user, tags and paths. What
    /// was taken over before is left out, so an interrupted run is simply made again. The restic repository is only read. What is damaged there
    /// is told to <paramref name="monitor"/> and left out.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; the snapshots that were complete stay, and what was stored is reused.</exception>
    /// <exception cref="BackupIQException">
    /// <c>RepositoryNotFound</c>, <c>Authentication</c>, <c>UnsupportedFormat</c>: of the restic repository. <c>SnapshotNotFound</c>,
    /// <c>SnapshotAmbiguous</c>: of the names. Or either repository failed as a whole.
    /// </exception>
    public async Task<ResticImportOutcome> ImportResticAsync(
        ResticImportRequest request, ResticImportMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new ResticImportMonitor();
        long started = _time.GetTimestamp();
        using ResticRepository foreign = ResticRepository.Open(ResticFolderOf(request.Location), request.Password);
        IReadOnlyList<(ResticSnapshot Restic, Snapshot Copy)> chosen = Choose(foreign, request, cancellationToken);
        Dictionary<string, Snapshot> here = await FindImportedAsync(foreign.Id, cancellationToken).ConfigureAwait(false);
        ResticImport import = new(foreign, here, request, monitor);
        int left = chosen.Count(pair => import.StateOf(pair.Restic) == "planned");
        monitor.Plan(left);
        if (left > 0 && !request.DryRun)
        {
            foreign.LoadIndex(cancellationToken);
        }

        foreach ((ResticSnapshot restic, Snapshot copy) in chosen)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string state = import.StateOf(restic);
            if (state != "planned" || request.DryRun)
            {
                import.Tell(restic, state, here.GetValueOrDefault(restic.Id)?.Id.ToString(), null);
                continue;
            }

            await ImportAsync(import, restic, copy, cancellationToken).ConfigureAwait(false);
        }

        foreach (string damage in foreign.Damage)
        {
            monitor.Notice(damage);
        }

        return new ResticImportOutcome
        {
            Items = import.Items,
            Warnings = import.Warnings + foreign.Damage.Count,
            BytesPut = import.BytesPut,
            Duration = _time.GetElapsedTime(started),
        };
    }

    private async Task ImportAsync(ResticImport import, ResticSnapshot restic, Snapshot copy, CancellationToken cancellationToken)
    {
        BackupProgress progress = import.Monitor.Begin();
        BackupOptions options = new()
        {
            Hostname = Environment.MachineName,
            Username = Environment.UserName,
            CopyOf = copy,
            Parent = import.ParentOf(copy)?.Id.ToString(),
            Compression = import.Request.Compression,
            ReadConcurrency = _options.Jobs,
            MemoryBudget = _options.MemoryBudget,
            ProgramVersion = "backupiq " + Version,
        };
        DateTimeOffset began = _time.GetUtcNow();
        try
        {
            using ResticSource source = new(import.Foreign, restic);
            BackupRunner runner = new(_repository, _time, _options.CacheFolder);
            BackupResult result = await runner.RunAsync(source, options, progress, cancellationToken).ConfigureAwait(false);
            Tell(result.Damage);
            TellOfLocks(result.Locks.Problem);
            import.Add(restic, result, BackupCounts.From(result.Summary, began, _time.GetUtcNow()));
        }
        catch (ResticDamageException damage)
        {
            import.Fail(restic, damage);
        }
    }

    private static string ResticFolderOf(string location) =>
        StorageLocator.LocalPath(location.StartsWith("local:", StringComparison.Ordinal) ? location["local:".Length..] : location)
        ?? throw new BackupIQException(
            ErrorCodes.Usage,
            "restic repositories are read from folders of this machine only",
            "Copy it to a folder, or mount its storage: 'rclone mount' and sshfs show remote ones as folders.").With("location", location);

    // What was taken over from that repository and is still here, forgotten or not.
    private async Task<Dictionary<string, Snapshot>> FindImportedAsync(string foreign, CancellationToken cancellationToken)
    {
        SnapshotStore store = new(_repository);
        Dictionary<string, Snapshot> imported = new(StringComparer.Ordinal);
        foreach (Snapshot snapshot in await store.ListAnnotatedAsync(cancellationToken).ConfigureAwait(false))
        {
            if (snapshot.Original is { } original && snapshot.OriginalRepository == foreign
                && (!imported.TryGetValue(original, out Snapshot? other) || other.Annotations.IsForgotten))
            {
                imported[original] = snapshot;
            }
        }

        Tell(store.Damaged);
        return imported;
    }

    private static IReadOnlyList<(ResticSnapshot Restic, Snapshot Copy)> Choose(
        ResticRepository foreign, ResticImportRequest request, CancellationToken cancellationToken)
    {
        List<(ResticSnapshot Restic, Snapshot Copy)> all =
            [.. foreign.ListSnapshots(cancellationToken)
                .Select(restic => (restic, ResticImport.CopyOf(restic, foreign)))
                .Where(pair => request.Query.Matches(SnapshotInfo.From(pair.Item2)))];
        if (request.Query.Limit is { } limit && limit < all.Count)
        {
            all.RemoveRange(0, all.Count - limit);
        }

        if (request.Names.Count == 0)
        {
            return all;
        }

        HashSet<string> named = [.. request.Names.Select(name => Find([.. all.Select(static pair => pair.Restic.Id)], name))];
        return [.. all.Where(pair => named.Contains(pair.Restic.Id))];
    }

    private static string Find(IReadOnlyList<string> ids, string name)
    {
        string[] found = name == "latest" ? [.. ids.TakeLast(1)]
            : [.. ids.Where(id => name.Length >= 4 && id.StartsWith(name, StringComparison.Ordinal))];
        return found.Length switch
        {
            1 => found[0],
            0 => throw new BackupIQException(
                ErrorCodes.SnapshotNotFound, $"The restic repository has no snapshot '{name}' among those chosen", "'restic snapshots' lists them; --dry-run shows which are chosen."),
            _ => throw new BackupIQException(ErrorCodes.SnapshotAmbiguous, $"'{name}' names {found.Length} snapshots of the restic repository"),
        };
    }

    /// <summary>A run of taking over: what came of each snapshot so far.</summary>
    private sealed class ResticImport(
        ResticRepository foreign, IReadOnlyDictionary<string, Snapshot> here, ResticImportRequest request, ResticImportMonitor monitor)
    {
        private readonly List<Snapshot> _parents = [.. here.Values];

        public ResticRepository Foreign => foreign;

        public ResticImportRequest Request => request;

        public ResticImportMonitor Monitor => monitor;

        public List<ResticImportItem> Items { get; } = [];

        public long Warnings { get; private set; }

        public long BytesPut { get; private set; }

        /// <summary>What the snapshot here says of itself: what the one there says.</summary>
        public static Snapshot CopyOf(ResticSnapshot restic, ResticRepository foreign) => new()
        {
            Time = restic.Time,
            Ended = restic.Ended,
            Hostname = restic.Hostname,
            Username = restic.Username,
            Paths = [.. restic.Paths.Select(static path => PathText.Show(path))],
            Tags = restic.Tags,
            Kind = "files",
            Type = restic.HasParent ? SnapshotType.Incremental : SnapshotType.Full,
            Tree = "",
            ProgramVersion = restic.ProgramVersion,
            Original = restic.Id,
            OriginalRepository = foreign.Id,
        };

        public string StateOf(ResticSnapshot restic) =>
            !here.TryGetValue(restic.Id, out Snapshot? snapshot) ? "planned"
            : !snapshot.Annotations.IsForgotten ? "present"
            : request.Names.Count > 0 ? "planned" : "forgotten";

        /// <summary>
        /// The newest of the same series that is not younger, else of the same host. Any that was taken over would do: an entry counts as
        /// unchanged only where all that is kept of it is the same.
        /// </summary>
        public Snapshot? ParentOf(Snapshot copy)
        {
            IEnumerable<Snapshot> older = _parents.Where(parent => parent.Time <= copy.Time && parent.Hostname == copy.Hostname);
            return older.Where(parent => parent.Paths.SequenceEqual(copy.Paths)).MaxBy(static parent => parent.Time) ?? older.MaxBy(static parent => parent.Time);
        }

        public void Add(ResticSnapshot restic, BackupResult result, BackupCounts counts)
        {
            _parents.Add(result.Snapshot!);
            Warnings += result.Warnings;
            BytesPut += result.BytesPut;
            Tell(restic, "imported", result.Snapshot!.Id.ToString(), counts);
        }

        public void Fail(ResticSnapshot restic, ResticDamageException damage)
        {
            Warnings++;
            monitor.Notice(damage.Message);
            Tell(restic, "failed", null, null);
        }

        public void Tell(ResticSnapshot restic, string state, string? snapshotId, BackupCounts? counts)
        {
            ResticImportItem item = new()
            {
                Original = restic.Id,
                Time = restic.Time,
                Hostname = restic.Hostname,
                Paths = restic.Paths,
                Tags = restic.Tags,
                State = state,
                SnapshotId = snapshotId,
                Counts = counts,
            };
            Items.Add(item);
            monitor.Done(item);
        }
    }
}
