using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>
/// The names in a folder, sorted by their unsigned bytes, each once. The names lie one after another in one buffer, so that a million of
/// them cost no object each; the object is used again for other folders.
/// </summary>
internal sealed unsafe class DirectoryListing
{
    /// <summary>One call of getdents64 fills this: some hundred to two thousand entries.</summary>
    private const int KernelBuffer = 64 * 1024;

    /// <summary>Header of linux_dirent64: inode, offset, record length, type.</summary>
    private const int NameOffset = 19;

    private byte[] _arena = new byte[2048];
    private Reference[] _references = new Reference[32];
    private int _used;

    /// <summary>How many names there are.</summary>
    internal int Count { get; private set; }

    /// <summary>What a listing that is kept for later use holds in memory at most; larger ones are let go.</summary>
    internal bool IsSmall => _arena.Length <= 1 << 20;

    /// <summary>The name at <paramref name="index"/>. Valid until the next <see cref="Read"/>.</summary>
    internal ReadOnlySpan<byte> this[int index] => _arena.AsSpan(_references[index].Offset, _references[index].Length);

    /// <summary>Reads all names of an open folder; 0 or a negated error number. Names that no file system may have are -<see cref="Errno.InputOutput"/>.</summary>
    internal int Read(int folder, byte[] kernelBuffer)
    {
        Count = 0;
        _used = 0;
        _ = LibC.LSeek(folder, 0, 0);
        fixed (byte* buffer = kernelBuffer)
        {
            while (true)
            {
                int length = Syscalls.ReadDirectory(folder, buffer, kernelBuffer.Length);
                if (length <= 0)
                {
                    if (length == 0)
                    {
                        Sort();
                    }

                    // O_PATH, which is all that mode --x grants, cannot list.
                    return length == -Errno.BadDescriptor ? -Errno.AccessDenied : length;
                }

                for (int at = 0; at < length;)
                {
                    int recordLength = *(ushort*)(buffer + at + 16);
                    ReadOnlySpan<byte> name = new(buffer + at + NameOffset, recordLength - NameOffset);
                    name = name[..name.IndexOf((byte)0)];
                    at += recordLength;
                    if (name.SequenceEqual("."u8) || name.SequenceEqual(".."u8))
                    {
                        continue;
                    }

                    if (name.IsEmpty || name.Contains((byte)'/'))
                    {
                        return -Errno.InputOutput;
                    }

                    Add(name);
                }
            }
        }
    }

    /// <summary>A buffer for <see cref="Read"/>.</summary>
    internal static byte[] NewKernelBuffer() => GC.AllocateUninitializedArray<byte>(KernelBuffer, pinned: true);

    /// <summary>lstat of the name at <paramref name="index"/> in the folder; 0 or a negated error number.</summary>
    internal int Stat(int index, int folder, out StatX stat)
    {
        fixed (byte* name = &_arena[_references[index].Offset])
        {
            return Syscalls.StatTerminated(folder, name, out stat);
        }
    }

    private void Add(ReadOnlySpan<byte> name)
    {
        int end = checked(_used + name.Length + 1);
        if (end > _arena.Length)
        {
            Array.Resize(ref _arena, (int)Math.Min(Array.MaxLength, Math.Max(end, _arena.Length * 2L)));
        }

        if (Count == _references.Length)
        {
            Array.Resize(ref _references, Count * 2);
        }

        name.CopyTo(_arena.AsSpan(_used));
        _arena[end - 1] = 0;
        _references[Count++] = new Reference(Prefix(name), _used, (ushort)name.Length);
        _used = end;
    }

    /// <summary>Sorts, and drops what a file system under change told twice.</summary>
    private void Sort()
    {
        _references.AsSpan(0, Count).Sort(new ByName(_arena));
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (kept == 0 || !this[i].SequenceEqual(this[kept - 1]))
            {
                _references[kept++] = _references[i];
            }
        }

        Count = kept;
    }

    /// <summary>The first eight bytes as a number: most comparisons need no more.</summary>
    private static ulong Prefix(ReadOnlySpan<byte> name)
    {
        if (name.Length >= 8)
        {
            return BinaryPrimitives.ReadUInt64BigEndian(name);
        }

        ulong prefix = 0;
        for (int i = 0; i < name.Length; i++)
        {
            prefix |= (ulong)name[i] << (56 - (8 * i));
        }

        return prefix;
    }

    private readonly record struct Reference(ulong Prefix, int Offset, ushort Length);

    private readonly struct ByName(byte[] arena) : IComparer<Reference>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public int Compare(Reference x, Reference y) => x.Prefix != y.Prefix
            ? x.Prefix.CompareTo(y.Prefix)
            : arena.AsSpan(x.Offset, x.Length).SequenceCompareTo(arena.AsSpan(y.Offset, y.Length));
    }
}
