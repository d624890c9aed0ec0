using System.Globalization;
using System.Text;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Jobs.Postgres.Recovery;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs;

/// <content>How PostgreSQL servers are brought back to a moment.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// How a server would be brought back: from which backup, along which log, to which place. All of that log was read when this returns. Nothing is written.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>RecoveryTarget</c>: what is stored does not reach the target; what is missing is said, and the nearest moment that can be reached. <c>SnapshotNotFound</c>:
    /// there is no backup of that server. <c>Usage</c>: what is asked for cannot be. Or the repository failed.
    /// </exception>
    public async Task<PostgresRestorePlan> PlanPostgresRestoreAsync(PostgresRestoreRequest request, CancellationToken cancellationToken = default)
    {
        await using ReadingSession reading = await ReadAsync(SessionPurpose.Restore, cancellationToken).ConfigureAwait(false);
        using OwnLogReader own = new(this);
        return (await PlanAsync(request, own, cancellationToken).ConfigureAwait(false)).Show(request.Server);
    }

    private async Task<PlannedRestore> PlanAsync(PostgresRestoreRequest request, OwnLogReader own, CancellationToken cancellationToken)
    {
        IReadOnlyList<Snapshot> snapshots = request.Base is null
            ? [.. (await ListBasesAsync(request.Server, cancellationToken).ConfigureAwait(false)).Where(static one => !one.Partial)]
            : [await FindBaseAsync(request.Base, request.Server, cancellationToken).ConfigureAwait(false)];
        if (snapshots.Count == 0)
        {
            throw new BackupIQException(
                ErrorCodes.SnapshotNotFound, $"There is no backup of a PostgreSQL server '{request.Server}'", "'backupiq snapshots' lists what there is.");
        }

        // Backups of the cluster that was backed up last: another one may have had the name before.
        List<(Snapshot Snapshot, PostgresDocument Document)> known = [.. snapshots.Select(static one => (one, PostgresDocument.Read(one.Db)))];
        PostgresDocument newest = known[^1].Document;
        known.RemoveAll(one => one.Document.SystemIdentifier != newest.SystemIdentifier);
        List<string> notes = [];
        if (known.Count < snapshots.Count)
        {
            notes.Add("Backups of another cluster stand under the same name; they are reached with --base.");
        }

        PostgresTarget target = request.Target ?? (request.Immediate ? PostgresTarget.Immediate : PostgresTarget.Latest);
        (RecoveryAim aim, string? zone) = Aim(target, request.Exclusive, newest, notes);
        if (aim.Kind == PostgresTargetKind.Immediate)
        {
            known.RemoveRange(0, known.Count - 1);
        }

        own.Snapshots = known.ToDictionary(static one => one.Snapshot.Id.ToString(), static one => one.Snapshot, StringComparer.Ordinal);
        own.Server = request.Server;
        List<(RecoveryBase, IReadOnlyList<WalFileName>)> bases = [.. known.Select(static one => (ToBase(one.Snapshot, one.Document), OwnLog(one.Document)))];
        ulong system = ulong.Parse(newest.SystemIdentifier, NumberStyles.None, CultureInfo.InvariantCulture);
        bool isAlone = aim.Kind == PostgresTargetKind.Immediate && newest.Wal.Count > 0;
        RecoveryLog log = isAlone
            ? RecoveryLog.WithoutArchive(system, (uint)newest.WalSegmentSize, own.ReadAsync)
            : await RecoveryLog.OpenAsync(OpenWal(request.Server), system, (uint)newest.WalSegmentSize, own.ReadAsync, notes.Add, cancellationToken).ConfigureAwait(false);
        RecoveryPlan plan = await new RecoveryPlanner(log, bases, request.Base is not null, request.Action == "pause").PlanAsync(aim, request.Timeline, cancellationToken).ConfigureAwait(false);
        Snapshot chosen = own.Snapshots[plan.Base.Snapshot];
        return new PlannedRestore(chosen, PostgresDocument.Read(chosen.Db), plan with { Notes = [.. notes, .. plan.Notes] }, log, target, zone, request.Action);
    }

    private static (RecoveryAim Aim, string? Zone) Aim(PostgresTarget target, bool isExclusive, PostgresDocument document, List<string> notes)
    {
        if (isExclusive && target.Kind is PostgresTargetKind.Latest or PostgresTargetKind.Immediate or PostgresTargetKind.Name)
        {
            throw new BackupIQException(ErrorCodes.Usage, "Only a time, a place or a transaction can be left out of what is recovered", "Leave --exclusive out.");
        }

        RecoveryAim aim = new(target.Kind, isExclusive) { Place = target.Place, Transaction = target.Number, Name = target.Text };
        if (target.Kind != PostgresTargetKind.Time)
        {
            return (aim, null);
        }

        TimeZoneInfo zone = TimeZoneInfo.Local;
        if (target.Moment is null && (document.TimeZone is not { } name || !TimeZoneInfo.TryFindSystemTimeZoneById(name, out zone!)))
        {
            zone = TimeZoneInfo.Local;
            notes.Add($"The backup does not tell the server's time zone, or it is not known here: '{target.Text}' is read by this machine's, {zone.Id}.");
        }

        return (aim with { Microseconds = PostgresTime.Write(target.MomentIn(zone)) }, target.Moment is null ? zone.Id : null);
    }

    private static RecoveryBase ToBase(Snapshot snapshot, PostgresDocument document) => new(
        snapshot.Id.ToString(), (uint)document.Timeline, ReadPlace(document.WalStartLsn), ReadPlace(document.WalEndLsn), document.Started, document.Stopped)
    {
        IsStandby = document.Standby == true,
    };

    private static List<WalFileName> OwnLog(PostgresDocument document) =>
        [.. document.Wal.Select(static name => WalFileName.TryParse(name, out WalFileName file) ? file : throw new CorruptDataException($"The snapshot names {name} as a segment."))];

    private static Lsn ReadPlace(string text) => Lsn.TryParse(text, out Lsn place) ? place : throw new CorruptDataException($"The snapshot says {text} where a place in the log belongs.");

    /// <summary>Reads the segments that backups have themselves; loads the index when the first is wanted.</summary>
    private sealed class OwnLogReader(BackupIqRepository owner) : IDisposable
    {
        private ChunkIndex? _index;

        public IReadOnlyDictionary<string, Snapshot> Snapshots { get; set; } = new Dictionary<string, Snapshot>(StringComparer.Ordinal);

        public string Server { get; set; } = "";

        public async Task<ChunkIndex> IndexAsync(CancellationToken cancellationToken)
        {
            if (_index is null)
            {
                IndexLoad load = await IndexLoader.LoadAsync(owner._repository, owner._options.CacheFolder, cancellationToken).ConfigureAwait(false);
                _index = load.Index;
                owner.Tell(load.Findings);
            }

            return _index;
        }

        public async Task ReadAsync(RecoveryBase from, WalFileName name, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken)
        {
            ChunkIndex index = await IndexAsync(cancellationToken).ConfigureAwait(false);
            byte[] path = Encoding.UTF8.GetBytes($"/{Server}/tail/pg_wal/{name}");
            using PieceStream pieces = new(write);
            await DumpRunner.RunAsync(
                owner._repository, index, Snapshots[from.Snapshot], path, pieces, new DumpOptions { FilesOnly = true, Reading = owner._options.ToReading() }, new DumpProgress(), cancellationToken).ConfigureAwait(false);
            await pieces.EndAsync().ConfigureAwait(false);
        }

        public void Dispose() => _index?.Dispose();
    }
}
