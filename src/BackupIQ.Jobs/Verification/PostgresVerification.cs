using System.Globalization;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Restore;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>
/// Backups of PostgreSQL servers. Quick: files, WAL list, label and document agree. Standard: pages, records of the WAL and <c>pg_control</c> as well. Comprehensive: a
/// real restore into a private instance that recovers, and is then compared with what the backup recorded.
/// </summary>
internal sealed class PostgresVerification(BackupIqRepository repository, Snapshot snapshot, VerifyRequest request, TimeProvider time) : ISnapshotVerification
{
    private readonly PostgresDocument? _document = TryRead(snapshot);
    private StoredBackup? _stored;

    private bool IsInArchive => _document!.WalSource == PostgresDocument.InArchive;

    private WalArchive Archive => repository.OpenWal(_document!.Server);

    private StoredBackup Stored => _stored ??= new StoredBackup(_document!);

    /// <inheritdoc/>
    public async Task QuickAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken)
    {
        if (!await run.CheckAsync("document", "what the snapshot says of the server", ReadDocument).ConfigureAwait(false))
        {
            return;
        }

        await run.CheckAsync("presence", "all is there", () => proof.LocateAsync(See, cancellationToken)).ConfigureAwait(false);
        List<string> unreadable = [];
        foreach (byte[] text in Stored.Texts)
        {
            if (await proof.ReadFileAsync(text, Stored.TextOf(text), cancellationToken).ConfigureAwait(false) is { } problem)
            {
                unreadable.Add(problem);
            }
        }

        await run.CheckAsync("wal_list", "WAL without a hole", () => ListAsync(cancellationToken)).ConfigureAwait(false);
        await run.CheckAsync("label", "backup_label and document", () => Seen.Of([.. unreadable, .. Stored.LabelProblems()], $"begins at {_document!.WalStartLsn} on timeline {_document.Timeline}; they agree")).ConfigureAwait(false);
        if (_document!.Timeline > 1)
        {
            await run.CheckAsync("history", "where the timeline comes from", () => Seen.Of(Stored.HistoryProblems(), $"the history of timeline {_document.Timeline} is there")).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async Task StandardAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken)
    {
        // Of a snapshot that does not say what it is of nothing more can be told.
        if (_document is null || _stored is null)
        {
            return;
        }

        await run.CheckAsync("chunks", "all content", () => proof.ReadAsync((path, _) => Stored.PagesOf(path), run.Monitor, cancellationToken)).ConfigureAwait(false);
        StoredLog log = Stored.OpenLog();
        await run.CheckAsync("wal_records", "records of the WAL", () => WalkAsync(proof, log, cancellationToken)).ConfigureAwait(false);
        await run.CheckAsync("pages", "pages of relations", LookAtPages).ConfigureAwait(false);
        await run.CheckAsync(
            "control",
            "pg_control",
            async () => await proof.ReadFileAsync(Stored.Control, Stored.TextOf(Stored.Control), cancellationToken).ConfigureAwait(false) is { } problem
                ? Seen.Failed(problem)
                : Seen.Of(Stored.ControlProblems(), $"its checksum holds; it is of system {_document.SystemIdentifier}, timeline {_document.Timeline}")).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async Task ComprehensiveAsync(VerificationRun run, CancellationToken cancellationToken)
    {
        // Of a snapshot that does not say what it is of nothing more can be told.
        if (_document is null || _stored is null)
        {
            return;
        }

        await using VerificationFolder folder = await VerificationFolder.MakeAsync(request.Work ?? Path.GetTempPath(), time, cancellationToken).ConfigureAwait(false);
        WorkSpace.Require(folder, snapshot);
        folder.GiveTo(_document.OwnerUserId, _document.OwnerGroupId);
        PrivateInstance instance = new(folder.Data, _document, request.Programs, time);

        // Before hours go into a restore that nothing here can start.
        _ = instance.Has("postgres");
        if (await run.CheckAsync("restore", "restored", () => RestoreAsync(folder, run, cancellationToken)).ConfigureAwait(false))
        {
            ServerReached? reached = null;
            if (await run.CheckAsync("recovery", "recovered", async () => Recovered(reached = await StartAsync(instance, run, cancellationToken).ConfigureAwait(false), run)).ConfigureAwait(false))
            {
                folder.Take(reached!.Sockets);
                await LookAsync(instance, reached.Sockets, run, cancellationToken).ConfigureAwait(false);
                await run.CheckAsync("checksums", "pages after recovery (pg_checksums)", () => ChecksumsAsync(instance, folder, cancellationToken)).ConfigureAwait(false);
            }
        }

        await WorkSpace.RemoveAsync(folder, run).ConfigureAwait(false);
    }

    private static PostgresDocument? TryRead(Snapshot snapshot)
    {
        try
        {
            return PostgresDocument.Read(snapshot.Db);
        }
        catch (BackupIQException)
        {
            return null;
        }
    }

    private Seen ReadDocument()
    {
        // Both throw what is wrong.
        PostgresDocument document = PostgresDocument.Read(snapshot.Db);
        _ = Stored;
        return Seen.Passed($"PostgreSQL {document.ServerVersion}, system {document.SystemIdentifier}, timeline {document.Timeline}, {Seen.Count(document.Databases.Count, "database")}");
    }

    private void See(byte[] path, Node node)
    {
        if (node.Metadata.Type == NodeType.File)
        {
            Stored.See(path, (long)node.Metadata.Size);
        }
    }

    private async Task<Seen> ListAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<string> problems = IsInArchive
            ? [.. (await Archive.FindMissingAsync([.. Stored.Segments.Select(WalArchive.ParseName)], cancellationToken).ConfigureAwait(false)).Select(static missing => $"{missing} is missing in the archive.")]
            : Stored.LogProblems();
        return Seen.Of(problems, $"{Seen.Count(Stored.Segments.Count, "segment")} from {_document!.WalStartLsn} to {_document.WalEndLsn}{(IsInArchive ? ", in the archive" : "")}");
    }

    private async Task<Seen> WalkAsync(SnapshotProof proof, StoredLog log, CancellationToken cancellationToken)
    {
        List<string> problems = [];
        foreach (string segment in Stored.Segments)
        {
            string? problem = IsInArchive
                ? await ReadArchivedAsync(segment, log.Segment(segment), cancellationToken).ConfigureAwait(false)
                : await proof.ReadFileAsync(Stored.PathOf(segment), log.Segment(segment), cancellationToken).ConfigureAwait(false);
            if (problem is not null)
            {
                problems.Add(problem);
                break;
            }
        }

        return Seen.Of([.. problems, .. log.Problems()], $"{Seen.Count(log.Records, "record")} from {_document!.WalStartLsn} to {_document.WalEndLsn}; their checksums hold, and each names the one before it");
    }

    private async Task<string?> ReadArchivedAsync(string segment, ContentListener listener, CancellationToken cancellationToken)
    {
        long offset = 0;
        try
        {
            bool isThere = await Archive.TryReadAsync(
                WalArchive.ParseName(segment),
                piece =>
                {
                    listener(offset, piece.Span);
                    offset += piece.Length;
                    return ValueTask.CompletedTask;
                },
                cancellationToken).ConfigureAwait(false);
            return isThere ? null : $"{segment} is missing in the archive.";
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return $"{segment} is damaged in the archive: {e.Message}";
        }
    }

    private Seen LookAtPages()
    {
        (IReadOnlyList<UnsoundPage> pages, long untold) = Stored.UnsoundPages();
        string how = _document!.Checksums ? "their checksums hold" : "their headers can be (the server keeps no checksums)";
        long mended = Stored.UnsoundCount - pages.Count;
        if (pages.Count == 0 && Stored.UnsoundCount <= 1000)
        {
            return Seen.Passed($"{Seen.Count(Stored.Pages, "page")}; {how}{(mended > 0 ? $", but for {mended} that were written while they were read: the WAL has them whole" : "")}");
        }

        string when = untold == 0 ? "on the server already when it was backed up" : untold == pages.Count ? "though they were not when they were backed up" : "some of them on the server already";
        return Seen.Failed($"{Math.Max(pages.Count, Stored.UnsoundCount - mended)} of {Seen.Count(Stored.Pages, "page")} {(pages.Count == 1 ? "is" : "are")} damaged, {when}", pages.Select(static page => $"{page.Path}: block {page.Block}"));
    }

    private async Task<Seen> RestoreAsync(VerificationFolder folder, VerificationRun run, CancellationToken cancellationToken)
    {
        List<string> failures = [];
        RestoreMonitor monitor = new(failure => failures.Add($"{PathText.Show(failure.Path)}: {failure.Message}"));
        run.Monitor.Follow(() => (monitor.BytesRestored, snapshot.Summary?.TotalBytesProcessed ?? 0));
        PostgresRestoreRequest restore = new()
        {
            Server = _document!.Server,
            Folder = folder.Data,
            Base = snapshot.Id.ToString(),

            // The end of the backup, whatever more of the log an archive has: that is the moment of which the backup recorded what was there.
            Immediate = true,
            TablespaceMap = _document.Tablespaces.ToDictionary(
                static one => one.Location, one => Path.Combine(folder.Folder, "tablespaces", one.Oid.ToString(CultureInfo.InvariantCulture)), StringComparer.Ordinal),
        };
        if (_document.Tablespaces.Count > 0)
        {
            folder.MakeShared("tablespaces", _document.OwnerUserId, _document.OwnerGroupId);
        }

        long began = time.GetTimestamp();
        PostgresRestoreOutcome outcome = await repository.RestorePostgresAsync(restore, monitor, cancellationToken).ConfigureAwait(false);
        run.RestoreDuration = time.GetElapsedTime(began);
        return outcome.Restore.ExitCode is 0 or 3
            ? Seen.Passed($"{Seen.Count(outcome.Restore.FilesRestored, "entry", "entries")} in {Seconds(run.RestoreDuration.Value)}")
            : Seen.Failed("not everything could be restored", failures);
    }

    private async Task<ServerReached> StartAsync(PrivateInstance instance, VerificationRun run, CancellationToken cancellationToken)
    {
        long began = time.GetTimestamp();
        ServerReached reached = await instance.StartAsync(cancellationToken).ConfigureAwait(false);
        run.RecoveryDuration = time.GetElapsedTime(began);
        return reached;
    }

    private Seen Recovered(ServerReached reached, VerificationRun run) => Seen.Passed(
        $"to {reached.Lsn ?? _document!.WalEndLsn} in {Seconds(run.RecoveryDuration!.Value)}, last transaction {reached.LastTransaction ?? "none"}, now on timeline {reached.Timeline}; restore and recovery took {Seconds(run.RestoreDuration!.Value + run.RecoveryDuration.Value)}");

    private async Task LookAsync(PrivateInstance instance, string sockets, VerificationRun run, CancellationToken cancellationToken)
    {
        RestoredDatabases databases = new(_document!, sockets);
        if (!await run.CheckAsync("databases", "databases", () => databases.ConnectAsync(request.Role, cancellationToken)).ConfigureAwait(false))
        {
            return;
        }

        (IReadOnlyList<UnsoundPage> pages, _) = Stored.UnsoundPages();
        if (pages.Count > 0)
        {
            await run.CheckAsync("damaged", "relations with damaged pages", async () => Seen.Failed(
                $"{Seen.Count(pages.Count, "page")} in {Seen.Count(pages.Select(static page => page.Path).Distinct(StringComparer.Ordinal).Count(), "file")}", await databases.NameAsync(pages, cancellationToken).ConfigureAwait(false))).ConfigureAwait(false);
        }

        await run.CheckAsync("schema", "tables, columns, indexes and constraints", () => databases.CompareSchemasAsync(cancellationToken)).ConfigureAwait(false);
        await run.CheckAsync("rows", "rows of tables", () => databases.CountRowsAsync(cancellationToken)).ConfigureAwait(false);
        int number = 0;
        foreach (string assertion in request.Assertions)
        {
            number++;
            await run.CheckAsync($"assertion_{number}", $"assertion {number}", () => databases.AssertAsync(assertion, cancellationToken)).ConfigureAwait(false);
        }

        await run.CheckAsync("amcheck", "tables and indexes agree (pg_amcheck)", () => AmcheckAsync(instance, sockets, databases.Role, cancellationToken)).ConfigureAwait(false);
    }

    private async Task<Seen> AmcheckAsync(PrivateInstance instance, string sockets, string role, CancellationToken cancellationToken)
    {
        if (!instance.Has("pg_amcheck"))
        {
            return Seen.Skipped("pg_amcheck is not installed here (PostgreSQL 14 and later have it, Debian in postgresql-NN)");
        }

        ProgramEnd end = await instance.RunAsync(
            "pg_amcheck", ["-h", sockets, "-p", "5432", "-U", role, "--maintenance-db=template1", "--all", "--install-missing", "--heapallindexed", "--no-strict-names", "-j", "2"], cancellationToken).ConfigureAwait(false);
        return end.Code switch
        {
            0 => Seen.Passed("every table and every B-tree index of every database"),
            2 => Seen.Failed("it found damage", end.Lines),
            _ when end.Lines.Any(static line => line.Contains("could not open extension control file", StringComparison.Ordinal) || line.Contains("is not available", StringComparison.Ordinal)) =>
                Seen.Skipped("the extension amcheck is not installed here (Debian: postgresql-contrib)"),
            _ => Seen.Failed($"it ended with exit status {end.Code}", end.Lines),
        };
    }

    private async Task<Seen> ChecksumsAsync(PrivateInstance instance, VerificationFolder folder, CancellationToken cancellationToken)
    {
        await instance.StopAsync(cancellationToken).ConfigureAwait(false);
        if (!_document!.Checksums)
        {
            return Seen.Skipped("the server keeps no checksums");
        }

        if (!instance.Has("pg_checksums"))
        {
            return Seen.Skipped("pg_checksums is not installed here");
        }

        ProgramEnd end = await instance.RunAsync("pg_checksums", ["-c", "-D", folder.Data], cancellationToken).ConfigureAwait(false);
        string[] bad = [.. end.Lines.Where(static line => line.Contains("checksum verification failed", StringComparison.Ordinal)).Select(line => line.Replace(folder.Data + "/", "", StringComparison.Ordinal))];
        return end.Code == 0 ? Seen.Passed(end.Lines.FirstOrDefault(static line => line.StartsWith("Blocks scanned", StringComparison.Ordinal)) ?? "they hold")
            : Seen.Failed($"{Math.Max(1, bad.Length)} of them {(bad.Length == 1 ? "does" : "do")} not hold", bad.Length > 0 ? bad : end.Lines);
    }

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.0 s", CultureInfo.InvariantCulture);
}
