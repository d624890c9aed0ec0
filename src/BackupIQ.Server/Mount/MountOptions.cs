namespace BackupIQ.Server.Mount;

/// <summary>How snapshots are mounted.</summary>
public sealed record MountOptions
{
    /// <summary>The folder on which they are seen. It must be there.</summary>
    public required string Folder { get; init; }

    /// <summary>
    /// Let other users in, each to what the permissions in the snapshots allow; whoever is not root needs <c>user_allow_other</c> in
    /// /etc/fuse.conf. Otherwise only who mounts may look, and may see everything.
    /// </summary>
    public bool AllowOther { get; init; }

    /// <summary>Requests that are answered at once. 0: two for each core, at least 4.</summary>
    public int Workers { get; init; }
}
