using System.Diagnostics;
using System.Globalization;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// Which process this is, and whether another one of the same machine is certainly gone. Being wrong costs a living session its run, never
/// data; so in doubt the answer is "may be alive".
/// </summary>
internal static class ProcessIdentity
{
    private const int StartTimeField = 22;

    /// <summary>The kernel's id of this boot, or nothing where there is none.</summary>
    public static string BootId { get; } = ReadLine("/proc/sys/kernel/random/boot_id");

    /// <summary>The machine's id, or nothing where there is none.</summary>
    public static string MachineId { get; } = ReadLine("/etc/machine-id");

    /// <summary>The namespace of this process's id, or nothing where there are none.</summary>
    public static string PidNamespace { get; } = ReadLink("/proc/self/ns/pid");

    /// <summary>When this process began, in ticks since boot.</summary>
    public static long OwnStart { get; } = StartOf(Environment.ProcessId) ?? 0;

    /// <summary>
    /// Whether the process that opened a session is certainly gone: it ran on this machine, which was booted since, or whose kernel has no
    /// such process now. A host name alone proves nothing, for containers and clones share names.
    /// </summary>
    public static bool IsGone(SessionDocument session)
    {
        if (session.MachineName != Environment.MachineName || session.BootId.Length == 0 || BootId.Length == 0)
        {
            return false;
        }

        if (session.BootId != BootId)
        {
            return session.MachineId.Length > 0 && session.MachineId == MachineId;
        }

        return session.PidNamespace == PidNamespace && session.ProcessId > 0 && IsGone(session.ProcessId, session.ProcessStarted);
    }

    // The kernel is asked, not /proc alone, which may hide the processes of others.
    private static bool IsGone(int processId, long started)
    {
        try
        {
            using Process process = Process.GetProcessById(processId);
        }
        catch (ArgumentException)
        {
            return true;
        }

        return StartOf(processId) is { } start && started > 0 && start != started;
    }

    // Null when that cannot be told. The second field is the command in parentheses and may hold anything: fields are counted behind its end.
    private static long? StartOf(int processId)
    {
        string stat = ReadLine($"/proc/{processId}/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length > StartTimeField - 3 && long.TryParse(fields[StartTimeField - 3], NumberStyles.None, CultureInfo.InvariantCulture, out long start)
            ? start
            : null;
    }

    private static string ReadLine(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllText(path).Trim() : "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static string ReadLink(string path)
    {
        try
        {
            return File.ResolveLinkTarget(path, returnFinalTarget: false)?.Name ?? "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
