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

    /// <summary>How an entry differs from another of the same path, or null when in nothing.</summary>
    public static DiffKind? Compare(Node before, Node after)
    {
        if (before.Metadata.Type != after.Metadata.Type)
        {
            return DiffKind.Type;
        }

        bool isMetadata = !HaveEqualMetadata(before.Metadata, after.Metadata);
        bool isContent = before.Subtree != after.Subtree || !HaveEqualContent(before.Content, after.Content);
        return isContent ? isMetadata || before.Subtree is not null ? DiffKind.Content : DiffKind.ContentUnderSameMetadata
            : isMetadata ? DiffKind.Metadata : null;
    }

    private static bool HaveEqualContent(FileContent? a, FileContent? b) =>
        a is null || b is null
            ? a is null && b is null
            : a.Kind == b.Kind && a.Inline.Span.SequenceEqual(b.Inline.Span) && a.Chunks.SequenceEqual(b.Chunks) && a.Extents.SequenceEqual(b.Extents);

    private static bool AreEqual(byte[]? a, byte[]? b) => a is null ? b is null : b is not null && a.AsSpan().SequenceEqual(b);
}
