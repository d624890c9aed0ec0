using System.Collections.Concurrent;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>
/// Names of users and groups on this machine, and back. Each is asked for once (the answer may come from a server) and remembered, also
/// that there is none. Thread-safe.
/// </summary>
internal sealed unsafe class OwnerNames
{
    /// <summary>A group with thousands of members needs room; beyond this it counts as unknown.</summary>
    private const int LargestRecord = 1 << 22;

    private readonly ConcurrentDictionary<uint, byte[]?> _users = new();
    private readonly ConcurrentDictionary<uint, byte[]?> _groups = new();
    private readonly ConcurrentDictionary<string, uint?> _userIds = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, uint?> _groupIds = new(StringComparer.Ordinal);

    private delegate bool Ask(byte* buffer, int size, out int error);

    /// <summary>The user's name, or null when this machine knows none.</summary>
    internal byte[]? User(uint id) => _users.GetOrAdd(id, static id =>
    {
        byte[]? name = null;
        WithBuffer((byte* buffer, int size, out int error) =>
        {
            PasswdRecord record;
            PasswdRecord* result;
            error = LibC.GetPwUid(id, &record, buffer, (nuint)size, &result);
            name = error == 0 && result != null ? Copy(result->Name) : null;
            return error == 0;
        });
        return name;
    });

    /// <summary>The group's name, or null when this machine knows none.</summary>
    internal byte[]? Group(uint id) => _groups.GetOrAdd(id, static id =>
    {
        byte[]? name = null;
        WithBuffer((byte* buffer, int size, out int error) =>
        {
            GroupRecord record;
            GroupRecord* result;
            error = LibC.GetGrGid(id, &record, buffer, (nuint)size, &result);
            name = error == 0 && result != null ? Copy(result->Name) : null;
            return error == 0;
        });
        return name;
    });

    /// <summary>The number of the user of this name here, or null.</summary>
    internal uint? UserId(ReadOnlySpan<byte> name) => _userIds.GetOrAdd(Convert.ToHexString(name), static hex =>
    {
        uint? id = null;
        WithBuffer((byte* buffer, int size, out int error) =>
        {
            fixed (byte* pointer = Terminated(hex))
            {
                PasswdRecord record;
                PasswdRecord* result;
                error = LibC.GetPwNam(pointer, &record, buffer, (nuint)size, &result);
                id = error == 0 && result != null ? result->UserId : null;
                return error == 0;
            }
        });
        return id;
    });

    /// <summary>The number of the group of this name here, or null.</summary>
    internal uint? GroupId(ReadOnlySpan<byte> name) => _groupIds.GetOrAdd(Convert.ToHexString(name), static hex =>
    {
        uint? id = null;
        WithBuffer((byte* buffer, int size, out int error) =>
        {
            fixed (byte* pointer = Terminated(hex))
            {
                GroupRecord record;
                GroupRecord* result;
                error = LibC.GetGrNam(pointer, &record, buffer, (nuint)size, &result);
                id = error == 0 && result != null ? result->GroupId : null;
                return error == 0;
            }
        });
        return id;
    });

    private static byte[] Terminated(string hex) => [.. Convert.FromHexString(hex), 0];

    private static byte[] Copy(byte* text) =>
        System.Runtime.InteropServices.MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text).ToArray();

    private static void WithBuffer(Ask ask)
    {
        for (int size = 4096; size <= LargestRecord; size *= 8)
        {
            fixed (byte* buffer = new byte[size])
            {
                if (ask(buffer, size, out int error) || error != Errno.Range)
                {
                    return;
                }
            }
        }
    }
}
