using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Sources.Files;

/// <summary>Expands the wildcard patterns of <c>--files-from</c> to the paths that exist, as restic does.</summary>
public static class PathGlob
{
    /// <summary>
    /// The existing paths that match, sorted; none when nothing does. A name's wildcards match names that begin with a dot as well;
    /// <c>**</c> means no more than <c>*</c>.
    /// </summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: the pattern is malformed.</exception>
    public static IReadOnlyList<byte[]> Expand(ReadOnlySpan<byte> pattern)
    {
        if (!HasWildcard(pattern))
        {
            return Syscalls.Stat(AtFlags.WorkingFolder, pattern, out _) == 0 ? [pattern.ToArray()] : [];
        }

        int slash = pattern.LastIndexOf((byte)'/');
        ReadOnlySpan<byte> folder = slash < 0 ? "."u8 : slash == 0 ? "/"u8 : pattern[..slash];
        NamePattern names = NamePattern.Parse(pattern[(slash + 1)..]) ?? throw Malformed(pattern);
        IReadOnlyList<byte[]> folders = HasWildcard(folder) ? Expand(folder) : [folder.ToArray()];
        List<byte[]> paths = [];
        using OpenFolders open = new();
        DirectoryListing listing = new();
        byte[] buffer = DirectoryListing.NewKernelBuffer();
        foreach (byte[] path in folders)
        {
            // What cannot be listed matches nothing.
            if (open.OpenTop(path, out DirectoryHandle? handle) < 0)
            {
                continue;
            }

            using FolderLease lease = open.Lease(handle!);
            if (listing.Read(lease.Descriptor, buffer) < 0)
            {
                continue;
            }

            for (int i = 0; i < listing.Count; i++)
            {
                if (names.Matches(listing[i]))
                {
                    paths.Add(BytePath.Clean([.. path, (byte)'/', .. listing[i]]));
                }
            }
        }

        return paths;
    }

    private static bool HasWildcard(ReadOnlySpan<byte> pattern) => pattern.IndexOfAny("*?[\\"u8) >= 0;

    private static BackupIQException Malformed(ReadOnlySpan<byte> pattern) => new(
        ErrorCodes.Usage,
        $"--files-from: the pattern '{System.Text.Encoding.UTF8.GetString(pattern)}' is malformed",
        "Use --files-from-verbatim for paths that are no patterns.");
}
