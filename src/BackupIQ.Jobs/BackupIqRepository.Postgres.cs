using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Jobs.Postgres.Recovery;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Restore;

namespace BackupIQ.Jobs;

/// <content>PostgreSQL servers.</content>
public sealed partial class BackupIqRepository
{
    private const string PostgresKind = "postgres";

    /// <summary>
    /// Backs a PostgreSQL server up: the snapshot exists whole when this returns, with the WAL that it needs, or not at all. Damaged pages are told to
    /// <paramref name="monitor"/> and counted as warnings.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing was committed, and what was stored is reused by the next run.</exception>
    /// <exception cref="BackupIQException">
    /// <c>SourceServer</c>: the server cannot be reached, refused, or its session ended. <c>Authorization</c>: the role, or the user of this process, may not.
    /// <c>WrongServer</c>: the data directory is another server's. <c>RepositoryBusy</c>: it is being backed up into this repository now.
    /// <c>TimelineChanged</c>: a standby was promoted meanwhile. Or the repository failed. Nothing was committed.
    /// </exception>
    public async Task<PostgresBackupOutcome> BackupPostgresAsync(PostgresBackupRequest request, BackupMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new BackupMonitor();
        DateTimeOffset began = _time.GetUtcNow();
        BackupOptions options = request.ToBackup().ToOptions(_options, "backupiq " + Version);
        BackupRunner runner = new(_repository, _time, _options.CacheFolder);
        PostgresBackupJob job = new(request, _repository.Id.ToString(), OpenWal(request.Server.Name), monitor, _time);
        (BackupResult result, PostgresDocument document) = await job
            .RunAsync((source, stop) => runner.RunAsync(source, options, monitor.Progress, stop), cancellationToken).ConfigureAwait(false);
        Tell(result.Damage);
        return new PostgresBackupOutcome(ToOutcome(result, began), PostgresBackupInfo.From(document));
    }

    /// <summary>
    /// Makes a data directory of a backup, from which the server recovers to a target when it is started. That it can is proven before anything is written. The
    /// directory is complete and durable when this returns with exit code 0 or 3, with all of the log that it needs; a server cannot be started from it before.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>RecoveryTarget</c>: the target cannot be reached. <c>SnapshotNotFound</c>: there is no backup of that server. <c>RestoreTarget</c>: the folder, or a
    /// tablespace's, is not empty, or a server runs there; in all of these nothing was written. <c>Restore</c>: the server did not recover, or not to what was
    /// planned. Or the repository failed.
    /// </exception>
    public async Task<PostgresRestoreOutcome> RestorePostgresAsync(PostgresRestoreRequest request, RestoreMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new RestoreMonitor();
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        using OwnLogReader own = new(this);
        PlannedRestore planned = await PlanAsync(request, own, cancellationToken).ConfigureAwait(false);
        (Snapshot snapshot, PostgresDocument document, PostgresRestorePlan plan) = (planned.Snapshot, planned.Document, planned.Show(request.Server));
        RestoredServer server = new(request.Folder, document, request.TablespaceMap);
        server.RequireFree(request.Delta);
        IReadOnlyList<long> leftOut = LeftOut(request.OnlyDatabases, document);
        ChunkIndex index = await own.IndexAsync(cancellationToken).ConfigureAwait(false);
        RestoreRequest all = new() { Snapshot = snapshot.Id.ToString(), Path = Encoding.UTF8.GetBytes("/" + request.Server), Target = Encoding.UTF8.GetBytes(server.Folder) };
        await RecallAsync(all, all.ToOptions(_options), snapshot, index, monitor, cancellationToken).ConfigureAwait(false);
        server.Begin();

        // What lies at the links of pg_tblspc goes to its own places; pg_control comes last and beside its place.
        const string Control = "/global/pg_control";
        string aside = Path.Combine(server.Folder, "global", "backupiq.pg_control");
        List<(string From, string To, bool MayDelete, IReadOnlyList<string> Without)> parts =
            [("data", server.Folder, true, ["/pg_tblspc/*", .. RestoredServer.Kept, .. leftOut.Select(static one => $"/base/{one}")])];
        parts.AddRange(server.Tablespaces.Select(tablespace => ($"tablespaces/{tablespace.Key}", tablespace.Value, true, (IReadOnlyList<string>)[.. leftOut.Select(static one => $"/*/{one}")])));
        if (document.ConfigFiles.Count > 0)
        {
            parts.Add(("config", server.Folder, false, []));
        }

        parts.Add(("tail", server.Folder, false, [Control]));
        parts.Add(("tail" + Control, aside, false, []));
        RestoreResult result = null!;
        foreach ((string from, string to, bool mayDelete, IReadOnlyList<string> without) in parts)
        {
            RestoreRequest part = all with
            {
                Path = Encoding.UTF8.GetBytes($"/{request.Server}/{from}"),
                Target = Encoding.UTF8.GetBytes(to),
                Excludes = [.. without.Select(static pattern => Encoding.UTF8.GetBytes(pattern))],
                Delete = request.Delta && mayDelete,
            };
            using LinuxRestoreTarget target = new(part.Target);
            result = await RestoreRunner
                .RunAsync(_repository, index, snapshot, part.Path, target, part.ToOptions(_options), monitor.Progress, cancellationToken).ConfigureAwait(false);
        }

        PostgresReached? reached = null;
        if (result.ExitCode is 0 or 3)
        {
            await new RecoveryDeliveryPipeline(OpenWal(request.Server), server).RunAsync(planned.Plan, planned.Log, cancellationToken).ConfigureAwait(false);
            await Task.Run(
                () =>
                {
                    foreach (long database in leftOut)
                    {
                        server.LeaveOut(database);
                    }

                    server.WriteReport(plan.WriteReport(null));
                    server.WriteRecovery(planned.Settings, planned.Plan.Timeline, request.KeepArchiving);
                    server.Complete(Path.Combine(aside, "pg_control"));
                },
                cancellationToken).ConfigureAwait(false);
            if (request.Start)
            {
                ServerReached started = await new ServerStart(server.Folder, document, request.Programs, request.Action, _time).RunAsync(cancellationToken).ConfigureAwait(false);
                reached = planned.Reached(started);
                await Task.Run(() => server.WriteReport(plan.WriteReport(reached)), cancellationToken).ConfigureAwait(false);
                if (reached.Difference is { } difference)
                {
                    throw new BackupIQException(
                        ErrorCodes.Restore, $"The restored server did not reach what was planned: {difference}", $"Do not use it: it runs on a socket in {started.Sockets}. Report this; the plan and what was reached stand in {RestoredServer.Report} there.")
                        .With("path", server.Folder);
                }
            }
        }

        return new PostgresRestoreOutcome(ToOutcome(snapshot, result), PostgresBackupInfo.From(document), reached) { Plan = plan };
    }

    // The databases whose files are not wanted, by their oids; those that initdb made have small ones and are always.
    private static IReadOnlyList<long> LeftOut(IReadOnlyList<string> only, PostgresDocument document)
    {
        const long FirstOfUsers = 16384;
        if (only.Count > 0 && only.FirstOrDefault(name => document.Databases.All(database => database.Name != name)) is { } unknown)
        {
            throw new BackupIQException(
                ErrorCodes.Usage, $"The backup has no database '{unknown}'; nothing was written", $"It has: {string.Join(", ", document.Databases.Select(static database => database.Name))}.");
        }

        return only.Count == 0 ? [] : [.. document.Databases.Where(database => database.Oid >= FirstOfUsers && !only.Contains(database.Name)).Select(static database => database.Oid)];
    }

    private static bool IsBaseOf(Snapshot snapshot, string server) => snapshot.Kind == PostgresKind && snapshot.Paths is [var path] && path == "/" + server;

    private async Task<IEnumerable<Snapshot>> ListBasesAsync(string server, CancellationToken cancellationToken)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> snapshots = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);
        return snapshots.Where(snapshot => IsBaseOf(snapshot, server));
    }

    // Those of the archive's cluster, or of the one that was backed up last.
    private async Task<(IReadOnlyList<WalBaseInfo> Bases, PostgresDocument? Newest)> ReadBasesAsync(string server, ulong? system, CancellationToken cancellationToken)
    {
        List<(Snapshot Snapshot, PostgresDocument Document)> known =
            [.. (await ListBasesAsync(server, cancellationToken).ConfigureAwait(false)).Where(static snapshot => !snapshot.Partial).Select(static snapshot => (snapshot, PostgresDocument.Read(snapshot.Db)))];
        string? identifier = system?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? known.LastOrDefault().Document?.SystemIdentifier;
        known.RemoveAll(one => one.Document.SystemIdentifier != identifier);
        return ([.. known.Select(static one => ToInfo(one.Snapshot, one.Document))], known.LastOrDefault().Document);
    }

    private static WalBaseInfo ToInfo(Snapshot snapshot, PostgresDocument document) =>
        new(snapshot.Id.ToString(), document.Timeline, document.WalStartLsn, document.WalEndLsn, document.Stopped) { HasLog = document.Wal.Count > 0 };

    private async Task<Snapshot> FindBaseAsync(string named, string server, CancellationToken cancellationToken)
    {
        Snapshot chosen = await FindAsync(named, new SnapshotQuery { Kind = PostgresKind }, cancellationToken).ConfigureAwait(false);
        return chosen.Partial || !IsBaseOf(chosen, server)
            ? throw new BackupIQException(
                ErrorCodes.RecoveryTarget, $"Snapshot {chosen.ShortId} is {(chosen.Partial ? "what an interrupted backup had stored" : $"no backup of the server '{server}'")}; nothing was written", "Choose another with --base.")
            : chosen;
    }
}
