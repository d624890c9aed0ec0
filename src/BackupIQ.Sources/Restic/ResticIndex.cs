using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace BackupIQ.Sources.Restic;

/// <summary>Where a blob lies.</summary>
/// <param name="Pack">The number of its pack in the index.</param>
/// <param name="Offset">Where its sealed bytes begin in the pack.</param>
/// <param name="Length">How many they are.</param>
/// <param name="PlainLength">How long it is itself.</param>
/// <param name="IsCompressed">Whether zstd frames were sealed instead of the blob itself.</param>
internal readonly record struct ResticBlob(int Pack, uint Offset, uint Length, uint PlainLength, bool IsCompressed);

/// <summary>
/// Which blobs a restic repository has, and where: some 60 bytes of memory for each. A blob that lies in several packs is remembered up to four
/// times, so that another copy is at hand where one is damaged. Filled by one thread, then read by any.
/// </summary>
internal sealed class ResticIndex
{
    /// <summary>Copies beyond these help nobody, and a hostile index must not make lookups slow.</summary>
    private const int MaxCopies = 4;

    private const int PageBits = 14;
    private const int PageSize = 1 << PageBits;

    private readonly List<Entry[]> _pages = [];
    private readonly List<ResticId> _packs = [];
    private readonly Dictionary<ResticId, int> _packNumbers = [];
    private int[] _table = new int[1 << 10];
    private int _count;

    /// <summary>Blobs, copies among them.</summary>
    public int Count => _count;

    /// <summary>Bytes of memory that it holds on to, but for what it remembers of packs.</summary>
    public long MemorySize => ((long)_pages.Count * PageSize * Unsafe.SizeOf<Entry>()) + ((long)_table.Length * sizeof(int));

    /// <summary>The packs that are known, in the order of their numbers.</summary>
    public IReadOnlyList<ResticId> Packs => _packs;

    /// <summary>Whether the pack is known.</summary>
    public bool HasPack(ResticId pack) => _packNumbers.ContainsKey(pack);

    /// <summary>Adds what a decrypted index file names.</summary>
    /// <exception cref="ResticDamageException">It is no index. What stood before the place where that shows is added.</exception>
    public void AddFile(ReadOnlySpan<byte> json)
    {
        try
        {
            Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = 32 });
            Require(reader.Read() && reader.TokenType == JsonTokenType.StartObject);
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isPacks = reader.ValueTextEquals("packs"u8);
                reader.Read();
                if (!isPacks || reader.TokenType == JsonTokenType.Null)
                {
                    reader.Skip();
                    continue;
                }

                Require(reader.TokenType == JsonTokenType.StartArray);
                while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
                {
                    ReadPack(ref reader);
                }

                Require(reader.TokenType == JsonTokenType.EndArray);
            }

            Require(reader.TokenType == JsonTokenType.EndObject);
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException)
        {
            throw new ResticDamageException("An index of the restic repository is malformed.", e);
        }
    }

    /// <summary>Adds what the decrypted header of a pack names.</summary>
    /// <param name="pack">The pack.</param>
    /// <param name="header">Its header.</param>
    /// <param name="dataLength">Bytes of the pack before the header.</param>
    /// <exception cref="ResticDamageException">It is no header of such a pack; then nothing of it is added.</exception>
    public void AddHeader(ResticId pack, ReadOnlySpan<byte> header, long dataLength)
    {
        List<(ResticId Id, bool IsTree, ResticBlob Blob)> blobs = [];
        long offset = 0;
        while (!header.IsEmpty)
        {
            byte kind = header[0];
            bool isCompressed = kind is 2 or 3;
            int size = 1 + 4 + (isCompressed ? 4 : 0) + ResticId.Size;
            if (kind > 3 || header.Length < size)
            {
                throw MalformedHeader(pack);
            }

            uint length = BinaryPrimitives.ReadUInt32LittleEndian(header[1..]);
            uint plain = isCompressed ? BinaryPrimitives.ReadUInt32LittleEndian(header[5..]) : length - ResticKey.Overhead;
            if (length < ResticKey.Overhead || offset + length > Math.Min(dataLength, uint.MaxValue))
            {
                throw MalformedHeader(pack);
            }

            blobs.Add((ResticId.Read(header[(size - ResticId.Size)..]), kind is 1 or 3, new ResticBlob(0, (uint)offset, length, plain, isCompressed)));
            offset += length;
            header = header[size..];
        }

        int number = PackNumber(pack);
        foreach ((ResticId id, bool isTree, ResticBlob blob) in blobs)
        {
            Add(id, isTree, blob with { Pack = number });
        }
    }

    /// <summary>The <paramref name="copy"/>th place of a blob, counted from 0; false where there is none.</summary>
    public bool TryFind(ResticId id, bool isTree, int copy, out ResticBlob blob)
    {
        int mask = _table.Length - 1;
        for (int slot = Slot(id, mask); _table[slot] != 0; slot = (slot + 1) & mask)
        {
            ref Entry entry = ref At(_table[slot] - 1);
            if (entry.Id == id && entry.IsTree == isTree && copy-- == 0)
            {
                blob = new ResticBlob(entry.Pack, entry.Offset, entry.Length, entry.Plain, entry.IsCompressed);
                return true;
            }
        }

        blob = default;
        return false;
    }

    private static ResticDamageException MalformedHeader(ResticId pack) => new($"The header of pack {pack.Short} of the restic repository is malformed.");

    private static void Require(bool isSo)
    {
        if (!isSo)
        {
            throw new JsonException("The document has another shape.");
        }
    }

    private static int Slot(ResticId id, int mask) => id.GetHashCode() & mask;

    private void ReadPack(ref Utf8JsonReader reader)
    {
        ResticId? pack = null;
        List<(ResticId Id, bool IsTree, ResticBlob Blob)> blobs = [];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isId = reader.ValueTextEquals("id"u8);
            bool isBlobs = reader.ValueTextEquals("blobs"u8);
            reader.Read();
            if (isId)
            {
                pack = Id(ref reader);
            }
            else if (isBlobs && reader.TokenType != JsonTokenType.Null)
            {
                Require(reader.TokenType == JsonTokenType.StartArray);
                while (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
                {
                    blobs.Add(ReadBlob(ref reader));
                }
            }
            else
            {
                reader.Skip();
            }
        }

        int number = PackNumber(pack ?? throw new JsonException("A pack has no id."));
        foreach ((ResticId id, bool isTree, ResticBlob blob) in blobs)
        {
            Add(id, isTree, blob with { Pack = number });
        }
    }

    private static (ResticId Id, bool IsTree, ResticBlob Blob) ReadBlob(ref Utf8JsonReader reader)
    {
        ResticId? id = null;
        bool? isTree = null;
        uint offset = 0;
        uint length = 0;
        uint plain = 0;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("id"u8))
            {
                reader.Read();
                id = Id(ref reader);
            }
            else if (reader.ValueTextEquals("type"u8))
            {
                reader.Read();
                isTree = reader.ValueTextEquals("tree"u8) ? true : reader.ValueTextEquals("data"u8) ? false : null;
            }
            else if (reader.ValueTextEquals("offset"u8))
            {
                reader.Read();
                offset = reader.GetUInt32();
            }
            else if (reader.ValueTextEquals("length"u8))
            {
                reader.Read();
                length = reader.GetUInt32();
            }
            else if (reader.ValueTextEquals("uncompressed_length"u8))
            {
                reader.Read();
                plain = reader.GetUInt32();
            }
            else
            {
                reader.Skip();
            }
        }

        return id is { } found && isTree is { } kind && length >= ResticKey.Overhead
            ? (found, kind, new ResticBlob(0, offset, length, plain != 0 ? plain : length - ResticKey.Overhead, plain != 0))
            : throw new JsonException("A blob lacks what it must have.");
    }

    private static ResticId Id(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String && ResticId.TryParse(reader.ValueSpan, out ResticId id) ? id : throw new JsonException("An id is none.");

    private int PackNumber(ResticId pack)
    {
        if (!_packNumbers.TryGetValue(pack, out int number))
        {
            number = _packs.Count;
            _packs.Add(pack);
            _packNumbers.Add(pack, number);
        }

        return number;
    }

    private ref Entry At(int index) => ref _pages[index >> PageBits][index & (PageSize - 1)];

    private void Add(ResticId id, bool isTree, in ResticBlob blob)
    {
        if (_count >= _table.Length / 4 * 3)
        {
            Grow();
        }

        int mask = _table.Length - 1;
        int copies = 0;
        int slot = Slot(id, mask);
        for (; _table[slot] != 0; slot = (slot + 1) & mask)
        {
            ref Entry entry = ref At(_table[slot] - 1);
            if (entry.Id == id && entry.IsTree == isTree && (++copies == MaxCopies || (entry.Pack == blob.Pack && entry.Offset == blob.Offset)))
            {
                return;
            }
        }

        if ((_count & (PageSize - 1)) == 0)
        {
            _pages.Add(new Entry[PageSize]);
        }

        At(_count) = new Entry(id, blob.Offset, blob.Length, blob.PlainLength, blob.Pack, isTree, blob.IsCompressed);
        _table[slot] = ++_count;
    }

    private void Grow()
    {
        int[] table = new int[_table.Length * 2];
        int mask = table.Length - 1;
        for (int i = 0; i < _count; i++)
        {
            int slot = Slot(At(i).Id, mask);
            while (table[slot] != 0)
            {
                slot = (slot + 1) & mask;
            }

            table[slot] = i + 1;
        }

        _table = table;
    }

    private readonly struct Entry(ResticId id, uint offset, uint length, uint plain, int pack, bool isTree, bool isCompressed)
    {
        private readonly uint _packAndFlags = ((uint)pack << 2) | (isTree ? 2u : 0) | (isCompressed ? 1u : 0);

        public ResticId Id { get; } = id;

        public uint Offset { get; } = offset;

        public uint Length { get; } = length;

        public uint Plain { get; } = plain;

        public int Pack => (int)(_packAndFlags >> 2);

        public bool IsTree => (_packAndFlags & 2) != 0;

        public bool IsCompressed => (_packAndFlags & 1) != 0;
    }
}
