using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Verification;

/// <summary>Tells how fresh the verification of a repository is, without checking anything.</summary>
public static class VerificationStatus
{
    /// <summary>Reads the ledger and the list of packs.</summary>
    public static async Task<VerificationState> ReadAsync(BackupRepository repository, TimeProvider time, CancellationToken cancellationToken)
    {
        VerificationLedger ledger = await VerificationLedger.LoadAsync(repository, time, cancellationToken);
        return Of(ledger, await PackListing.ReadAsync(repository, cancellationToken));
    }

    /// <summary>What a ledger says of packs that are there.</summary>
    internal static VerificationState Of(VerificationLedger ledger, IReadOnlyCollection<PackId> packs)
    {
        DateTimeOffset?[] verified = [.. packs.Select(pack => ledger.LastVerified(pack, VerifiedLevel.Chunks))];
        return new VerificationState
        {
            Packs = packs.Count,
            NeverVerified = verified.Count(static at => at is null),
            Oldest = verified.Min(),
            Interrupted = ledger.Interrupted,
        };
    }
}
