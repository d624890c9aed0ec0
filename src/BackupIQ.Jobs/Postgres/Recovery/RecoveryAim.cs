using System.Globalization;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>What a recovery is to stop at, with a time resolved to a moment.</summary>
internal sealed record RecoveryAim(PostgresTargetKind Kind, bool IsExclusive = false)
{
    /// <summary>For a time: microseconds since 2000.</summary>
    public long Microseconds { get; init; }

    public Lsn Place { get; init; }

    public uint Transaction { get; init; }

    public string Name { get; init; } = "";

    /// <summary>Whether the server would stop at a record: before it, or right behind it; null: at neither.</summary>
    public bool? StopsBefore(in WalRecord record)
    {
        switch (Kind)
        {
            case PostgresTargetKind.Lsn:
                return record.Start >= Place ? IsExclusive : null;
            case PostgresTargetKind.Name:
                return WalEvent.RestorePointNameOf(record) == Name ? false : null;
            case PostgresTargetKind.Time or PostgresTargetKind.Transaction when WalEvent.Of(record) is { Kind: WalEventKind.Commit or WalEventKind.Abort } said:
                return Kind == PostgresTargetKind.Transaction ? (said.Transaction == Transaction ? IsExclusive : null)
                    : said.Microseconds > Microseconds || (IsExclusive && said.Microseconds == Microseconds) ? true
                    : null;
            default:
                return null;
        }
    }

    /// <summary>As half a sentence.</summary>
    public override string ToString() => Kind switch
    {
        PostgresTargetKind.Latest => "the end of the log",
        PostgresTargetKind.Immediate => "the end of the backup",
        PostgresTargetKind.Time => Show(Microseconds),
        PostgresTargetKind.Lsn => $"{Place}",
        PostgresTargetKind.Transaction => $"transaction {Transaction.ToString(CultureInfo.InvariantCulture)}",
        _ => $"restore point '{Name}'",
    };

    /// <summary>A moment of a log as text.</summary>
    public static string Show(long microseconds) =>
        PostgresTime.Read(microseconds) is { } time ? time.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture) : "a moment that no calendar has";
}

/// <summary>The end of a transaction that a plan tells of.</summary>
internal sealed record RecoveryTransaction(bool IsCommit, uint Transaction, long Microseconds, Lsn Start, Lsn End);

/// <summary>Where a recovery stops.</summary>
/// <param name="At">The record that the server stops at.</param>
/// <param name="IsBefore">Before it; else right behind it.</param>
/// <param name="End">Where what was replayed ends.</param>
internal readonly record struct RecoveryStop(Lsn At, bool IsBefore, Lsn End);

/// <summary>What a recovery had seen at some record.</summary>
/// <param name="Last">The last record that was replayed, and where it ends.</param>
/// <param name="End">See <paramref name="Last"/>.</param>
/// <param name="LastTransaction">The last commit or abort among them.</param>
/// <param name="LastCommit">The last commit among them.</param>
internal readonly record struct RecoveryState(Lsn Last, Lsn End, RecoveryTransaction? LastTransaction, RecoveryTransaction? LastCommit);

/// <summary>
/// Follows a recovery record by record and tells where the server will stop, by the rules by which it does (recoveryStopsBefore and recoveryStopsAfter of its
/// source). Pure.
/// </summary>
/// <param name="aim">What it stops at.</param>
/// <param name="from">Where recovery begins: records before it are not replayed.</param>
internal sealed class RecoveryWalk(RecoveryAim aim, Lsn from)
{
    /// <summary>What was replayed so far; from <see cref="Stop"/> on that does not change.</summary>
    public RecoveryState State { get; private set; }

    /// <summary>Where it stops; null: nowhere so far.</summary>
    public RecoveryStop? Stop { get; private set; }

    /// <summary>The first commit that is not replayed any more; null: none so far.</summary>
    public RecoveryTransaction? FirstAfter { get; private set; }

    /// <summary>The next record.</summary>
    public void Note(in WalRecord record)
    {
        if (record.Start < from)
        {
            return;
        }

        bool isReplayed = Stop is null;
        if (isReplayed && aim.StopsBefore(record) is { } isBefore)
        {
            Stop = new RecoveryStop(record.Start, isBefore, isBefore ? record.Start : record.End);
            isReplayed = !isBefore;
        }

        WalEvent said = WalEvent.Of(record);
        RecoveryTransaction? ended = said.Kind is WalEventKind.Commit or WalEventKind.Abort
            ? new RecoveryTransaction(said.Kind == WalEventKind.Commit, said.Transaction, said.Microseconds, record.Start, record.End)
            : null;
        if (isReplayed)
        {
            State = new RecoveryState(record.Start, record.End, ended ?? State.LastTransaction, ended is { IsCommit: true } ? ended : State.LastCommit);
        }
        else if (ended is { IsCommit: true })
        {
            FirstAfter ??= ended;
        }
    }

    /// <summary>
    /// Stops behind the last transaction in place of before the next one: what was begun in between and not committed is not replayed either, which changes
    /// nothing that can be seen, but may hold locks where the server pauses.
    /// </summary>
    public void StopEarlier()
    {
        if (Stop is { IsBefore: true } && State.LastTransaction is { } last)
        {
            Stop = new RecoveryStop(last.Start, IsBefore: false, last.End);
            State = State with { Last = last.Start, End = last.End };
        }
    }

    /// <summary>The end of the way is where it stops: behind the last record.</summary>
    public void StopAtEnd() => Stop ??= new RecoveryStop(State.Last, IsBefore: false, State.End);
}
