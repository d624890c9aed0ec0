using System.Globalization;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>What a verification by restore asks of the folder that it works in.</summary>
internal static class WorkSpace
{
    /// <summary>Beside what is restored: what a server writes when it starts, and some air.</summary>
    private const long Beside = 256L << 20;

    /// <summary>Refuses to begin what would fill the disk.</summary>
    /// <exception cref="BackupIQException"><c>Resource</c>: there is not enough space.</exception>
    public static void Require(VerificationFolder folder, Snapshot snapshot)
    {
        long needed = (snapshot.Summary?.TotalBytesProcessed ?? 0) + Beside;
        if (folder.Free < needed)
        {
            throw new BackupIQException(
                ErrorCodes.Resource,
                string.Create(CultureInfo.InvariantCulture, $"The restore takes {needed >> 20} MiB, and there are {folder.Free >> 20} MiB free where it would be made; nothing was restored"),
                "Name a folder with more space: --work DIR.").With("path", folder.Folder);
        }
    }

    /// <summary>Removes it; that it cannot be is worth a warning.</summary>
    public static Task RemoveAsync(VerificationFolder folder, VerificationRun run) =>
        run.CheckAsync("cleanup", "nothing is left behind", async () => await folder.RemoveAsync().ConfigureAwait(false) is { } problem ? Seen.Warning(problem) : Seen.Passed("the folder is removed again"));
}
