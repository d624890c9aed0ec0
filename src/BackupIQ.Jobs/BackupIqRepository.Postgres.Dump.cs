using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Dump;

namespace BackupIQ.Jobs;

/// <content>Logical dumps of PostgreSQL's databases.</content>
public sealed partial class BackupIqRepository
{
    private const string PostgresDumpKind = "postgres-dump";

    /// <summary>
    /// Dumps databases of a PostgreSQL server, each as it was at one moment. The snapshot exists whole when this returns, or not at all. What <c>pg_dump</c> warns of is told to
    /// <paramref name="monitor"/>.
    /// </summary>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing was committed, and what was stored is reused by the next run.</exception>
    /// <exception cref="BackupIQException">
    /// <c>SourceServer</c>: the server cannot be reached, or <c>pg_dump</c> failed. <c>Authorization</c>: the role may not. <c>MissingLibrary</c>: there is no <c>pg_dump</c> that fits.
    /// <c>SourceNotFound</c>: there is no such database. <c>Resource</c>: there is no room for what lies on the disk meanwhile. Or the repository failed. Nothing was committed.
    /// </exception>
    public async Task<PostgresDumpOutcome> DumpPostgresAsync(PostgresDumpRequest request, BackupMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new BackupMonitor();
        DateTimeOffset began = _time.GetUtcNow();
        int jobs = request.JobsOr(_options.Jobs);
        BackupOptions options = request.ToBackup(jobs).ToOptions(_options, "backupiq " + Version);
        BackupRunner runner = new(_repository, _time, _options.CacheFolder);
        PostgresDumpJob job = new(request, jobs, monitor, _time);
        (BackupResult result, PostgresDumpDocument document) = await job
            .RunAsync((source, stop) => runner.RunAsync(source, options, monitor.Progress, stop), cancellationToken).ConfigureAwait(false);
        Tell(result.Damage);
        return new PostgresDumpOutcome(ToOutcome(result, began), PostgresDumpInfo.From(document));
    }

    /// <summary>
    /// Loads a database, or a part of it, from a dump into a new database. It is whole when this returns, and not there when this throws; a database that exists is never touched.
    /// </summary>
    /// <param name="request">What, and where to.</param>
    /// <param name="monitor">Counts the files of the dump that were read from the repository.</param>
    /// <param name="onNotice">Hears what <c>pg_restore</c> warns of, on any thread.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException">
    /// <c>RestoreTarget</c>: the database is there. <c>SnapshotNotFound</c>, <c>PathNotFound</c>: there is no such dump, database, table or schema. <c>Restore</c>: something could not be
    /// made in the new database; the message names it. <c>SourceServer</c>, <c>Authorization</c>: the server. <c>MissingLibrary</c>: there is no <c>pg_restore</c> that fits. Or the repository failed.
    /// </exception>
    public async Task<PostgresLoadOutcome> LoadPostgresAsync(
        PostgresLoadRequest request, RestoreMonitor? monitor = null, Action<string>? onNotice = null, CancellationToken cancellationToken = default)
    {
        monitor ??= new RestoreMonitor();
        long began = _time.GetTimestamp();
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        (Snapshot snapshot, PostgresDumpDocument document, PostgresDumpedDatabase dumped) = await FindDumpAsync(request, cancellationToken).ConfigureAwait(false);
        using Secret? password = request.Target.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, _time, cancellationToken).ConfigureAwait(false) : null;
        string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
        await using ServerChoice server = await ServerChoice.OpenAsync(PostgresDsn.Parse(request.Target.Dsn), plain, PostgresStandby.No, cancellationToken).ConfigureAwait(false);
        DatabaseLoad load = new(server.Session, server.Dsn, plain, request.TargetDatabase, dumped);
        await load.RequireFreeAsync(cancellationToken).ConfigureAwait(false);
        PostgresPrograms programs = PostgresPrograms.Find("pg_restore", request.Programs, document.DumpMajor);

        // All that can be wrong with the dump is known before the server is asked for anything.
        using WorkFolder work = WorkFolder.Create(request.WorkFolder ?? Path.GetTempPath());
        string folder = work.Make("dump");
        IndexLoad loaded = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = loaded.Index;
        Tell(loaded.Findings);
        RestoreRequest files = new()
        {
            Snapshot = snapshot.Id.ToString(),
            Path = Encoding.UTF8.GetBytes($"/{document.Server}/dump/{dumped.Folder}"),
            Target = Encoding.UTF8.GetBytes(folder),
        };
        await RestoreDumpAsync(snapshot, index, files with { Includes = ["toc.dat"u8.ToArray()] }, monitor, cancellationToken).ConfigureAwait(false);
        DumpContent content = DatabaseLoad.Look(folder, request.Tables, request.Schemas);
        RestoreRequest rest = content.Files is { } some
            ? files with { Includes = [.. some.SelectMany(static name => name.StartsWith("blobs", StringComparison.Ordinal) ? (string[])[name, "blob_*.dat"] : [name]).Select(Encoding.UTF8.GetBytes)] }
            : files with { Excludes = ["toc.dat"u8.ToArray()] };
        long bytes = 0;
        if (content.Files is not { Count: 0 })
        {
            using (LinuxRestoreTarget target = new(rest.Target))
            {
                RestoreResult plan = await RestoreRunner
                    .RunAsync(_repository, index, snapshot, rest.Path, target, (rest with { DryRun = true }).ToOptions(_options), new RestoreProgress(), cancellationToken).ConfigureAwait(false);
                work.Require(plan.TotalBytes, "What is loaded");
            }

            bytes = await RestoreDumpAsync(snapshot, index, rest, monitor, cancellationToken).ConfigureAwait(false);
        }

        IReadOnlyList<string> missing = request.WithoutOwners
            ? []
            : await load.FindMissingAsync(content.Roles.Append(dumped.Owner).Distinct(StringComparer.Ordinal), cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> created = [];
        if (request.CreateRoles)
        {
            await load.CreateRolesAsync(missing, cancellationToken).ConfigureAwait(false);
            (created, missing) = (missing, []);
        }

        int jobs = request.Jobs > 0 ? request.Jobs : _options.Jobs > 0 ? _options.Jobs : Environment.ProcessorCount;
        await load.RunAsync(folder, content, programs, jobs, request.WithoutOwners || missing.Count > 0, request.KeepFailed, onNotice, cancellationToken).ConfigureAwait(false);
        return new PostgresLoadOutcome(
            SnapshotInfo.From(snapshot), PostgresDumpInfo.From(document), dumped.Name, content.Tables, bytes, _time.GetElapsedTime(began), missing, created, content.LeftOut);
    }

    // A dump that lacks a file is none.
    private async Task<long> RestoreDumpAsync(Snapshot snapshot, ChunkIndex index, RestoreRequest files, RestoreMonitor monitor, CancellationToken cancellationToken)
    {
        RestoreOptions options = files.ToOptions(_options);
        await RecallAsync(files, options, snapshot, index, monitor, cancellationToken).ConfigureAwait(false);
        using LinuxRestoreTarget target = new(files.Target);
        RestoreResult result = await RestoreRunner.RunAsync(_repository, index, snapshot, files.Path, target, options, monitor.Progress, cancellationToken).ConfigureAwait(false);
        return result.Errors is [var first, ..]
            ? throw new BackupIQException(result.DamageFound ? ErrorCodes.DamageFound : first.Code, $"A file of the dump cannot be read, so nothing was loaded: {first.Message}").With("path", first.PathText)
            : result.BytesRestored;
    }

    private async Task<(Snapshot Snapshot, PostgresDumpDocument Document, PostgresDumpedDatabase Database)> FindDumpAsync(PostgresLoadRequest request, CancellationToken cancellationToken)
    {
        SnapshotStore store = Snapshots();
        IReadOnlyList<Snapshot> all = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        Tell(store.Damaged);
        Snapshot[] ofServer = [.. all.Where(snapshot => snapshot.Kind == PostgresDumpKind && !snapshot.Partial && snapshot.Paths.Any(path => path == "/" + request.Dump || path.StartsWith($"/{request.Dump}/", StringComparison.Ordinal)))];
        if (ofServer.Length == 0)
        {
            Snapshot named = await FindAsync(request.Dump, new SnapshotQuery { Kind = PostgresDumpKind }, cancellationToken).ConfigureAwait(false);
            ofServer = named is { Kind: PostgresDumpKind, Partial: false } ? [named] : throw new BackupIQException(ErrorCodes.WrongServer, $"Snapshot {named.ShortId} is no whole dump of PostgreSQL", "'backupiq snapshots' lists what there is.");
        }

        // The newest that has it.
        List<string> known = [];
        foreach (Snapshot snapshot in ofServer.Reverse())
        {
            PostgresDumpDocument document = PostgresDumpDocument.Read(snapshot.Db);
            if (request.Database is null && document.Databases.Count != 1)
            {
                throw new BackupIQException(ErrorCodes.Usage, $"The dump {snapshot.ShortId} has {document.Databases.Count} databases: {string.Join(", ", document.Databases.Select(static one => one.Name))}", "Name one with --db.");
            }

            if (document.Databases.FirstOrDefault(one => request.Database is null || one.Name == request.Database) is { } database)
            {
                return (snapshot, document, database);
            }

            known.AddRange(document.Databases.Select(static one => one.Name));
        }

        throw new BackupIQException(
            ErrorCodes.PathNotFound, $"There is no dump of a database '{request.Database}'", Suggestion.Nearest(request.Database!, known.Distinct()) is { } near ? $"Did you mean '{near}'?" : "'backupiq ls SNAP' shows what a dump has.");
    }
}
