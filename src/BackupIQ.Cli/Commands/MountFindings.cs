using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary>What is to be known of a repository whose folder is not on a disk of this machine.</summary>
internal static class MountFindings
{
    /// <summary>The finding; null where the folder is on a disk, or the repository is none.</summary>
    public static Finding? Of(string url) => BackupIqStorage.MountAt(url) is not { } mount ? null : new Finding(
        FindingLevel.Note,
        "network mount",
        $"the repository lies on a network mount ({mount.Name}): listings are taken to lag {Words.Duration(mount.ListingLag)} unless --listing-lag says otherwise, and whether what was stored is on a disk is its server's word",
        "Where its server can be reached itself (sftp://, webdavs://, s3://), that is quicker and says more when it fails.");
}
