using System.Runtime.InteropServices;

namespace BackupIQ.Cli;

/// <summary>
/// The C library's heap, in which the buffers of workers and the contexts of codecs lie: mebibytes each, made and freed by many threads. Left to
/// itself glibc keeps what was freed, in an arena for each thread; a copy of ninety snapshots then ends with more than twice what it needs.
/// </summary>
internal static partial class NativeHeap
{
    private const int MapThreshold = -3;
    private const int ArenaMax = -8;

    /// <summary>From this size on memory is the system's own again when it is freed. To be called before threads are made.</summary>
    private const int GivenBack = 256 << 10;

    public static void GiveBackWhatIsFreed()
    {
        try
        {
            _ = Set(MapThreshold, GivenBack);
            _ = Set(ArenaMax, 2);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            // Another C library: its heap is its own affair.
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int Set(int parameter, int value);
}
