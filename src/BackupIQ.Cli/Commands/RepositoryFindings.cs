using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary>What <c>doctor</c> and <c>status</c> both say of a repository that is open.</summary>
internal static class RepositoryFindings
{
    // A quarter: longer than a disk that begins to fail is noticed by luck, short enough that older backups have what it lost.
    private static readonly TimeSpan VerifiedWithin = TimeSpan.FromDays(90);

    // Quarterly: who has copied a key reads what is written until it is changed.
    private static readonly TimeSpan KeysWithin = TimeSpan.FromDays(90);

    /// <summary>What the ledger says of how long ago the stored packs were read and verified.</summary>
    public static async Task<Finding> VerificationAsync(Invocation run, BackupIqRepository repository, CancellationToken cancellationToken)
    {
        VerificationInfo ledger = await repository.ReadVerificationAsync(cancellationToken).ConfigureAwait(false);
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        const string Cure = "'backupiq check --max-age 30d' reads what is due, with --budget 10m as much as there is time for.";
        if (ledger.Packs == 0)
        {
            return new Finding(FindingLevel.Good, "verification", "nothing is stored yet");
        }

        if (ledger.Oldest is not { } oldest)
        {
            return new Finding(FindingLevel.Note, "verification", "what is stored was never read and verified as a whole", Cure);
        }

        string never = ledger.NeverVerified > 0 ? $"{Words.Number(ledger.NeverVerified)} of {Words.Count(ledger.Packs, "pack")} were never read and verified; " : "";
        string others = $"{never}the oldest verification is {Words.Duration(now - oldest)} old";
        return now - oldest > VerifiedWithin || 2 * ledger.NeverVerified > ledger.Packs
            ? new Finding(FindingLevel.Note, "verification", others, Cure)
            : new Finding(FindingLevel.Good, "verification", others);
    }

    /// <summary>What verifications of snapshots found: of each that failed the last time, and of the newest that passed. Nothing where none was made.</summary>
    public static IEnumerable<Finding> Restores(IReadOnlyList<SnapshotInfo> snapshots, DateTimeOffset now)
    {
        SnapshotInfo[] verified = [.. snapshots.Where(static snapshot => snapshot.Verdicts.Count > 0)];
        foreach (SnapshotInfo failed in verified.Where(static snapshot => !snapshot.Verdicts[^1].Passed))
        {
            VerdictInfo verdict = failed.Verdicts[^1];
            yield return new Finding(
                FindingLevel.Warning, "restores", $"snapshot {failed.ShortId} failed its verification ({verdict.Level}) {Words.Duration(now - verdict.Time)} ago: {verdict.Summary}", $"'backupiq verify {failed.ShortId} --level {verdict.Level}' says more.");
        }

        if (verified.Where(static snapshot => snapshot.Verdicts[^1].Passed).MaxBy(static snapshot => snapshot.Verdicts[^1].Time) is { } proven)
        {
            VerdictInfo verdict = proven.Verdicts[^1];
            yield return new Finding(FindingLevel.Good, "restores", $"snapshot {proven.ShortId} was verified ({verdict.Level}) {Words.Duration(now - verdict.Time)} ago: {verdict.Summary}");
        }
    }

    /// <summary>What is to be said of slots, of the master key and of the key service's key, by their ages.</summary>
    public static async Task<IReadOnlyList<Finding>> KeysAsync(Invocation run, BackupIqRepository repository, CancellationToken cancellationToken)
    {
        List<Finding> findings = [];
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        IReadOnlyList<KeyInfo> keys = await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo[] old = [.. keys.Where(key => now - key.Created > KeysWithin)];
        findings.Add(old.Length == 0
            ? new Finding(FindingLevel.Good, "keys", $"{Words.Count(keys.Count, "key")}, none older than {KeysWithin.Days} days")
            : new Finding(
                FindingLevel.Note,
                "keys",
                $"older than {KeysWithin.Days} days: {string.Join(", ", old.Select(key => $"{key.Id[..8]} ({key.Type}, {key.Label}, {(now - key.Created).Days} days)"))}",
                "'backupiq key passwd' and 'backupiq key rotate' change them; print a new kit for an old one, then 'backupiq key remove'."));
        int newest = keys.Max(static key => key.Epoch) ?? 1;
        KeyInfo[] behind = [.. keys.Where(key => key.Epoch < newest)];
        if (behind.Length > 0)
        {
            findings.Add(new Finding(
                FindingLevel.Note,
                "keys",
                $"left behind by key epoch {newest}: {string.Join(", ", behind.Select(static key => $"{key.Id[..8]} ({key.Type}, {key.Label})"))}",
                "They read what is older and nothing else: add them again, or 'backupiq key remove'."));
        }

        if (await repository.ReadKeyEpochAgeAsync(cancellationToken).ConfigureAwait(false) is { } begun && now - begun > KeysWithin)
        {
            findings.Add(new Finding(
                FindingLevel.Note, "keys", $"the master key is {(now - begun).Days} days old", "'backupiq key rotate --new-epoch' begins with a new one; what is stored stays readable."));
        }

        if (run.Settings.Text("kms") is { } kms
            && await repository.ReadServiceKeyAsync(await run.Secrets.ForOpeningAsync(repository.Location, cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false) is { } key
            && key.Rotated is { } rotated && now - rotated > KeysWithin)
        {
            string how = BackupIqKeystore.LocalPath(kms) is null ? "Rotate it at its service" : "'backupiq keystore rotate' gives it a new version";
            findings.Add(new Finding(FindingLevel.Note, "keys", $"the key of {kms} is {(now - rotated).Days} days old", $"{how}, 'backupiq key rotate' wraps under that."));
        }

        return findings;
    }
}
