using System.Buffers.Binary;
using System.Text;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>What a record can say that recovery goes by.</summary>
public enum WalEventKind
{
    /// <summary>Anything else.</summary>
    None = 0,
    Commit,
    Abort,
    RestorePoint,
    Checkpoint,
    EndOfRecovery,
    ParameterChange,
    Switch,

    /// <summary>The record before it was given up when the server crashed.</summary>
    GivenUp,
}

/// <summary>
/// What a record says. Transactions that were prepared are committed and aborted like others; their number is the prepared one's.
/// </summary>
/// <param name="Kind">What it is.</param>
/// <param name="Transaction">The transaction of a commit or abort; 0: it cannot be told.</param>
/// <param name="Microseconds">When, in microseconds since 2000, for commits, aborts, restore points and ends of recovery; see <see cref="PostgresTime"/>.</param>
/// <param name="Redo">Where recovery from a checkpoint begins; what was given up, for <see cref="WalEventKind.GivenUp"/>.</param>
/// <param name="Timeline">The timeline of a checkpoint or end of recovery.</param>
/// <param name="PreviousTimeline">The one before it, where the record begins a new one; else the same.</param>
public readonly record struct WalEvent(
    WalEventKind Kind, uint Transaction = 0, long Microseconds = 0, Lsn Redo = default, uint Timeline = 0, uint PreviousTimeline = 0)
{
    internal const byte Switch = 0x40;
    private const byte CheckpointShutdown = 0x00;
    private const byte CheckpointOnline = 0x10;
    private const byte ParameterChange = 0x60;
    private const byte RestorePoint = 0x70;
    private const byte EndOfRecovery = 0x90;
    private const byte OverwriteContrecord = 0xD0;

    private const int RestorePointName = 64;

    /// <summary>The moment that it names, or null.</summary>
    public DateTimeOffset? Time =>
        Kind is WalEventKind.Commit or WalEventKind.Abort or WalEventKind.RestorePoint or WalEventKind.EndOfRecovery ? PostgresTime.Read(Microseconds) : null;

    /// <summary>What <paramref name="record"/> says.</summary>
    public static WalEvent Of(in WalRecord record) => record.Manager switch
    {
        ResourceManagers.Log => OfLog(record),
        ResourceManagers.Transactions => OfTransaction(record),
        _ => default,
    };

    /// <summary>The name in the record of a restore point; null for other records.</summary>
    public static string? RestorePointNameOf(in WalRecord record)
    {
        ReadOnlySpan<byte> data = record.MainData;
        if (record.Manager != ResourceManagers.Log || (record.Info & 0xF0) != RestorePoint || data.Length < 8 + RestorePointName)
        {
            return null;
        }

        ReadOnlySpan<byte> name = data.Slice(8, RestorePointName);
        int end = name.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? name : name[..end]);
    }

    private static WalEvent OfLog(in WalRecord record)
    {
        switch (record.Info & 0xF0)
        {
            case Switch:
                return new WalEvent(WalEventKind.Switch);
            case ParameterChange:
                return new WalEvent(WalEventKind.ParameterChange);
        }

        ReadOnlySpan<byte> data = record.MainData;
        switch (record.Info & 0xF0)
        {
            case CheckpointShutdown or CheckpointOnline when data.Length >= 16:
                return new WalEvent(
                    WalEventKind.Checkpoint, Redo: new Lsn(U64(data)), Timeline: U32(data[8..]), PreviousTimeline: U32(data[12..]));
            case RestorePoint when data.Length >= 8 + RestorePointName:
                return new WalEvent(WalEventKind.RestorePoint, Microseconds: (long)U64(data));
            case EndOfRecovery when data.Length >= 16:
                return new WalEvent(WalEventKind.EndOfRecovery, Microseconds: (long)U64(data), Timeline: U32(data[8..]), PreviousTimeline: U32(data[12..]));
            case OverwriteContrecord when data.Length >= 8:
                return new WalEvent(WalEventKind.GivenUp, Redo: new Lsn(U64(data)));
            default:
                return default;
        }
    }

    private static WalEvent OfTransaction(in WalRecord record)
    {
        const byte commit = 0x00, abort = 0x20, commitPrepared = 0x30, abortPrepared = 0x40, operation = 0x70, hasInfo = 0x80;
        int kind = record.Info & operation;
        ReadOnlySpan<byte> data = record.MainData;
        if (kind is not (commit or abort or commitPrepared or abortPrepared) || data.Length < 8)
        {
            return default;
        }

        bool isCommit = kind is commit or commitPrepared;
        uint transaction = kind is commit or abort ? record.Transaction
            : (record.Info & hasInfo) != 0 ? PreparedTransaction(data[8..], isCommit, record.Version)
            : 0;
        return new WalEvent(isCommit ? WalEventKind.Commit : WalEventKind.Abort, transaction, (long)U64(data));
    }

    // The number of a prepared transaction stands behind lists whose presence the flags tell.
    private static uint PreparedTransaction(ReadOnlySpan<byte> rest, bool isCommit, int version)
    {
        const uint database = 1, subtransactions = 2, relations = 4, invalidations = 8, twoPhase = 16, statistics = 256;
        if (rest.Length < 4)
        {
            return 0;
        }

        uint flags = U32(rest);
        rest = rest[4..];
        bool isThere =
            (flags & twoPhase) != 0
            && ((flags & database) == 0 || Skip(ref rest, 8))
            && ((flags & subtransactions) == 0 || SkipList(ref rest, 4))
            && ((flags & relations) == 0 || SkipList(ref rest, 12))
            && ((flags & statistics) == 0 || version < 15 || SkipList(ref rest, version >= 18 ? 16 : 12))
            && (!isCommit || (flags & invalidations) == 0 || SkipList(ref rest, 16));
        return isThere && rest.Length >= 4 ? U32(rest) : 0;
    }

    private static bool Skip(ref ReadOnlySpan<byte> rest, long bytes)
    {
        if (bytes > rest.Length)
        {
            return false;
        }

        rest = rest[(int)bytes..];
        return true;
    }

    private static bool SkipList(ref ReadOnlySpan<byte> rest, int itemSize) => rest.Length >= 4 && Skip(ref rest, 4 + ((long)U32(rest) * itemSize));

    private static uint U32(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    private static ulong U64(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64LittleEndian(bytes);
}
