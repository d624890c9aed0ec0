using System.Buffers.Binary;
using System.Text;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Testing.Files;

/// <summary>
/// Makes a folder with every kind of entry that Linux has and that a backup must bring back as it was: names that are no text, every
/// type, special bits, times before 1970 and with nanoseconds, attributes, ACLs, capabilities, hard links, holes. What needs root is left
/// out for others (<see cref="ScratchFolder.IsRoot"/>). The content depends on nothing but the builder.
/// </summary>
public sealed class EveryKindOfEntryTree
{
    private readonly int _folder;
    private readonly int _large;
    private readonly long _hole;

    private EveryKindOfEntryTree(int folder, int large = 0, long hole = 0)
    {
        _folder = folder;
        _large = large;
        _hole = hole;
    }

    /// <summary>A time with nanoseconds.</summary>
    public static (long Seconds, uint Nanoseconds) Late => (1_700_000_000, 123_456_789);

    /// <summary>A time before 1970.</summary>
    public static (long Seconds, uint Nanoseconds) Early => (-86_400_001, 999_999_999);

    /// <summary>Fills the existing folder <paramref name="path"/>; its largest incompressible file has <paramref name="large"/> bytes, its largest hole <paramref name="hole"/>.</summary>
    public static void Fill(string path, int large = 3_000_000, long hole = 1L << 32)
    {
        int folder = Require(Syscalls.OpenAt(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly | OpenFlags.Directory));
        using DescriptorHandle handle = new(folder);
        new EveryKindOfEntryTree(folder, large, hole).Fill();
    }

    /// <summary>Makes a chain of folders, each named <paramref name="name"/>, in <paramref name="path"/>, with a file in the last.</summary>
    public static void FillDeep(string path, int levels, ReadOnlySpan<byte> name)
    {
        int folder = Require(Syscalls.OpenAt(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly | OpenFlags.Directory));
        for (int i = 0; i < levels; i++)
        {
            _ = Require(Syscalls.MakeDirectory(folder, name, 0x1ed));
            int next = Require(Syscalls.OpenAt(folder, name, OpenFlags.ReadOnly | OpenFlags.Directory));
            _ = Syscalls.Close(folder);
            folder = next;
        }

        using DescriptorHandle handle = new(folder);
        new EveryKindOfEntryTree(folder).File("bottom"u8, "at the bottom"u8);
    }

    /// <summary>Makes <paramref name="count"/> empty files in <paramref name="path"/>.</summary>
    public static void FillWide(string path, int count)
    {
        int folder = Require(Syscalls.OpenAt(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly | OpenFlags.Directory));
        using DescriptorHandle handle = new(folder);
        for (int i = 0; i < count; i++)
        {
            _ = Require(Syscalls.MakeNode(folder, Encoding.ASCII.GetBytes($"f{(i * 7919L) % 1_000_003:d7}-{i}"), FileModes.Regular | 0x1a4u));
        }
    }

    /// <summary>The bytes of an ACL that grants <paramref name="user"/> read and write, as in system.posix_acl_access.</summary>
    public static byte[] AclFor(uint user)
    {
        byte[] acl = new byte[4 + (5 * 8)];
        BinaryPrimitives.WriteUInt32LittleEndian(acl, 2);
        (ushort Tag, ushort Permissions, uint Id)[] entries =
            [(1, 6, uint.MaxValue), (2, 6, user), (4, 4, uint.MaxValue), (0x10, 6, uint.MaxValue), (0x20, 4, uint.MaxValue)];
        for (int i = 0; i < entries.Length; i++)
        {
            Span<byte> entry = acl.AsSpan(4 + (8 * i));
            BinaryPrimitives.WriteUInt16LittleEndian(entry, entries[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], entries[i].Permissions);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], entries[i].Id);
        }

        return acl;
    }

    /// <summary>The bytes of cap_net_bind_service+ep, as in security.capability.</summary>
    public static byte[] Capability()
    {
        byte[] capability = new byte[20];
        BinaryPrimitives.WriteUInt32LittleEndian(capability, 0x02000001);
        BinaryPrimitives.WriteUInt32LittleEndian(capability.AsSpan(4), 1 << 10);
        return capability;
    }

    private static int Require(int result, int tolerated = 0) =>
        result >= 0 || result == -tolerated ? result : throw new IOException(LinuxError.Describe(-result), -result);

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private void Fill()
    {
        Files();
        Names();
        Links();
        Attributes();
        Holes();
        Specials();
        Folders();
    }

    private void Files()
    {
        File("empty"u8, default);
        File("one byte"u8, "x"u8);
        File("small"u8, "some text\n"u8);
        File("large"u8, Bytes(_large, 1));
        File("zeros"u8, new byte[1_000_000]);
        File("no permission"u8, "nobody may read this"u8, mode: 0);
        File("setuid"u8, "s"u8, mode: 0x9ed);
        File("setgid"u8, "g"u8, mode: 0x5ed);
        File("sticky"u8, "t"u8, mode: 0x3a4);
        File("early"u8, "before 1970"u8, time: Early);
        File("epoch"u8, "1970"u8, time: (0, 0));
        File("far"u8, "2100"u8, time: (4_102_444_800, 1));
        if (ScratchFolder.IsRoot)
        {
            File("foreign"u8, "of nobody known"u8);
            _ = Require(Syscalls.ChangeOwner(_folder, "foreign"u8, 54_321, 54_322));
            _ = Require(Syscalls.SetModified(_folder, "foreign"u8, Late.Seconds, Late.Nanoseconds));
        }
    }

    private void Names()
    {
        File([.. "latin1 caf"u8, 0xe9], "not UTF-8"u8);
        File([0xff, 0xfe, 0x80], "no UTF-8 at all"u8);
        File("new\nline"u8, "1"u8);
        File("back\\slash"u8, "2"u8);
        File("tab\t bell\a escape\u001b"u8, "3"u8);
        File("-dash"u8, "4"u8);
        File(" blank around "u8, "5"u8);
        File("'\"`$(x)*?[a]{b}!#&;|<>"u8, "6"u8);
        File("größe ☃ 𝄞"u8, "7"u8);
        File("e\u0301"u8, "decomposed"u8);
        File("\u00e9"u8, "composed"u8);
        File("..."u8, "dots"u8);
        File(Enumerable.Repeat((byte)'n', 255).ToArray(), "255 bytes"u8);
        File([.. Enumerable.Repeat((byte)0xfd, 255)], "255 bytes that are no UTF-8"u8);
        File("CASE"u8, "upper"u8);
        File("case"u8, "lower"u8);
    }

    private void Links()
    {
        Link("link"u8, "small"u8);
        Link("dangling"u8, "nowhere/at all"u8);
        Link("absolute"u8, "/etc/hostname"u8);
        Link("link to folder"u8, "folder"u8);
        Link("loop"u8, "loop"u8);
        Link("link, latin1"u8, [.. "caf"u8, 0xe9, (byte)'\n', 0xff]);
        Link("link, long"u8, Enumerable.Repeat((byte)'l', 4000).ToArray());
        File("hard 1"u8, "of three names"u8);
        _ = Require(Syscalls.MakeHardLink(_folder, "hard 1"u8, _folder, "hard 2"u8));
        Link("linked link"u8, "small"u8);
        _ = Require(Syscalls.MakeHardLink(_folder, "linked link"u8, _folder, "linked link, again"u8));
    }

    private void Attributes()
    {
        // File systems without user attributes (old tmpfs) leave these files without.
        File("attributes"u8, "a"u8);
        Attribute("attributes"u8, "user.text"u8, "value"u8);
        Attribute("attributes"u8, "user.empty"u8, default);
        Attribute("attributes"u8, "user.binary"u8, [0, 1, 2, 0xff, 0]);
        Attribute("attributes"u8, [.. "user.latin1 "u8, 0xe9], [0xe9]);
        File("large attribute"u8, "l"u8);
        Attribute("large attribute"u8, "user.large"u8, Bytes(3500, 2));
        File("access list"u8, "acl"u8);
        Attribute("access list"u8, "system.posix_acl_access"u8, AclFor(12_345));
        _ = Require(Syscalls.SetModified(_folder, "access list"u8, Late.Seconds, Late.Nanoseconds));
        if (ScratchFolder.IsRoot)
        {
            File("capability"u8, "c"u8, mode: 0x1ed);
            Attribute("capability"u8, "security.capability"u8, Capability());
            Attribute("capability"u8, "trusted.mark"u8, "t"u8);
            Link("link with attribute"u8, "small"u8);
            Attribute("link with attribute"u8, "trusted.mark"u8, "of the link"u8);
        }
    }

    private void Holes()
    {
        int descriptor = Create("sparse"u8);
        using (DescriptorHandle handle = new(descriptor))
        {
            _ = Require(Syscalls.Write(descriptor, Bytes(8192, 3), 1 << 20));
            _ = Require(Syscalls.Write(descriptor, Bytes(5000, 4), 5 << 20));
            _ = Require(Syscalls.SetLength(descriptor, 9_000_001));
            _ = Require(Syscalls.SetModified(descriptor, Late.Seconds, Late.Nanoseconds));
        }

        descriptor = Create("hole"u8);
        using (DescriptorHandle handle = new(descriptor))
        {
            _ = Require(Syscalls.SetLength(descriptor, _hole));
            _ = Require(Syscalls.SetModified(descriptor, Late.Seconds, Late.Nanoseconds));
        }
    }

    private void Specials()
    {
        Node("fifo"u8, FileModes.Fifo | 0x180u);
        Node("socket"u8, FileModes.Socket | 0x1edu);
        if (ScratchFolder.IsRoot)
        {
            Node("character device"u8, FileModes.CharacterDevice | 0x1b6u, 1, 3);
            Node("block device"u8, FileModes.BlockDevice | 0x180u, 7, 70_000);
        }
    }

    private void Folders()
    {
        Folder("empty folder"u8, 0x1ed, static _ => { });
        Folder("closed folder"u8, 0x140, static _ => { });
        Folder("shared folder"u8, 0x3ff, static inner => inner.File("in it"u8, "s"u8));
        Folder([.. "folder "u8, 0xe9], 0x1c0, static inner => inner.File([0xe9], "e"u8));
        Folder("folder with default list"u8, 0x1ed, static inner =>
        {
            inner.File("before"u8, "b"u8);
            _ = Require(ExtendedAttributes.Set(inner._folder, "system.posix_acl_default"u8, AclFor(12_345)), Errno.NotSupported);
        });
        Folder("folder"u8, 0x1e8, inner =>
        {
            _ = Require(Syscalls.MakeHardLink(_folder, "hard 1"u8, inner._folder, "hard 3"u8));
            inner.Folder("inner"u8, 0x1ed, static innermost => innermost.File("innermost"u8, "i"u8));
        });
    }

    private int Create(ReadOnlySpan<byte> name) =>
        Require(Syscalls.OpenAt(_folder, name, OpenFlags.ReadWrite | OpenFlags.Create | OpenFlags.Exclusive, 0x1a4));

    private void File(ReadOnlySpan<byte> name, ReadOnlySpan<byte> content, uint mode = 0x1a4, (long Seconds, uint Nanoseconds)? time = null)
    {
        int descriptor = Create(name);
        using DescriptorHandle handle = new(descriptor);
        _ = Require(Syscalls.Write(descriptor, content, 0));
        _ = Require(Syscalls.ChangeMode(descriptor, mode));
        _ = Require(Syscalls.SetModified(descriptor, (time ?? Late).Seconds, (time ?? Late).Nanoseconds));
    }

    private void Link(ReadOnlySpan<byte> name, ReadOnlySpan<byte> target)
    {
        _ = Require(Syscalls.MakeSymbolicLink(target, _folder, name));
        _ = Require(Syscalls.SetModified(_folder, name, Early.Seconds, Early.Nanoseconds));
    }

    private void Node(ReadOnlySpan<byte> name, uint mode, uint major = 0, uint minor = 0)
    {
        _ = Require(Syscalls.MakeNode(_folder, name, mode, major, minor));
        _ = Require(Syscalls.SetModified(_folder, name, Late.Seconds, Late.Nanoseconds));
    }

    private void Attribute(ReadOnlySpan<byte> name, ReadOnlySpan<byte> attribute, ReadOnlySpan<byte> value) =>
        _ = Require(ExtendedAttributes.Set(_folder, name, attribute, value), Errno.NotSupported);

    private void Folder(ReadOnlySpan<byte> name, uint mode, Action<EveryKindOfEntryTree> fill)
    {
        _ = Require(Syscalls.MakeDirectory(_folder, name, 0x1c0));
        int descriptor = Require(Syscalls.OpenAt(_folder, name, OpenFlags.ReadOnly | OpenFlags.Directory | OpenFlags.NoFollow));
        using DescriptorHandle handle = new(descriptor);
        fill(new EveryKindOfEntryTree(descriptor));
        _ = Require(Syscalls.ChangeMode(descriptor, mode));
        _ = Require(Syscalls.SetModified(descriptor, Early.Seconds, Early.Nanoseconds));
    }
}
