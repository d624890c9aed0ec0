using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>
/// BLAKE3 of input that comes in pieces. Allocates when it is made and never again: <see cref="Reset"/> makes it ready for the next
/// input. Pieces of 8 KiB and more are hashed many chunks side by side. Not for several threads at once.
/// </summary>
public sealed unsafe class Blake3Hasher
{
    // 2^54 chunks make the 2^64 bytes that the format allows. One value more may wait to be merged, and a subtree adds two.
    private const int StackDepth = 54 + 2;

    private readonly Blake3Path _path;
    private readonly uint _flags;
    private readonly uint[] _key = new uint[KeyWords];

    // Chaining values of complete subtrees, the largest first. They are merged when the next one comes, since until then the last of
    // them may turn out to be a child of the root.
    private readonly byte[] _stack = new byte[StackDepth * DigestSize];
    private int _stackCount;

    // The chunk that is being filled: its chaining value, and its last block, which waits until it is known not to be the last.
    private readonly uint[] _chunkCv = new uint[KeyWords];
    private readonly byte[] _block = new byte[BlockSize];
    private int _blockLength;
    private int _blocksDone;
    private ulong _chunk;

    /// <summary>A hasher for plain digests.</summary>
    public Blake3Hasher()
        : this(Blake3Paths.Best, Iv, 0)
    {
    }

    private Blake3Hasher(Blake3Path path, ReadOnlySpan<uint> key, uint flags)
    {
        _path = path;
        _flags = flags;
        key.CopyTo(_key);
        Reset();
    }

    private int ChunkLength => BlockSize * _blocksDone + _blockLength;

    /// <summary>A hasher under a key of 32 bytes, which is copied.</summary>
    /// <exception cref="ArgumentException">The key does not have 32 bytes.</exception>
    public static Blake3Hasher CreateKeyed(ReadOnlySpan<byte> key32) => CreateKeyed(Blake3Paths.Best, key32);

    /// <summary>A hasher that derives a key from the material that it is fed; see <see cref="Blake3.DeriveKey(ReadOnlySpan{byte}, ReadOnlySpan{byte}, Span{byte})"/>.</summary>
    public static Blake3Hasher CreateDeriveKey(ReadOnlySpan<byte> context) => CreateDeriveKey(Blake3Paths.Best, context);

    /// <summary>Adds a piece of input; the hasher keeps no reference to it.</summary>
    public void Update(ReadOnlySpan<byte> data)
    {
        fixed (byte* input = &MemoryMarshal.GetReference(data))
        fixed (uint* key = _key)
        {
            Update(input, data.Length, key);
        }
    }

    /// <summary>
    /// Writes the digest of what was fed so far, as many bytes as <paramref name="digest"/> has room for. The state stays as it is:
    /// more can be fed, and the digest taken again.
    /// </summary>
    [SkipLocalsInit]
    public void Finish(Span<byte> digest)
    {
        uint* cv = stackalloc uint[KeyWords];
        byte* block = stackalloc byte[BlockSize];
        fixed (byte* output = &MemoryMarshal.GetReference(digest))
        fixed (uint* key = _key, chunkCv = _chunkCv)
        fixed (byte* stack = _stack, lastBlock = _block)
        {
            // The node on the right edge, from the chunk up to the root: its key, block and flags, compressed once they are known to
            // have a parent.
            int left = _stackCount;
            uint length;
            uint flags;
            if (left == 0 || ChunkLength > 0)
            {
                Unsafe.CopyBlockUnaligned(cv, chunkCv, DigestSize);
                Blake3Tree.Pad(block, lastBlock, _blockLength);
                length = (uint)_blockLength;
                flags = _flags | ChunkEnd | (_blocksDone == 0 ? ChunkStart : 0);
            }
            else
            {
                left -= 2;
                Unsafe.CopyBlockUnaligned(cv, key, DigestSize);
                Unsafe.CopyBlockUnaligned(block, stack + DigestSize * left, BlockSize);
                length = BlockSize;
                flags = _flags | Parent;
            }

            ulong counter = (flags & Parent) != 0 ? 0 : _chunk;
            while (left > 0)
            {
                left--;
                Blake3Tree.RunBlocks(_path, cv, null, 1, block, length, counter, flags, 0, 0);
                Unsafe.CopyBlockUnaligned(block + DigestSize, cv, DigestSize);
                Unsafe.CopyBlockUnaligned(block, stack + DigestSize * left, DigestSize);
                Unsafe.CopyBlockUnaligned(cv, key, DigestSize);
                length = BlockSize;
                flags = _flags | Parent;
                counter = 0;
            }

            Blake3Tree.FinishRoot(_path, cv, block, length, 0, flags, output, (nuint)digest.Length);
        }
    }

    /// <summary>Forgets the input, so that the next one can be fed; key and mode stay.</summary>
    public void Reset()
    {
        _stackCount = 0;
        _chunk = 0;
        StartChunk();
    }

    internal static Blake3Hasher Create(Blake3Path path) => new(path, Iv, 0);

    internal static Blake3Hasher CreateKeyed(Blake3Path path, ReadOnlySpan<byte> key32)
    {
        Blake3.CheckKey(key32);
        return new Blake3Hasher(path, MemoryMarshal.Cast<byte, uint>(key32), KeyedHash);
    }

    [SkipLocalsInit]
    internal static Blake3Hasher CreateDeriveKey(Blake3Path path, ReadOnlySpan<byte> context)
    {
        Span<uint> contextKey = stackalloc uint[KeyWords];
        fixed (uint* iv = Iv, output = contextKey)
        fixed (byte* input = &MemoryMarshal.GetReference(context))
        {
            Blake3Tree.Hash(path, input, (nuint)context.Length, iv, DeriveKeyContext, (byte*)output, DigestSize);
        }

        return new Blake3Hasher(path, contextKey, DeriveKeyMaterial);
    }

    [SkipLocalsInit]
    private void Update(byte* input, int size, uint* key)
    {
        byte* pair = stackalloc byte[2 * DigestSize];
        if (ChunkLength > 0)
        {
            int part = Math.Min(size, ChunkSize - ChunkLength);
            FillChunk(input, part);
            input += part;
            size -= part;
            if (size == 0)
            {
                return;
            }

            EndChunk(key);
        }

        // Whole subtrees straight from the input. A single chunk waits, since it may be the root; of two or more chunks it is known
        // that they are not, and their top parent is left to be merged later.
        while (size > ChunkSize)
        {
            int subtree = 1 << BitOperations.Log2((uint)size);
            if (_chunk != 0)
            {
                // A subtree is complete only where its number of chunks divides those before it.
                subtree = (int)Math.Min((ulong)subtree, ChunkSize * (_chunk & (~_chunk + 1)));
            }

            if (subtree == ChunkSize)
            {
                Blake3Tree.HashChunk(_path, input, ChunkSize, key, _chunk, _flags, pair);
                Push(pair, _chunk, key);
            }
            else
            {
                Blake3Tree.HashSubtreeToPair(_path, input, (nuint)subtree, key, _chunk, _flags, pair);
                Push(pair, _chunk, key);
                Push(pair + DigestSize, _chunk + (ulong)(subtree / (2 * ChunkSize)), key);
            }

            _chunk += (ulong)(subtree / ChunkSize);
            input += subtree;
            size -= subtree;
        }

        if (size > 0)
        {
            Merge(_chunk, key);
            FillChunk(input, size);
        }
    }

    /// <summary>Adds to the current chunk what fits; its last block is not compressed.</summary>
    private void FillChunk(byte* input, int size)
    {
        fixed (uint* cv = _chunkCv)
        fixed (byte* block = _block)
        {
            if (_blockLength > 0)
            {
                int part = Math.Min(size, BlockSize - _blockLength);
                Unsafe.CopyBlockUnaligned(block + _blockLength, input, (uint)part);
                _blockLength += part;
                input += part;
                size -= part;
                if (size == 0)
                {
                    return;
                }

                Blake3Tree.RunBlocks(_path, cv, null, 1, block, BlockSize, _chunk, _flags, _blocksDone == 0 ? ChunkStart : 0, 0);
                _blocksDone++;
            }

            int blocks = (size - 1) / BlockSize;
            if (blocks > 0)
            {
                Blake3Tree.RunBlocks(
                    _path, cv, input, blocks, input + BlockSize * (blocks - 1), BlockSize, _chunk, _flags, _blocksDone == 0 ? ChunkStart : 0, 0);
                _blocksDone += blocks;
                input += BlockSize * blocks;
                size -= BlockSize * blocks;
            }

            Unsafe.CopyBlockUnaligned(block, input, (uint)size);
            _blockLength = size;
        }
    }

    /// <summary>The current chunk is full and not the last: its chaining value goes to the stack.</summary>
    private void EndChunk(uint* key)
    {
        fixed (uint* cv = _chunkCv)
        fixed (byte* block = _block)
        {
            Blake3Tree.RunBlocks(_path, cv, null, 1, block, BlockSize, _chunk, _flags, 0, ChunkEnd);
            Push((byte*)cv, _chunk, key);
        }

        _chunk++;
        StartChunk();
    }

    private void StartChunk()
    {
        _key.CopyTo(_chunkCv.AsSpan());
        _blockLength = 0;
        _blocksDone = 0;
    }

    private void Push(byte* cv, ulong chunksBefore, uint* key)
    {
        Merge(chunksBefore, key);
        new ReadOnlySpan<byte>(cv, DigestSize).CopyTo(_stack.AsSpan(DigestSize * _stackCount));
        _stackCount++;
    }

    /// <summary>
    /// Merges the stack down to the one value for each set bit of the number of chunks that it stands for, which is right when more
    /// input is known to follow.
    /// </summary>
    private void Merge(ulong chunks, uint* key)
    {
        int wanted = BitOperations.PopCount(chunks);
        fixed (byte* stack = _stack)
        {
            uint* cv = stackalloc uint[KeyWords];
            while (_stackCount > wanted)
            {
                byte* children = stack + DigestSize * (_stackCount - 2);
                Unsafe.CopyBlockUnaligned(cv, key, DigestSize);
                Blake3Tree.RunBlocks(_path, cv, null, 1, children, BlockSize, 0, _flags | Parent, 0, 0);
                Unsafe.CopyBlockUnaligned(children, cv, DigestSize);
                _stackCount--;
            }
        }
    }
}
