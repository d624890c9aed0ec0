using System.Buffers.Binary;
using System.Text;

namespace BackupIQ.Repository.Logs;

/// <summary>
/// Heads of a series of logs as they were read, sealed, in files of the local cache: who looks at a whole log asks for each head once. What is found is opened by
/// its seal like what comes from the storage, and is only taken for an object of the same name, size and time. Without the cache each is asked for again.
/// Thread-safe.
/// </summary>
internal sealed class LogHeadCache(string folder)
{
    // So much of the name of a file is that of the file in which its head is kept: 256 segments of PostgreSQL each.
    private const int ShardLength = 22;
    private const int FixedSize = 24;

    // A few hundred heads of a few hundred bytes; larger is none of ours.
    private const int LargestShard = 32 << 20;

    private readonly Dictionary<string, Shard> _shards = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();

    private static ReadOnlySpan<byte> Magic => "BIQH\x01"u8;

    /// <summary>The first bytes of the object as they were read; null: it is not known.</summary>
    public byte[]? Find(LogFile file)
    {
        lock (_gate)
        {
            return ShardOf(file).Heads.TryGetValue(file.Name, out Head head) && head.Size == file.Stored.Size && head.Ticks == file.Stored.StoredAt.UtcTicks ? head.Bytes : null;
        }
    }

    /// <summary>Remembers them.</summary>
    public void Note(LogFile file, byte[] bytes)
    {
        lock (_gate)
        {
            Shard shard = ShardOf(file);
            shard.Heads[file.Name] = new Head(file.Stored.Size, file.Stored.StoredAt.UtcTicks, bytes);
            shard.IsChanged = true;
        }
    }

    /// <summary>Writes what is new. Where that cannot be done it is asked for again.</summary>
    public void Save()
    {
        lock (_gate)
        {
            foreach ((string name, Shard shard) in _shards.Where(static one => one.Value.IsChanged))
            {
                try
                {
                    Directory.CreateDirectory(folder);
                    string path = Path.Combine(folder, name);
                    string temporary = $"{path}.{Guid.NewGuid():n}";
                    File.WriteAllBytes(temporary, Write(shard.Heads));
                    File.Move(temporary, path, overwrite: true);
                    shard.IsChanged = false;
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // As without a cache.
                }
            }
        }
    }

    private Shard ShardOf(LogFile file)
    {
        string name = $"{file.Group}-{file.Name[..Math.Min(ShardLength, file.Name.Length)]}";
        if (!_shards.TryGetValue(name, out Shard? shard))
        {
            _shards[name] = shard = new Shard(Load(Path.Combine(folder, name)));
        }

        return shard;
    }

    private static Dictionary<string, Head> Load(string path)
    {
        try
        {
            return File.Exists(path) && new FileInfo(path).Length <= LargestShard ? Read(File.ReadAllBytes(path)) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // BIQH 1; then for each length of its name u32, of its bytes u32, size i64, ticks i64, the name, the bytes. Little-endian.
    private static byte[] Write(Dictionary<string, Head> heads)
    {
        using MemoryStream to = new();
        to.Write(Magic);
        Span<byte> numbers = stackalloc byte[FixedSize];
        foreach ((string name, Head head) in heads)
        {
            byte[] text = Encoding.UTF8.GetBytes(name);
            BinaryPrimitives.WriteInt32LittleEndian(numbers, text.Length);
            BinaryPrimitives.WriteInt32LittleEndian(numbers[4..], head.Bytes.Length);
            BinaryPrimitives.WriteInt64LittleEndian(numbers[8..], head.Size);
            BinaryPrimitives.WriteInt64LittleEndian(numbers[16..], head.Ticks);
            to.Write(numbers);
            to.Write(text);
            to.Write(head.Bytes);
        }

        return to.ToArray();
    }

    // What is cut short or was changed ends it: the rest is asked for again.
    private static Dictionary<string, Head> Read(ReadOnlySpan<byte> from)
    {
        Dictionary<string, Head> heads = new(StringComparer.Ordinal);
        if (!from.StartsWith(Magic))
        {
            return heads;
        }

        from = from[Magic.Length..];
        while (from.Length >= FixedSize)
        {
            int name = BinaryPrimitives.ReadInt32LittleEndian(from);
            int bytes = BinaryPrimitives.ReadInt32LittleEndian(from[4..]);
            if (name is <= 0 or > 200 || bytes is <= 0 or > (1 << 20) || from.Length - FixedSize < name + bytes)
            {
                break;
            }

            heads[Encoding.UTF8.GetString(from.Slice(FixedSize, name))] = new Head(
                BinaryPrimitives.ReadInt64LittleEndian(from[8..]), BinaryPrimitives.ReadInt64LittleEndian(from[16..]), from.Slice(FixedSize + name, bytes).ToArray());
            from = from[(FixedSize + name + bytes)..];
        }

        return heads;
    }

    private readonly record struct Head(long Size, long Ticks, byte[] Bytes);

    private sealed class Shard(Dictionary<string, Head> heads)
    {
        public Dictionary<string, Head> Heads { get; } = heads;

        public bool IsChanged { get; set; }
    }
}
