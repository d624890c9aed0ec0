using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Local;

/// <summary>A folder that is not on a disk of this machine, though it looks like one.</summary>
/// <param name="FileSystem">Its kind as the system calls it: <c>nfs4</c>, <c>cifs</c>, <c>fuse.sshfs</c>; empty where that cannot be told.</param>
/// <param name="Source">What is mounted: <c>server:/export</c>; empty where that cannot be told.</param>
/// <param name="ListingLag">How long listings are taken to miss what others put.</param>
public sealed record NetworkMount(string FileSystem, string Source, TimeSpan ListingLag)
{
    /// <summary>Kind and source, for people.</summary>
    public override string ToString() => (FileSystem.Length == 0 ? "a network file system" : FileSystem) + (Source.Length == 0 ? "" : " " + Source);

    /// <summary>What the folder is mounted from; null: a disk of this machine, or it is not there.</summary>
    public static NetworkMount? At(string folder)
    {
        FileSystemKind kind = FileSystemKinds.Of(Libc.FileSystemType(folder));
        if (kind == FileSystemKind.Local)
        {
            return null;
        }

        (string type, string source) = Describe(folder);

        // A file system in a program's hands whose data is a block device of this machine, as NTFS has it.
        return type == "fuseblk" ? null : new NetworkMount(type, source, FileSystemKinds.ListingLag(kind));
    }

    /// <summary>Kind and source of a mount in the text of <c>/proc/self/mountinfo</c> (proc(5)); both empty where it is not there.</summary>
    internal static (string Type, string Source) Find(string mounts, int id)
    {
        string begin = id.ToString(CultureInfo.InvariantCulture) + " ";
        foreach (string line in mounts.Split('\n'))
        {
            // Fields before " - " differ in number; spaces within one are \040.
            int rest = line.IndexOf(" - ", StringComparison.Ordinal);
            if (rest > 0 && line.StartsWith(begin, StringComparison.Ordinal) && line[(rest + 3)..].Split(' ') is [var type, var source, ..])
            {
                return (type, source.Replace("\\040", " ", StringComparison.Ordinal));
            }
        }

        return ("", "");
    }

    // By the mount's own number, so that no symlink and no other mount below the path is in the way.
    private static (string Type, string Source) Describe(string folder)
    {
        if (Libc.Open(folder, Libc.ReadOnly, out SafeFileHandle? handle) != 0)
        {
            return ("", "");
        }

        using (handle)
        {
            try
            {
                const string Field = "mnt_id:";
                string? number = File.ReadLines($"/proc/self/fdinfo/{handle!.DangerousGetHandle()}").FirstOrDefault(static line => line.StartsWith(Field, StringComparison.Ordinal));
                return int.TryParse(number?[Field.Length..].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int id)
                    ? Find(File.ReadAllText("/proc/self/mountinfo"), id)
                    : ("", "");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Without /proc it stays a network file system of which nobody knows the name.
                return ("", "");
            }
        }
    }
}
