using System.Runtime.InteropServices;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>Flags of open(2). Three of them differ between x64 and arm64.</summary>
internal static class OpenFlags
{
    internal const int ReadOnly = 0;
    internal const int WriteOnly = 1;
    internal const int ReadWrite = 2;
    internal const int Create = 0x40;
    internal const int Exclusive = 0x80;
    internal const int NoControllingTerminal = 0x100;
    internal const int Truncate = 0x200;
    internal const int NonBlocking = 0x800;
    internal const int NoAccessTime = 0x40000;
    internal const int CloseOnExec = 0x80000;
    internal const int PathOnly = 0x200000;

    private static readonly bool s_arm = RuntimeInformation.ProcessArchitecture is Architecture.Arm64 or Architecture.Arm;

    internal static readonly int Directory = s_arm ? 0x4000 : 0x10000;
    internal static readonly int NoFollow = s_arm ? 0x8000 : 0x20000;
}

/// <summary>Flags of the …at calls, of seeks, xattrs, fallocate and openat2.</summary>
internal static class AtFlags
{
    /// <summary>AT_FDCWD: the working folder in place of an open one.</summary>
    internal const int WorkingFolder = -100;

    internal const int SymlinkNoFollow = 0x100;
    internal const int RemoveDirectory = 0x200;
    internal const int EmptyPath = 0x1000;
    internal const int NoAutomount = 0x800;

    internal const int SeekData = 3;
    internal const int SeekHole = 4;

    internal const int XAttrCreate = 1;
    internal const int XAttrReplace = 2;

    internal const int FallocateKeepSize = 1;
    internal const int FallocatePunchHole = 2;

    internal const int AdviceSequential = 2;
    internal const int AdviceWillNeed = 3;
    internal const int AdviceDontNeed = 4;

    internal const ulong ResolveNoMagicLinks = 2;
    internal const ulong ResolveNoSymlinks = 4;
    internal const ulong ResolveBeneath = 8;

    /// <summary>UTIME_OMIT in the nanoseconds of a time: leave it.</summary>
    internal const long TimeOmit = 0x3ffffffe;

    internal const int ResourceNoFile = 7;
}

/// <summary>The type bits of st_mode.</summary>
internal static class FileModes
{
    internal const ushort Fifo = 0x1000;
    internal const ushort CharacterDevice = 0x2000;
    internal const ushort Directory = 0x4000;
    internal const ushort BlockDevice = 0x6000;
    internal const ushort Regular = 0x8000;
    internal const ushort SymbolicLink = 0xa000;
    internal const ushort Socket = 0xc000;
}

/// <summary>Error numbers of Linux (the same on x64 and arm64).</summary>
internal static class Errno
{
    internal const int NotPermitted = 1;
    internal const int NoEntry = 2;
    internal const int Interrupted = 4;
    internal const int InputOutput = 5;
    internal const int NoDevice = 6;
    internal const int BadDescriptor = 9;
    internal const int TryAgain = 11;
    internal const int NoMemory = 12;
    internal const int AccessDenied = 13;
    internal const int Exists = 17;
    internal const int CrossDevice = 18;
    internal const int NotDirectory = 20;
    internal const int IsDirectory = 21;
    internal const int Invalid = 22;
    internal const int TooManyOpenInSystem = 23;
    internal const int TooManyOpen = 24;
    internal const int NoSpace = 28;
    internal const int ReadOnlyFileSystem = 30;
    internal const int Range = 34;
    internal const int NameTooLong = 36;
    internal const int NoSyscall = 38;
    internal const int NotEmpty = 39;
    internal const int Loop = 40;
    internal const int NoData = 61;
    internal const int NotSupported = 95;
    internal const int Stale = 116;
    internal const int Quota = 122;
}

/// <summary>Numbers of the system calls that are made without a function of the C library.</summary>
internal static class SyscallNumbers
{
    private static readonly bool s_arm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    internal const long OpenAt2 = 437;
    internal static readonly long GetDents64 = s_arm ? 61 : 217;

    /// <summary>mknodat: a function only since glibc 2.33.</summary>
    internal static readonly long MkNodAt = s_arm ? 33 : 259;
}
