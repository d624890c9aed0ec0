using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using System.Text;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Packs;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Index;

/// <summary>
/// A sorted piece of the index as a memory-mapped file of the local cache: the plain bytes of one or several segments, the names of the
/// segments that it covers, and a BLAKE3 of all that. The file is checked whole when it is opened, so a damaged cache is found, never used.
/// Of a file only what is looked up counts as this process's memory (<see cref="Rest"/>).
/// </summary>
internal sealed unsafe partial class IndexRun : IDisposable
{
    // MADV_DONTNEED of Linux.
    private const int DontNeed = 4;

    private readonly MemoryMappedFile? _map;
    private readonly MemoryMappedViewAccessor? _view;
    private byte* _memory;
    private readonly byte* _base;
    private readonly IndexLayout _layout;
    private readonly BloomFilter _filter;

    private IndexRun(string path, MemoryMappedFile map, MemoryMappedViewAccessor view, IndexLayout layout, IReadOnlyList<string> covers)
    {
        Path = path;
        _map = map;
        _view = view;
        _layout = layout;
        Covers = covers;
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _base = pointer + view.PointerOffset;
        _filter = MakeFilter();
        Rest();
    }

    private IndexRun(ReadOnlySpan<byte> plain, IReadOnlyList<string> covers)
    {
        _memory = (byte*)NativeMemory.Alloc((nuint)plain.Length);
        plain.CopyTo(new Span<byte>(_memory, plain.Length));
        _base = _memory;
        _layout = IndexLayout.ReadHead(plain, plain.Length);
        Covers = covers;
        _filter = MakeFilter();
    }

    /// <summary>The file, or null when the run is held in memory.</summary>
    public string? Path { get; }

    /// <summary>Whether the sessions that wrote this are announced; if not, no new snapshot may rely on it.</summary>
    public bool IsVouchedFor { get; set; } = true;

    /// <summary>Names of the index segments in the repository whose entries are here.</summary>
    public IReadOnlyList<string> Covers { get; }

    public IndexLayout Layout => _layout;

    public long EntryCount => (long)_layout.Entries;

    /// <summary>Writes a run file (temp name, then rename); the cache is only a cache, so it is not synced.</summary>
    public static void Write(string path, ReadOnlySpan<byte> plain, IReadOnlyList<string> covers)
    {
        byte[] names = Encoding.ASCII.GetBytes(string.Join('\n', covers));
        string temporary = path + ".tmp";
        using (SafeFileHandle file = File.OpenHandle(temporary, FileMode.Create, FileAccess.Write))
        {
            Blake3Hasher hasher = new();
            long at = 0;
            Append(file, hasher, plain, ref at);
            AppendTrailer(file, hasher, names, at);
        }

        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>A small run without a file, of plain bytes that have been checked (<see cref="Validate"/>).</summary>
    public static IndexRun InMemory(ReadOnlySpan<byte> plain, IReadOnlyList<string> covers) => new(plain, covers);

    /// <summary>Maps a run file and checks it.</summary>
    /// <exception cref="CorruptDataException">It is not what was written.</exception>
    public static IndexRun Open(string path)
    {
        long length = new FileInfo(path).Length;
        if (length < IndexLayout.HeadSize + 36)
        {
            throw new CorruptDataException("A cached index file is cut short.");
        }

        MemoryMappedFile map = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        MemoryMappedViewAccessor? view = null;
        try
        {
            view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            IndexLayout layout = Check(view, length, out IReadOnlyList<string> covers);
            return new IndexRun(path, map, view, layout, covers);
        }
        catch
        {
            view?.Dispose();
            map.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Checks the plain bytes of a segment that came from the repository: every number that a look-up follows stays inside.
    /// </summary>
    public static void Validate(ReadOnlySpan<byte> plain)
    {
        IndexLayout layout = IndexLayout.ReadHead(plain, plain.Length);
        for (uint i = 0; i < layout.Packs; i++)
        {
            PackEntry pack = PackEntry.Read(plain[(int)(layout.PacksAt + (i * (long)PackEntry.EncodedSize))..]);
            if (pack.Kind is not (PackKind.Data or PackKind.Metadata) || pack.SaltCount == 0 || pack.FirstSalt + (ulong)pack.SaltCount > layout.Salts)
            {
                throw new CorruptDataException("An index segment names a malformed pack.");
            }
        }

        for (uint i = 0; i < layout.Frames; i++)
        {
            ReadOnlySpan<byte> at = plain[(int)(layout.FramesAt + (i * (long)IndexLayout.FrameSize))..];
            uint pack = BinaryPrimitives.ReadUInt32LittleEndian(at[FrameEntry.Size..]);
            if (pack >= layout.Packs)
            {
                throw new CorruptDataException("An index segment names a frame of no pack.");
            }

            PackEntry owner = PackEntry.Read(plain[(int)(layout.PacksAt + (pack * (long)PackEntry.EncodedSize))..]);
            if (!FrameEntry.Read(at).IsPlausible((long)owner.Size, owner.SaltCount))
            {
                throw new CorruptDataException("An index segment names a frame outside its pack.");
            }
        }

        UInt128 previous = 0;
        for (ulong i = 0; i < layout.Entries; i++)
        {
            IndexEntry entry = IndexEntry.Read(plain[(int)(layout.EntriesAt + ((long)i * IndexEntry.Size))..]);
            if (entry.Prefix < previous || entry.Frame >= layout.Frames || entry.Length == 0)
            {
                throw new CorruptDataException("An index segment is not in order.");
            }

            FrameEntry frame = FrameEntry.Read(plain[(int)(layout.FramesAt + (entry.Frame * (long)IndexLayout.FrameSize))..]);
            if (entry.Offset + (ulong)entry.Length > frame.PlainLength)
            {
                throw new CorruptDataException("An index segment names a chunk outside its frame.");
            }

            previous = entry.Prefix;
        }
    }

    /// <summary>
    /// The first entry with this prefix, or -1. Ids are uniform, so the place is guessed by interpolation and found in a few steps.
    /// </summary>
    public long Find(UInt128 prefix)
    {
        if (!_filter.MayContain(prefix))
        {
            return -1;
        }

        long low = 0;
        long high = EntryCount - 1;
        while (low <= high)
        {
            long middle = Guess(prefix, low, high);
            UInt128 found = PrefixAt((ulong)middle);
            if (found < prefix)
            {
                low = middle + 1;
            }
            else if (found > prefix)
            {
                high = middle - 1;
            }
            else
            {
                while (middle > 0 && PrefixAt((ulong)middle - 1) == prefix)
                {
                    middle--;
                }

                return middle;
            }
        }

        return -1;
    }

    public UInt128 PrefixAt(ulong entry) =>
        BinaryPrimitives.ReadUInt128BigEndian(new ReadOnlySpan<byte>(_base + _layout.EntriesAt + ((long)entry * IndexEntry.Size), 16));

    public IndexEntry EntryAt(ulong entry) =>
        IndexEntry.Read(new ReadOnlySpan<byte>(_base + _layout.EntriesAt + ((long)entry * IndexEntry.Size), IndexEntry.Size));

    public FrameEntry FrameAt(uint frame, out uint pack)
    {
        ReadOnlySpan<byte> bytes = new(_base + _layout.FramesAt + (frame * (long)IndexLayout.FrameSize), IndexLayout.FrameSize);
        pack = BinaryPrimitives.ReadUInt32LittleEndian(bytes[FrameEntry.Size..]);
        return FrameEntry.Read(bytes);
    }

    /// <summary>How to fetch and open a frame.</summary>
    public FrameReference ReferenceAt(uint frame)
    {
        FrameEntry entry = FrameAt(frame, out uint number);
        PackEntry pack = PackAt(number);
        return FrameReference.Of(pack.Id, pack.Kind, entry, SaltAt(pack.FirstSalt + entry.SaltRow));
    }

    public PackEntry PackAt(uint pack) =>
        PackEntry.Read(new ReadOnlySpan<byte>(_base + _layout.PacksAt + (pack * (long)PackEntry.EncodedSize), PackEntry.EncodedSize));

    public SaltRow SaltAt(uint salt) =>
        SaltRow.Read(new ReadOnlySpan<byte>(_base + _layout.SaltsAt + (salt * (long)SaltRow.Size), SaltRow.Size));

    public PackId TombstoneAt(uint tombstone) =>
        PackId.Read(new ReadOnlySpan<byte>(_base + _layout.TombstonesAt + (tombstone * (long)PackId.Size), PackId.Size));

    /// <summary>
    /// After a pass over all of it: the pages of the file leave this process's memory. They stay in the system's cache, from where a look-up takes
    /// those that it needs.
    /// </summary>
    public void Rest()
    {
        if (_view is { } view && OperatingSystem.IsLinux())
        {
            // It is advice: what does not heed it costs memory and nothing else.
            _ = Advise(_base - view.PointerOffset, (nuint)view.SafeMemoryMappedViewHandle.ByteLength, DontNeed);
        }
    }

    public void Dispose()
    {
        _filter.Dispose();
        NativeMemory.Free(_memory);
        _memory = null;
        _view?.SafeMemoryMappedViewHandle.ReleasePointer();
        _view?.Dispose();
        _map?.Dispose();
    }

    internal static void Append(SafeFileHandle file, Blake3Hasher hasher, ReadOnlySpan<byte> bytes, ref long at)
    {
        RandomAccess.Write(file, bytes, at);
        hasher.Update(bytes);
        at += bytes.Length;
    }

    internal static void AppendTrailer(SafeFileHandle file, Blake3Hasher hasher, byte[] names, long at)
    {
        byte[] length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, names.Length);
        Append(file, hasher, names, ref at);
        Append(file, hasher, length, ref at);
        byte[] digest = new byte[32];
        hasher.Finish(digest);
        RandomAccess.Write(file, digest, at);
    }

    private static IndexLayout Check(MemoryMappedViewAccessor view, long length, out IReadOnlyList<string> covers)
    {
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        try
        {
            pointer += view.PointerOffset;
            Blake3Hasher hasher = new();
            const int Step = 64 << 20;
            long hashed = length - 32;
            for (long at = 0; at < hashed; at += Step)
            {
                hasher.Update(new ReadOnlySpan<byte>(pointer + at, (int)Math.Min(Step, hashed - at)));
            }

            Span<byte> digest = stackalloc byte[32];
            hasher.Finish(digest);
            int names = BinaryPrimitives.ReadInt32LittleEndian(new ReadOnlySpan<byte>(pointer + hashed - 4, 4));
            if (!digest.SequenceEqual(new ReadOnlySpan<byte>(pointer + hashed, 32)) || names < 0 || names > hashed - 4)
            {
                throw new CorruptDataException("A cached index file is damaged.");
            }

            string text = Encoding.ASCII.GetString(new ReadOnlySpan<byte>(pointer + hashed - 4 - names, names));
            covers = text.Length == 0 ? [] : text.Split('\n');
            return IndexLayout.ReadHead(new ReadOnlySpan<byte>(pointer, IndexLayout.HeadSize), hashed - 4 - names);
        }
        finally
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    private BloomFilter MakeFilter()
    {
        BloomFilter filter = new(EntryCount);
        for (ulong i = 0; i < _layout.Entries; i++)
        {
            filter.Add(PrefixAt(i));
        }

        return filter;
    }

    private long Guess(UInt128 prefix, long low, long high)
    {
        if (high - low < 16)
        {
            return (low + high) >> 1;
        }

        ulong first = (ulong)(PrefixAt((ulong)low) >> 64);
        ulong last = (ulong)(PrefixAt((ulong)high) >> 64);
        ulong wanted = (ulong)(prefix >> 64);
        if (wanted <= first || last <= first)
        {
            return wanted <= first ? low : (low + high) >> 1;
        }

        double share = (double)(wanted - first) / (last - first);
        return Math.Clamp(low + (long)(share * (high - low)), low, high);
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(byte* address, nuint length, int advice);
}
