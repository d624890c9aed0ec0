using BackupIQ.Repository.Hashing;
using BackupIQ.Storage;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Parity;

/// <summary>
/// Makes parity objects: reads an object once, in order, and holds no more than its parity; where that would be more than
/// <see cref="MaxHeld"/> it is read in several passes. Not thread-safe; each worker has its own.
/// </summary>
internal sealed class ParityEncoder(IStorageBackend storage)
{
    // What is read at once; a whole number of blocks of any size.
    private const int ReadSize = 1 << 20;

    // A piece of data that stays in the processor's first cache while it is added to each parity.
    private const int PieceSize = 16 << 10;

    private readonly Blake3Hasher _hasher = new();
    private byte[] _data = [];
    private byte[] _parity = [];

    /// <summary>The most parity that is held in memory, in bytes.</summary>
    public int MaxHeld { get; init; } = 64 << 20;

    /// <summary>Bytes that were read, as they are.</summary>
    public Action<long> OnBytes { get; set; } = static _ => { };

    /// <summary>
    /// Writes the parity object of what lies under <paramref name="key"/> to <paramref name="target"/>; returns its head, whose hash tells
    /// whether the bytes read were those that the object should have.
    /// </summary>
    /// <exception cref="StorageException">The storage does not give the bytes.</exception>
    /// <exception cref="CorruptDataException">The object is shorter than it was.</exception>
    public async Task<ParityHead> EncodeAsync(StorageKey key, ParityLayout layout, SafeFileHandle target, CancellationToken cancellationToken)
    {
        if (_data.Length == 0)
        {
            _data = GC.AllocateUninitializedArray<byte>(ReadSize);
        }

        int shardBytes = layout.Columns * layout.BlockSize;
        int columnsAtOnce = Math.Clamp(MaxHeld / (layout.ParityShards * layout.BlockSize), 1, layout.Columns);
        bool isOnePass = columnsAtOnce == layout.Columns;
        uint[] checksums = new uint[layout.DataBlocks + layout.ParityBlocks];
        int headSize = ParityHead.SizeFor(layout);
        _hasher.Reset();
        if (!isOnePass)
        {
            await HashAsync(key, layout.Size, cancellationToken);
        }

        for (int first = 0; first < layout.Columns; first += columnsAtOnce)
        {
            int columns = Math.Min(columnsAtOnce, layout.Columns - first);
            int width = columns * layout.BlockSize;
            if (_parity.Length < layout.ParityShards * width)
            {
                _parity = GC.AllocateUninitializedArray<byte>(layout.ParityShards * width);
            }

            _parity.AsSpan(0, layout.ParityShards * width).Clear();
            for (int shard = 0; shard < layout.DataShards; shard++)
            {
                await AddShardAsync(key, layout, shard, first * layout.BlockSize, width, isOnePass, checksums, cancellationToken);
            }

            for (int p = 0; p < layout.ParityShards; p++)
            {
                ReadOnlySpan<byte> shard = _parity.AsSpan(p * width, width);
                for (int c = 0; c < columns; c++)
                {
                    checksums[layout.DataBlocks + (p * layout.Columns) + first + c] = Crc32C.Of(shard.Slice(c * layout.BlockSize, layout.BlockSize));
                }

                RandomAccess.Write(target, shard, headSize + ((long)p * shardBytes) + ((long)first * layout.BlockSize));
            }
        }

        byte[] digest = new byte[PackId.Size];
        _hasher.Finish(digest);
        ParityHead head = new(layout, PackId.Read(digest), checksums);
        byte[] bytes = head.ToBytes();
        RandomAccess.Write(target, bytes, 0);
        RandomAccess.Write(target, bytes, headSize + layout.ParityBytes);
        return head;
    }

    private async Task AddShardAsync(
        StorageKey key, ParityLayout layout, int shard, int from, int width, bool hash, uint[] checksums, CancellationToken cancellationToken)
    {
        long start = ((long)shard * layout.Columns * layout.BlockSize) + from;
        for (int done = 0; done < width; done += ReadSize)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int length = Math.Min(ReadSize, width - done);
            int there = (int)Math.Clamp(layout.Size - start - done, 0, length);
            if (there == 0)
            {
                return;
            }

            await ReadAsync(key, start + done, there, cancellationToken);
            if (hash)
            {
                _hasher.Update(_data.AsSpan(0, there));
            }

            // Behind the object's end are zeros, which add nothing; only the rest of its last block is to be seen by the checksum.
            int whole = (there + layout.BlockSize - 1) / layout.BlockSize * layout.BlockSize;
            _data.AsSpan(there, whole - there).Clear();
            AddPieces(layout, shard, width, done, whole, (int)((start + done) / layout.BlockSize), checksums);
        }
    }

    private void AddPieces(in ParityLayout layout, int shard, int width, int at, int length, int block, uint[] checksums)
    {
        int pieceSize = Math.Max(PieceSize, layout.BlockSize);
        for (int offset = 0; offset < length; offset += pieceSize)
        {
            ReadOnlySpan<byte> piece = _data.AsSpan(offset, Math.Min(pieceSize, length - offset));
            for (int b = 0; b < piece.Length; b += layout.BlockSize)
            {
                checksums[block++] = Crc32C.Of(piece.Slice(b, layout.BlockSize));
            }

            for (int p = 0; p < layout.ParityShards; p++)
            {
                GaloisKernel.MultiplyAdd(piece, ReedSolomon.Coefficient(p, shard), _parity.AsSpan((p * width) + at + offset, piece.Length));
            }
        }
    }

    private async Task HashAsync(StorageKey key, long size, CancellationToken cancellationToken)
    {
        for (long offset = 0; offset < size; offset += ReadSize)
        {
            int length = (int)Math.Min(ReadSize, size - offset);
            await ReadAsync(key, offset, length, cancellationToken);
            _hasher.Update(_data.AsSpan(0, length));
        }
    }

    private async Task ReadAsync(StorageKey key, long offset, int length, CancellationToken cancellationToken)
    {
        int read = await storage.ReadAsync(key, offset, _data.AsMemory(0, length), cancellationToken);
        if (read < length)
        {
            throw new CorruptDataException($"{key} is cut short.");
        }

        OnBytes(read);
    }
}
