using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Logs;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Jobs.Composition;

/// <summary>Names as a repository gives them, for who looks at a storage from outside.</summary>
internal static class RepositoryNames
{
    private static readonly (string Prefix, string Kind)[] Kinds =
    [
        (RepositoryLayout.DataPackPrefix, "data packs"),
        (RepositoryLayout.MetadataPackPrefix, "metadata packs"),
        (RepositoryLayout.IndexPrefix, "index"),
        (RepositoryLayout.SnapshotPrefix, "snapshots"),
        (RepositoryLayout.PartialSnapshotPrefix, "partial snapshots"),
        (RepositoryLayout.SessionPrefix, "sessions"),
        (RepositoryLayout.AnnotationPrefix, "annotations"),
        (RepositoryLayout.WithdrawalPrefix, "withdrawals"),
        (RepositoryLayout.MarkPrefix, "marks"),
        (RepositoryLayout.PlanPrefix, "plans"),
        (RepositoryLayout.ParityPrefix, "parity"),
        (RepositoryLayout.LedgerPrefix, "ledger"),
        (RepositoryLayout.ConfigurationPrefix, "configuration"),
        (RepositoryLayout.KeyPrefix, "keys"),
        (RepositoryLayout.LogPrefix, "logs"),
        (RepositoryLayout.FactsPrefix, "facts"),
    ];

    /// <summary>One name of each kind.</summary>
    public static IReadOnlyList<StorageKey> Samples
    {
        get
        {
            SessionId session = SessionId.New();
            PackId pack = new(UInt128.MaxValue / 3, 17);
            StorageKey data = RepositoryLayout.Pack(PackKind.Data, pack);
            return
            [
                RepositoryLayout.Configuration('a', 1), RepositoryLayout.KeySlot(session.ToString()), RepositoryLayout.KeyEpoch(1, 'b'),
                data, RepositoryLayout.Pack(PackKind.Metadata, pack), RepositoryLayout.Index(session, 0, 1),
                RepositoryLayout.SessionOpen(session), RepositoryLayout.SessionBeat(session, 17), RepositoryLayout.Snapshot(session),
                RepositoryLayout.Confirmation(session), RepositoryLayout.Partial(session, 2), RepositoryLayout.Annotation(session, session, isWithdrawal: false, 'a'),
                RepositoryLayout.Annotation(session, session, isWithdrawal: true, 'b'), RepositoryLayout.Plan("forget", session, 0), RepositoryLayout.Mark(pack),
                RepositoryLayout.Parity(data, 4), RepositoryLayout.Ledger(session, 3),
                RepositoryLayout.Log(new LogSeries(UInt128.MaxValue / 5), "00000001", "000000010000000a000000ff.00000028.backup"),
            ];
        }
    }

    /// <summary>What kind of object has such a name: <c>data packs</c>; <c>other</c> for what is none of a repository's.</summary>
    public static string KindOf(StorageKey key) =>
        Kinds.FirstOrDefault(kind => key.Value.StartsWith(kind.Prefix, StringComparison.Ordinal)).Kind ?? "other";
}
