using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// A file of a <see cref="TreeCache"/>, memory-mapped: pages one after the other, a table sorted by id (id 32, offset u64, length u32), and
/// where the table begins (u64), its number of rows (u32) and a mark. Everything is checked where it is followed.
/// </summary>
internal sealed unsafe class TreeCacheFile : IDisposable
{
    /// <summary>How names of whole files end.</summary>
    public const string Ending = ".trees";

    private const int RowSize = ChunkId.Size + 12;
    private const int TrailerSize = 16;

    private static ReadOnlySpan<byte> Mark => "BIQT"u8;

    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _base;
    private readonly long _tableAt;

    private TreeCacheFile(string path, MemoryMappedFile map, MemoryMappedViewAccessor view, long length)
    {
        Path = path;
        Size = length;
        _map = map;
        _view = view;
        byte* pointer = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _base = pointer + view.PointerOffset;
        ReadOnlySpan<byte> trailer = new(_base + length - TrailerSize, TrailerSize);
        _tableAt = (long)BinaryPrimitives.ReadUInt64LittleEndian(trailer);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(trailer[8..]);
        if (!trailer[12..].SequenceEqual(Mark) || _tableAt < 0 || count > int.MaxValue || _tableAt + ((long)count * RowSize) + TrailerSize != length)
        {
            throw new CorruptDataException("A cached file of directories is not whole.");
        }

        Count = (int)count;
    }

    public string Path { get; }

    public long Size { get; }

    public int Count { get; }

    /// <exception cref="CorruptDataException">It is not what was written.</exception>
    public static TreeCacheFile Open(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
        long length = file.Length;
        if (length < TrailerSize)
        {
            throw new CorruptDataException("A cached file of directories is not whole.");
        }

        MemoryMappedFile map = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        MemoryMappedViewAccessor view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        try
        {
            return new TreeCacheFile(path, map, view, length);
        }
        catch
        {
            view.Dispose();
            map.Dispose();
            throw;
        }
    }

    /// <summary>The bytes under an id, unchecked.</summary>
    public bool TryRead(in ChunkId id, out byte[] page)
    {
        int low = 0;
        int high = Count - 1;
        while (low <= high)
        {
            int middle = (int)(((uint)low + (uint)high) / 2);
            ReadOnlySpan<byte> row = Row(middle);
            int order = ChunkId.Read(row).CompareTo(id);
            if (order == 0)
            {
                long offset = (long)BinaryPrimitives.ReadUInt64LittleEndian(row[ChunkId.Size..]);
                uint length = BinaryPrimitives.ReadUInt32LittleEndian(row[(ChunkId.Size + 8)..]);
                bool fits = offset >= 0 && length <= TreePage.MaxSize && offset + length <= _tableAt;
                page = fits ? new ReadOnlySpan<byte>(_base + offset, (int)length).ToArray() : [];
                return fits;
            }

            low = order < 0 ? middle + 1 : low;
            high = order < 0 ? high : middle - 1;
        }

        page = [];
        return false;
    }

    public IEnumerable<ChunkId> Ids()
    {
        for (int i = 0; i < Count; i++)
        {
            yield return ChunkId.Read(Row(i));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _map.Dispose();
    }

    private ReadOnlySpan<byte> Row(int number) => new(_base + _tableAt + ((long)number * RowSize), RowSize);

    /// <summary>Writes a file page by page; it gets its name when it is whole. Not synced: it is only a cache.</summary>
    public sealed class Writer : IDisposable
    {
        private const string Unfinished = ".tmp";

        private static readonly TimeSpan Abandoned = TimeSpan.FromDays(1);

        private readonly string _path;
        private readonly FileStream _file;
        private readonly Dictionary<ChunkId, (long Offset, int Length)> _rows = [];
        private bool _isFinished;

        public Writer(string path)
        {
            _path = path;
            FileStreamOptions options = new() { Mode = FileMode.CreateNew, Access = FileAccess.Write, BufferSize = 256 << 10 };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            _file = new FileStream(path + Unfinished, options);
        }

        public long Length { get; private set; }

        public int Count => _rows.Count;

        /// <summary>Whether a file is left of a process that did not finish it.</summary>
        public static bool IsAbandoned(string path) =>
            path.EndsWith(Ending + Unfinished, StringComparison.Ordinal) && TimeProvider.System.GetUtcNow() - new DateTimeOffset(File.GetLastWriteTimeUtc(path)) > Abandoned;

        public bool Contains(in ChunkId id) => _rows.ContainsKey(id);

        public void Add(in ChunkId id, ReadOnlySpan<byte> page)
        {
            _file.Write(page);
            _rows[id] = (Length, page.Length);
            Length += page.Length;
        }

        /// <summary>Makes what was added a file; nothing more can be added.</summary>
        public void Finish()
        {
            if (_isFinished)
            {
                return;
            }

            Span<byte> row = stackalloc byte[RowSize];
            foreach ((ChunkId id, (long offset, int length)) in _rows.OrderBy(static row => row.Key))
            {
                id.Write(row);
                BinaryPrimitives.WriteUInt64LittleEndian(row[ChunkId.Size..], (ulong)offset);
                BinaryPrimitives.WriteUInt32LittleEndian(row[(ChunkId.Size + 8)..], (uint)length);
                _file.Write(row);
            }

            Span<byte> trailer = stackalloc byte[TrailerSize];
            BinaryPrimitives.WriteUInt64LittleEndian(trailer, (ulong)Length);
            BinaryPrimitives.WriteUInt32LittleEndian(trailer[8..], (uint)_rows.Count);
            Mark.CopyTo(trailer[12..]);
            _file.Write(trailer);
            _file.Dispose();
            File.Move(_path + Unfinished, _path);
            _isFinished = true;
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            _file.Dispose();
            if (!_isFinished)
            {
                File.Delete(_path + Unfinished);
            }
        }
    }
}
