namespace BackupIQ.Storage.Local;

/// <summary>What kind of file system a folder is on, as far as a storage must know.</summary>
internal enum FileSystemKind
{
    /// <summary>On this machine: what was put is seen at once.</summary>
    Local,

    /// <summary>A network file system: clients cache what they know of folders, and times are the server's.</summary>
    Network,

    /// <summary>A program's file system: anything may be behind it.</summary>
    Fuse,
}

/// <summary>Reads the magic numbers of <c>statfs</c> (linux/magic.h).</summary>
internal static class FileSystemKinds
{
    internal static FileSystemKind Of(uint magic) => magic switch
    {
        0x6969 => FileSystemKind.Network, // NFS
        0x517B or 0xFF534D42 or 0xFE534D42 => FileSystemKind.Network, // SMB, CIFS, SMB2
        0x5346414F or 0x6B414653 => FileSystemKind.Network, // AFS
        0x00C36400 => FileSystemKind.Network, // Ceph
        0x73757245 => FileSystemKind.Network, // Coda
        0x01021997 => FileSystemKind.Network, // 9p
        0x0BD00BD0 => FileSystemKind.Network, // Lustre
        0x564C => FileSystemKind.Network, // NCP
        0x65735546 => FileSystemKind.Fuse,
        _ => FileSystemKind.Local,
    };

    internal static TimeSpan ListingLag(FileSystemKind kind) => kind switch
    {
        FileSystemKind.Network => TimeSpan.FromMinutes(1),
        FileSystemKind.Fuse => TimeSpan.FromMinutes(5),
        _ => TimeSpan.Zero,
    };
}
