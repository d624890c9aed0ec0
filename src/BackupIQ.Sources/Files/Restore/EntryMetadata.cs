using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Files.Restore;

/// <summary>
/// Gives entries their owner, attributes, mode and time, in this order, and tells what could not be kept. Sets only what differs from what
/// is there. No state: what it does depends on its arguments alone.
/// </summary>
internal sealed class EntryMetadata
{
    private const uint SetUser = 0x800;
    private const uint SetGroup = 0x400;

    /// <summary>Whether entries that are made in this folder get an ACL from it.</summary>
    internal static unsafe bool HasDefaultAccessList(int folder)
    {
        ReadOnlySpan<byte> name = "system.posix_acl_default\0"u8;
        fixed (byte* pointer = name)
        {
            return LibC.FGetXAttr(folder, pointer, null, 0) > 0;
        }
    }

    /// <summary>For a file that was just made by this process, belongs to it, and was made with <paramref name="mode"/>.</summary>
    internal MetadataLoss ApplyToOwn(int descriptor, NodeMetadata metadata, uint mode)
    {
        MetadataLoss loss = SetAttributes(descriptor, metadata, out bool modeMayDiffer);
        if ((mode != metadata.Mode || modeMayDiffer) && Syscalls.ChangeMode(descriptor, metadata.Mode) < 0)
        {
            loss |= MetadataLoss.Mode;
        }

        return loss | SetTime(descriptor, metadata);
    }

    /// <summary>For a file that was just made, whoever it belongs to.</summary>
    internal MetadataLoss Apply(int descriptor, NodeMetadata metadata, bool reconcile)
    {
        int error = Syscalls.StatDescriptor(descriptor, out StatX stat);
        return error < 0 ? throw TargetError.From(-error, "read the file's metadata") : Apply(descriptor, metadata, stat, reconcile);
    }

    /// <summary>For an open file or folder that has the metadata <paramref name="now"/>.</summary>
    /// <param name="descriptor">Open for reading or writing.</param>
    /// <param name="metadata">What it is to have.</param>
    /// <param name="now">What it has.</param>
    /// <param name="reconcile">Remove attributes that it has and should not.</param>
    internal MetadataLoss Apply(int descriptor, NodeMetadata metadata, in StatX now, bool reconcile)
    {
        MetadataLoss loss = MetadataLoss.None;
        uint mode = metadata.Mode;
        bool modeMayDiffer = (now.Mode & 0xFFF) != mode;
        if (now.UserId != metadata.UserId || now.GroupId != metadata.GroupId)
        {
            modeMayDiffer = true;
            if (Syscalls.ChangeOwner(descriptor, metadata.UserId, metadata.GroupId) < 0)
            {
                bool hasGroup = now.GroupId == metadata.GroupId || Syscalls.ChangeOwner(descriptor, uint.MaxValue, metadata.GroupId) == 0;
                loss |= MetadataLoss.Owner | WithoutSpecialBits(metadata, now, hasGroup, ref mode);
            }
        }

        loss |= reconcile
            ? ReconcileAttributes(descriptor, default, metadata, out bool attributesTouchMode)
            : SetAttributes(descriptor, metadata, out attributesTouchMode);
        if ((modeMayDiffer || attributesTouchMode) && Syscalls.ChangeMode(descriptor, mode) < 0)
        {
            loss |= MetadataLoss.Mode;
        }

        bool isTimely = now.ModifiedSeconds == metadata.Modified.Seconds && now.ModifiedNanoseconds == metadata.Modified.Nanoseconds;
        return isTimely ? loss : loss | SetTime(descriptor, metadata);
    }

    /// <summary>For a symbolic link, device, fifo or socket, by its name; a link is not followed.</summary>
    internal MetadataLoss Apply(int folder, ReadOnlySpan<byte> name, NodeMetadata metadata, in StatX now, bool reconcile)
    {
        MetadataLoss loss = MetadataLoss.None;
        uint mode = metadata.Mode;
        bool modeMayDiffer = (now.Mode & 0xFFF) != mode;
        if (now.UserId != metadata.UserId || now.GroupId != metadata.GroupId)
        {
            modeMayDiffer = true;
            if (Syscalls.ChangeOwner(folder, name, metadata.UserId, metadata.GroupId) < 0)
            {
                bool hasGroup = now.GroupId == metadata.GroupId || Syscalls.ChangeOwner(folder, name, uint.MaxValue, metadata.GroupId) == 0;
                loss |= MetadataLoss.Owner | WithoutSpecialBits(metadata, now, hasGroup, ref mode);
            }
        }

        if (reconcile)
        {
            loss |= ReconcileAttributes(folder, name, metadata, out bool touched);
            modeMayDiffer |= touched;
        }
        else
        {
            foreach (ExtendedAttribute attribute in metadata.ExtendedAttributes)
            {
                loss |= LossOf(ExtendedAttributes.Set(folder, name, attribute.Name, attribute.Value), attribute.Name);
                modeMayDiffer |= IsAccessList(attribute.Name);
            }
        }

        // A symbolic link has no mode of its own.
        if (modeMayDiffer && metadata.Type != NodeType.SymbolicLink && Syscalls.ChangeMode(folder, name, mode) < 0)
        {
            loss |= MetadataLoss.Mode;
        }

        bool isTimely = now.ModifiedSeconds == metadata.Modified.Seconds && now.ModifiedNanoseconds == metadata.Modified.Nanoseconds;
        return isTimely || Syscalls.SetModified(folder, name, metadata.Modified.Seconds, metadata.Modified.Nanoseconds) == 0
            ? loss
            : loss | MetadataLoss.Time;
    }

    // A program that runs as its owner must not run as somebody else. On folders setgid only says whose the new files are.
    private static MetadataLoss WithoutSpecialBits(NodeMetadata metadata, in StatX now, bool hasGroup, ref uint mode)
    {
        if (metadata.Type == NodeType.Directory)
        {
            return MetadataLoss.None;
        }

        uint kept = mode;
        kept &= now.UserId == metadata.UserId ? uint.MaxValue : ~SetUser;
        kept &= hasGroup ? uint.MaxValue : ~SetGroup;
        MetadataLoss loss = kept == mode ? MetadataLoss.None : MetadataLoss.SpecialBits;
        mode = kept;
        return loss;
    }

    private static MetadataLoss SetTime(int descriptor, NodeMetadata metadata) =>
        Syscalls.SetModified(descriptor, metadata.Modified.Seconds, metadata.Modified.Nanoseconds) < 0 ? MetadataLoss.Time : MetadataLoss.None;

    private static MetadataLoss SetAttributes(int descriptor, NodeMetadata metadata, out bool modeMayDiffer)
    {
        MetadataLoss loss = MetadataLoss.None;
        modeMayDiffer = false;
        IReadOnlyList<ExtendedAttribute> attributes = metadata.ExtendedAttributes;
        for (int i = 0; i < attributes.Count; i++)
        {
            loss |= LossOf(ExtendedAttributes.Set(descriptor, attributes[i].Name, attributes[i].Value), attributes[i].Name);
            modeMayDiffer |= IsAccessList(attributes[i].Name);
        }

        return loss;
    }

    private static MetadataLoss ReconcileAttributes(int descriptor, ReadOnlySpan<byte> name, NodeMetadata metadata, out bool modeMayDiffer)
    {
        MetadataLoss loss = MetadataLoss.None;
        modeMayDiffer = false;
        int error = name.IsEmpty
            ? ExtendedAttributes.Read(descriptor, out ExtendedAttribute[] present)
            : ExtendedAttributes.Read(descriptor, name, out present);
        if (error < 0)
        {
            present = [];
            loss |= metadata.ExtendedAttributes.Count > 0 ? MetadataLoss.Attribute : MetadataLoss.None;
        }

        foreach (ExtendedAttribute attribute in present)
        {
            if (IsOurs(attribute.Name) && !Contains(metadata.ExtendedAttributes, attribute.Name))
            {
                modeMayDiffer |= IsAccessList(attribute.Name);
                error = name.IsEmpty
                    ? ExtendedAttributes.Remove(descriptor, attribute.Name)
                    : ExtendedAttributes.Remove(descriptor, name, attribute.Name);
                loss |= error == -Errno.NoData ? MetadataLoss.None : LossOf(error, attribute.Name);
            }
        }

        foreach (ExtendedAttribute attribute in metadata.ExtendedAttributes)
        {
            if (!Contains(present, attribute.Name, attribute.Value))
            {
                modeMayDiffer |= IsAccessList(attribute.Name);
                error = name.IsEmpty
                    ? ExtendedAttributes.Set(descriptor, attribute.Name, attribute.Value)
                    : ExtendedAttributes.Set(descriptor, name, attribute.Name, attribute.Value);
                loss |= LossOf(error, attribute.Name);
            }
        }

        return loss;
    }

    private static bool Contains(IReadOnlyList<ExtendedAttribute> attributes, byte[] name, byte[]? value = null)
    {
        foreach (ExtendedAttribute attribute in attributes)
        {
            if (attribute.Name.AsSpan().SequenceEqual(name) && (value is null || attribute.Value.AsSpan().SequenceEqual(value)))
            {
                return true;
            }
        }

        return false;
    }

    // Labels that the system gives by itself (SELinux, IMA) are not removed.
    private static bool IsOurs(ReadOnlySpan<byte> name) =>
        name.StartsWith("user."u8) || name.StartsWith("trusted."u8) || name.StartsWith("system.posix_acl_"u8) || name.SequenceEqual("security.capability"u8);

    private static bool IsAccessList(ReadOnlySpan<byte> name) => name.SequenceEqual("system.posix_acl_access"u8);

    private static MetadataLoss LossOf(int error, ReadOnlySpan<byte> name) => error switch
    {
        >= 0 => MetadataLoss.None,
        -Errno.NotPermitted or -Errno.AccessDenied when name.StartsWith("trusted."u8) || name.StartsWith("security."u8) =>
            MetadataLoss.PrivilegedAttribute,
        _ => MetadataLoss.Attribute,
    };
}
