using System.Buffers;
using System.Runtime.InteropServices;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>
/// Extended attributes of a name in an open folder, or of an open file. A symbolic link's own attributes are meant, never its target's.
/// The calls by name go through <c>/proc/self/fd/N/NAME</c>: no path longer than that, no link followed. Without /proc they
/// answer -<see cref="Errno.NoEntry"/>. Answers as <see cref="Syscalls"/>.
/// </summary>
internal static unsafe class ExtendedAttributes
{
    /// <summary>Room for "/proc/self/fd/N/" and a name of 255 bytes.</summary>
    private const int PathSize = 320;

    /// <summary>The kernel's own limit (XATTR_SIZE_MAX, XATTR_LIST_MAX): more is refused, not allocated.</summary>
    private const int Largest = 1 << 20;

    private static int LastError => -Marshal.GetLastPInvokeError();

    /// <summary>All attributes, sorted by name; none where the file system knows none.</summary>
    internal static int Read(int folder, ReadOnlySpan<byte> name, out ExtendedAttribute[] attributes)
    {
        attributes = [];
        if (name.Length > 255 || name.Contains((byte)0))
        {
            return -Errno.Invalid;
        }

        byte* path = stackalloc byte[PathSize];
        _ = Syscalls.ProcPath(folder, name, new Span<byte>(path, PathSize));
        return Read(-1, path, ref attributes);
    }

    /// <summary>All attributes of an open file, sorted by name.</summary>
    internal static int Read(int descriptor, out ExtendedAttribute[] attributes)
    {
        attributes = [];
        return Read(descriptor, null, ref attributes);
    }

    /// <summary>Sets an attribute of a name, replacing the one that is there.</summary>
    internal static int Set(int folder, ReadOnlySpan<byte> name, ReadOnlySpan<byte> attribute, ReadOnlySpan<byte> value)
    {
        if (name.Length > 255 || name.Contains((byte)0))
        {
            return -Errno.Invalid;
        }

        byte* path = stackalloc byte[PathSize];
        _ = Syscalls.ProcPath(folder, name, new Span<byte>(path, PathSize));
        using Syscalls.NameBuffer buffer = new(attribute, stackalloc byte[256]);
        fixed (byte* attributePointer = buffer.Bytes, valuePointer = value)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.LSetXAttr(path, attributePointer, valuePointer, (nuint)value.Length, 0) < 0 ? LastError : 0;
        }
    }

    /// <summary>Sets an attribute of an open file, replacing the one that is there.</summary>
    internal static int Set(int descriptor, ReadOnlySpan<byte> attribute, ReadOnlySpan<byte> value)
    {
        using Syscalls.NameBuffer buffer = new(attribute, stackalloc byte[256]);
        fixed (byte* attributePointer = buffer.Bytes, valuePointer = value)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.FSetXAttr(descriptor, attributePointer, valuePointer, (nuint)value.Length, 0) < 0 ? LastError : 0;
        }
    }

    /// <summary>Removes an attribute of a name.</summary>
    internal static int Remove(int folder, ReadOnlySpan<byte> name, ReadOnlySpan<byte> attribute)
    {
        if (name.Length > 255 || name.Contains((byte)0))
        {
            return -Errno.Invalid;
        }

        byte* path = stackalloc byte[PathSize];
        _ = Syscalls.ProcPath(folder, name, new Span<byte>(path, PathSize));
        using Syscalls.NameBuffer buffer = new(attribute, stackalloc byte[256]);
        fixed (byte* attributePointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid : LibC.LRemoveXAttr(path, attributePointer) < 0 ? LastError : 0;
        }
    }

    /// <summary>Removes an attribute of an open file.</summary>
    internal static int Remove(int descriptor, ReadOnlySpan<byte> attribute)
    {
        using Syscalls.NameBuffer buffer = new(attribute, stackalloc byte[256]);
        fixed (byte* attributePointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid : LibC.FRemoveXAttr(descriptor, attributePointer) < 0 ? LastError : 0;
        }
    }

    private static int Read(int descriptor, byte* path, ref ExtendedAttribute[] attributes)
    {
        int length = Fetch(descriptor, path, null, out byte[] list);
        if (length == -Errno.NotSupported)
        {
            return 0;
        }

        if (length <= 0)
        {
            return length;
        }

        // The list has each name with its zero, as the calls want them.
        List<ExtendedAttribute> found = [];
        ReadOnlySpan<byte> names = list;
        while (!names.IsEmpty)
        {
            int end = names.IndexOf((byte)0);
            if (end < 0)
            {
                break;
            }

            byte[] attribute = names[..end].ToArray();
            fixed (byte* pointer = names)
            {
                int size = Fetch(descriptor, path, pointer, out byte[] value);

                // Removed between the two calls: it is no attribute any more. A file system may also list what it will not tell.
                if (size < 0 && size is not (-Errno.NoData or -Errno.NotSupported))
                {
                    return size;
                }

                if (size >= 0)
                {
                    found.Add(new ExtendedAttribute(attribute, value));
                }
            }

            names = names[(end + 1)..];
        }

        found.Sort(static (a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));
        attributes = [.. found];
        return attributes.Length;
    }

    /// <summary>A value, or the list of names when <paramref name="attribute"/> is null; grows while the system says that it does not fit.</summary>
    private static int Fetch(int descriptor, byte* path, byte* attribute, out byte[] value)
    {
        value = [];
        for (int size = 1024; size <= Largest; size *= 8)
        {
            byte[] rented = ArrayPool<byte>.Shared.Rent(size);
            try
            {
                fixed (byte* output = rented)
                {
                    nint length = (path == null, attribute == null) switch
                    {
                        (true, true) => LibC.FListXAttr(descriptor, output, (nuint)rented.Length),
                        (false, true) => LibC.LListXAttr(path, output, (nuint)rented.Length),
                        (true, false) => LibC.FGetXAttr(descriptor, attribute, output, (nuint)rented.Length),
                        (false, false) => LibC.LGetXAttr(path, attribute, output, (nuint)rented.Length),
                    };
                    if (length >= 0)
                    {
                        value = length == 0 ? [] : rented.AsSpan(0, (int)length).ToArray();
                        return (int)length;
                    }
                }

                if (LastError != -Errno.Range)
                {
                    return LastError;
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }

        return -Errno.Range;
    }
}
