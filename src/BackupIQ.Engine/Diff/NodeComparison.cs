using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Diff;

/// <summary>Compares what is kept of entries beside their content.</summary>
internal static class NodeComparison
{
    /// <summary>Whether everything is equal but the name: type, permissions, owners and their names, time, size, device, link target, attributes.</summary>
    public static bool HaveEqualMetadata(NodeMetadata a, NodeMetadata b) =>
        a.Type == b.Type && a.Mode == b.Mode && a.UserId == b.UserId && a.GroupId == b.GroupId && a.Modified == b.Modified && a.Size == b.Size
        && a.DeviceMajor == b.DeviceMajor && a.DeviceMinor == b.DeviceMinor
        && AreEqual(a.UserName, b.UserName) && AreEqual(a.GroupName, b.GroupName) && AreEqual(a.LinkTarget, b.LinkTarget)
        && a.ExtendedAttributes.Count == b.ExtendedAttributes.Count
        && a.ExtendedAttributes.Zip(b.ExtendedAttributes).All(static pair => AreEqual(pair.First.Name, pair.Second.Name) && AreEqual(pair.First.Value, pair.Second.Value));

    private static bool AreEqual(byte[]? a, byte[]? b) => a is null ? b is null : b is not null && a.AsSpan().SequenceEqual(b);
}
