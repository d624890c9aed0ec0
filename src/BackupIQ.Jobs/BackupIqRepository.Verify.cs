using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Jobs.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Jobs;

/// <content>Verifying that a snapshot comes back.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Verifies one snapshot, of whatever kind, and notes the outcome beside it. That something is wrong is in the report and no exception. What is restored for that
    /// is gone when this returns, and no server runs any more.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>SnapshotNotFound</c>; <c>Usage</c>: assertions make no sense for it; <c>Resource</c>: too little space; <c>MissingLibrary</c>: PostgreSQL of its version is not
    /// installed; or the storage failed. Nothing is noted then.
    /// </exception>
    public async Task<VerifyReport> VerifyAsync(VerifyRequest request, VerifyMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        DateTimeOffset began = _time.GetUtcNow();
        long timestamp = _time.GetTimestamp();
        Snapshot snapshot = await FindAsync(request.Snapshot, null, cancellationToken).ConfigureAwait(false);
        RequireSense(request, snapshot);
        VerificationRun run = new(_time, monitor ?? new VerifyMonitor());
        ISnapshotVerification verification = snapshot.Kind == PostgresKind
            ? new PostgresVerification(this, snapshot, request, _time)
            : new FilesVerification(this, snapshot, request, _time);
        await ProveAsync(snapshot, verification, request.Level, run, cancellationToken).ConfigureAwait(false);
        if (request.Level == VerifyLevel.Comprehensive)
        {
            await verification.ComprehensiveAsync(run, cancellationToken).ConfigureAwait(false);
        }

        VerifyReport report = new()
        {
            Subject = $"snapshot {snapshot.ShortId} ({snapshot.Kind}, {string.Join(", ", snapshot.Paths)}, {snapshot.Time:u})",
            Level = request.Level,
            Started = began,
            Duration = _time.GetElapsedTime(timestamp),
            Checks = run.Checks,
            Snapshot = SnapshotInfo.From(snapshot),
            RestoreDuration = run.RestoreDuration,
            RecoveryDuration = run.RecoveryDuration,
        };
        return report with { NoteProblem = await NoteAsync(snapshot, report, cancellationToken).ConfigureAwait(false) };
    }

    // What the proof needs is given back before a restore takes its own.
    private async Task ProveAsync(Snapshot snapshot, ISnapshotVerification verification, VerifyLevel level, VerificationRun run, CancellationToken cancellationToken)
    {
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Check, cancellationToken).ConfigureAwait(false);
        IndexLoad load = await IndexLoader.LoadAsync(_repository, _options.CacheFolder, cancellationToken).ConfigureAwait(false);
        using ChunkIndex index = load.Index;
        Tell(load.Findings);
        using ProofPipeline pipeline = new(_repository, index, _options.ToReading());
        SnapshotProof proof = new(snapshot, pipeline);
        await verification.QuickAsync(proof, run, cancellationToken).ConfigureAwait(false);
        if (level >= VerifyLevel.Standard)
        {
            await verification.StandardAsync(proof, run, cancellationToken).ConfigureAwait(false);
        }
    }

    private static void RequireSense(VerifyRequest request, Snapshot snapshot)
    {
        foreach (string assertion in request.Assertions)
        {
            _ = PostgresAssertion.Parse(assertion);
        }

        if (snapshot.Kind == PostgresKind && snapshot.Partial)
        {
            throw new BackupIQException(ErrorCodes.Usage, $"Snapshot {snapshot.ShortId} is what an interrupted backup had stored, of which no server can be made", "Verify another one: 'backupiq snapshots' lists them.");
        }

        if (request.Assertions.Count > 0 && (snapshot.Kind != PostgresKind || request.Level != VerifyLevel.Comprehensive))
        {
            throw new BackupIQException(
                ErrorCodes.Usage,
                snapshot.Kind != PostgresKind ? $"Assertions are asked of a restored database, and snapshot {snapshot.ShortId} is of kind {snapshot.Kind}" : "Assertions are asked of a restored database, so they need --level comprehensive");
        }
    }

    // A storage that takes nothing now keeps nobody from knowing what was found.
    private async Task<string?> NoteAsync(Snapshot snapshot, VerifyReport report, CancellationToken cancellationToken)
    {
        int made = report.Checks.Count(static check => check.Status != VerifyStatus.Skipped);
        string rto = report.Rto is { } time ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $"; recovered in {time.TotalSeconds:0.0} s") : "";
        string summary = $"{report.Checks.Count(static check => check.Status == VerifyStatus.Passed)} of {made} checks passed{rto}";
        string[] wrong = [.. report.Checks.Where(static check => check.Status is VerifyStatus.Failed or VerifyStatus.Warning).Select(static check => $"{check.Name}: {check.Detail}")];
        try
        {
            await Annotations
                .PutVerdictAsync(snapshot.Id, report.Level.ToString().ToLowerInvariant(), report.OverallStatus != VerifyStatus.Failed, string.Join("; ", [summary, .. wrong]), cancellationToken)
                .ConfigureAwait(false);
            return null;
        }
        catch (BackupIQException e)
        {
            return e.Message;
        }
    }
}
