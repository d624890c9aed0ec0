using System.Text;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>A snapshot and what proves it.</summary>
internal sealed class SnapshotProof(Snapshot snapshot, ProofPipeline pipeline)
{
    /// <summary>Looks everything up.</summary>
    public async Task<Seen> LocateAsync(Action<byte[], Node>? onEntry, CancellationToken cancellationToken)
    {
        long before = pipeline.FindingCount;
        ProofCounts counts = await pipeline.LocateAsync(snapshot, onEntry, cancellationToken).ConfigureAwait(false);
        return Outcome(before, $"{Seen.Count(counts.Entries, "entry", "entries")}, {Seen.Count(counts.Bytes, "byte")} in {Seen.Count(counts.Packs, "pack")}: all chunks are indexed, all packs there in their sizes");
    }

    /// <summary>Reads everything.</summary>
    public async Task<Seen> ReadAsync(Func<byte[], Node, ContentListener?>? listen, VerifyMonitor monitor, CancellationToken cancellationToken)
    {
        long before = pipeline.FindingCount;
        long total = snapshot.Summary?.TotalBytesProcessed ?? 0;
        long read = pipeline.BytesRead;
        monitor.Follow(() => (pipeline.BytesRead - read, total));
        ProofCounts counts = await pipeline.ReadAsync(snapshot, listen, cancellationToken).ConfigureAwait(false);
        return Outcome(before, $"{Seen.Count(counts.Bytes, "byte")} of {Seen.Count(counts.Entries, "entry", "entries")} were read; all are what was backed up");
    }

    /// <summary>Reads one file; what is wrong with it, or null.</summary>
    public async Task<string?> ReadFileAsync(byte[] path, ContentListener listener, CancellationToken cancellationToken)
    {
        int before = pipeline.Findings.Count;
        return await pipeline.ReadFileAsync(snapshot, path, listener, cancellationToken).ConfigureAwait(false)
            ? null
            : pipeline.Findings.Skip(before).Select(Sentence).FirstOrDefault() ?? $"{Encoding.UTF8.GetString(path)} cannot be read.";
    }

    private Seen Outcome(long before, string good)
    {
        long found = pipeline.FindingCount - before;
        return found == 0 ? Seen.Passed(good) : Seen.Failed($"{Seen.Count(found, "path is", "paths are")} damaged", pipeline.Findings.Skip((int)Math.Min(before, int.MaxValue)).Select(Sentence));
    }

    private static string Sentence(ProofFinding finding) => $"{Encoding.UTF8.GetString(finding.Path)}: {finding.Problem}";
}
