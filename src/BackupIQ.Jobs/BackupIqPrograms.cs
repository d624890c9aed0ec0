using System.Runtime.CompilerServices;
using BackupIQ.Storage.Remote.Rclone;

namespace BackupIQ.Jobs;

/// <summary>Other programs through which storages are reached.</summary>
public static class BackupIqPrograms
{
    /// <summary>Whether the rclone that is installed has iCloud Drive, which Debian's does not; null where none is installed.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static async Task<bool?> KnowsICloudAsync(CancellationToken cancellationToken) =>
        RcloneProgram.Find() is { } program ? await program.HasBackendAsync("iclouddrive", cancellationToken).ConfigureAwait(false) : null;
}
