namespace BackupIQ.Repository.Parity;

/// <summary>
/// How an object is cut for its parity: into blocks of <see cref="BlockSize"/> bytes, numbered in order, of which <see cref="Columns"/> one
/// after the other make a shard. Block c of every shard, data and parity, make a column, and each column is a code word by itself: a run of
/// damage as long as all parity shards together hits every column as often as it can bear, and so may many short ones.
/// </summary>
/// <param name="Size">Bytes of the object.</param>
/// <param name="BlockSize">Bytes of a block, a power of two. What lies behind the object's end counts as zero.</param>
/// <param name="Columns">Blocks in a shard.</param>
/// <param name="DataShards">Shards that the object fills.</param>
/// <param name="ParityShards">Shards of parity: so many blocks of each column may be lost.</param>
internal readonly record struct ParityLayout(long Size, int BlockSize, int Columns, int DataShards, int ParityShards)
{
    /// <summary>The largest object that has parity: what a pack may have.</summary>
    public const long MaxSize = 1L << 32;

    public const int MinBlockSize = 512;
    public const int MaxBlockSize = 1 << 20;

    // A disk's sector; smaller objects have smaller blocks, so that a single block is no large part of them.
    private const int UsualBlockSize = 4096;
    private const long SmallObject = 1 << 20;

    /// <summary>Blocks that hold bytes of the object.</summary>
    public int DataBlocks => (int)((Size + BlockSize - 1) / BlockSize);

    public int ParityBlocks => ParityShards * Columns;

    public long ParityBytes => (long)ParityBlocks * BlockSize;

    /// <summary>The cut for an object of <paramref name="size"/> bytes with <paramref name="percent"/> (1 to 100) of parity.</summary>
    public static ParityLayout For(long size, int percent)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(size, MaxSize);
        ArgumentOutOfRangeException.ThrowIfLessThan(percent, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(percent, 100);
        int blockSize = size < SmallObject ? MinBlockSize : UsualBlockSize;
        int blocks = (int)((size + blockSize - 1) / blockSize);
        int most = ReedSolomon.MaxShards - 1;
        while (most + Share(most, percent) > ReedSolomon.MaxShards)
        {
            most--;
        }

        int columns = (blocks + most - 1) / most;
        int data = (blocks + columns - 1) / columns;
        return new ParityLayout(size, blockSize, columns, data, Share(data, percent));
    }

    /// <summary>Whether these numbers fit each other; to be asked of what comes from outside.</summary>
    public bool IsPlausible() =>
        Size is > 0 and <= MaxSize &&
        BlockSize is >= MinBlockSize and <= MaxBlockSize && (BlockSize & (BlockSize - 1)) == 0 &&
        DataShards > 0 && ParityShards > 0 && DataShards + ParityShards <= ReedSolomon.MaxShards &&
        Columns > 0 && Columns <= MaxSize / MinBlockSize &&
        (long)DataShards * Columns >= DataBlocks && (long)(DataShards - 1) * Columns < DataBlocks;

    private static int Share(int data, int percent) => (data * percent + 99) / 100;
}
