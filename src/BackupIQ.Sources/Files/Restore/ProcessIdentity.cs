using System.Runtime.InteropServices;

namespace BackupIQ.Sources.Files.Restore;

/// <summary>What files that this process makes belong to and which permissions they lose.</summary>
internal static partial class ProcessIdentity
{
    /// <summary>The group of new files.</summary>
    [LibraryImport("libc", EntryPoint = "getegid")]
    internal static partial uint Group();

    /// <summary>
    /// The umask. Asked of /proc, because umask(2) would change it for all threads; where it cannot be told, all bits, so that every
    /// file's mode is set explicitly.
    /// </summary>
    internal static uint FileModeMask()
    {
        try
        {
            foreach (string line in File.ReadLines("/proc/self/status"))
            {
                if (line.StartsWith("Umask:", StringComparison.Ordinal))
                {
                    return Convert.ToUInt32(line[6..].Trim(), 8);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return 0x1FF;
        }

        return 0x1FF;
    }
}
