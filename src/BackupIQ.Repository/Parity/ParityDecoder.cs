using BackupIQ.Repository.Hashing;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Parity;

/// <summary>What came of mending an object by its parity.</summary>
/// <param name="IsWhole">The bytes are now those that the parity was made of.</param>
/// <param name="DamagedBlocks">Blocks of the object that were damaged or missing.</param>
/// <param name="LostBlocks">Those of them that could not be made again: too many in one column.</param>
internal readonly record struct ParityMending(bool IsWhole, int DamagedBlocks, int LostBlocks);

/// <summary>Makes damaged blocks of an object again out of its parity.</summary>
internal static class ParityDecoder
{
    /// <summary>
    /// Mends a copy of a damaged object in place, as far as can be: columns with too much damage stay as they are. A copy that is too long or
    /// too short is given its size first.
    /// </summary>
    /// <param name="copy">The copy, open for reading and writing.</param>
    /// <param name="parity">The parity object, open for reading; its blocks may be damaged, too.</param>
    /// <param name="head">The head of the parity object.</param>
    public static ParityMending Mend(SafeFileHandle copy, SafeFileHandle parity, ParityHead head, CancellationToken cancellationToken)
    {
        ParityLayout layout = head.Layout;
        if (RandomAccess.GetLength(copy) != layout.Size)
        {
            RandomAccess.SetLength(copy, layout.Size);
        }

        Column column = new(copy, parity, head);
        List<int>[] damaged = FindDamage(copy, head, cancellationToken);
        int count = 0;
        int lost = 0;
        for (int c = 0; c < damaged.Length; c++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            count += damaged[c].Count;
            if (damaged[c].Count > 0 && !column.TryMend(c, damaged[c]))
            {
                lost += damaged[c].Count;
            }
        }

        return new ParityMending(lost == 0 && HashOf(copy, layout.Size) == head.Hash, count, lost);
    }

    /// <summary>Reads the head of a parity object from whichever end has it whole; null where neither does.</summary>
    public static ParityHead? ReadHead(SafeFileHandle parity)
    {
        long length = RandomAccess.GetLength(parity);
        byte[] peek = new byte[16];
        int size = RandomAccess.Read(parity, peek, 0) == 16 ? ParityHead.PeekSizeAtStart(peek) : 0;
        if (size > 0 && size <= length && ReadHead(parity, 0, size) is { } first)
        {
            return first;
        }

        size = length >= 8 && RandomAccess.Read(parity, peek.AsSpan(0, 8), length - 8) == 8 ? ParityHead.PeekSizeAtEnd(peek.AsSpan(0, 8)) : 0;
        return size > 0 && size <= length ? ReadHead(parity, length - size, size) : null;
    }

    /// <summary>Whether both heads and all blocks of a parity object are what was put.</summary>
    public static bool IsWhole(SafeFileHandle parity, CancellationToken cancellationToken)
    {
        long length = RandomAccess.GetLength(parity);
        if (ReadHead(parity) is not { } head || length != ParityHead.ObjectSizeFor(head.Layout))
        {
            return false;
        }

        // Byte by byte: a head is read also where what finds it from its end is damaged.
        byte[] whole = head.ToBytes();
        byte[] stored = new byte[whole.Length];
        foreach (long at in (long[])[0, length - whole.Length])
        {
            ReadBlock(parity, at, stored);
            if (!stored.AsSpan().SequenceEqual(whole))
            {
                return false;
            }
        }

        byte[] block = new byte[head.Layout.BlockSize];
        for (int b = 0; b < head.Layout.ParityBlocks; b++)
        {
            if (b % 1024 == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            ReadBlock(parity, head.Size + ((long)b * block.Length), block);
            if (Crc32C.Of(block) != head.ParityChecksums[b])
            {
                return false;
            }
        }

        return true;
    }

    private static ParityHead? ReadHead(SafeFileHandle parity, long offset, int size)
    {
        byte[] bytes = new byte[size];
        return RandomAccess.Read(parity, bytes, offset) == size ? ParityHead.Read(bytes) : null;
    }

    private static List<int>[] FindDamage(SafeFileHandle copy, ParityHead head, CancellationToken cancellationToken)
    {
        ParityLayout layout = head.Layout;
        List<int>[] damaged = new List<int>[layout.Columns];
        for (int c = 0; c < damaged.Length; c++)
        {
            damaged[c] = [];
        }

        byte[] block = new byte[layout.BlockSize];
        for (int b = 0; b < layout.DataBlocks; b++)
        {
            if (b % 1024 == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            ReadBlock(copy, (long)b * layout.BlockSize, block);
            if (Crc32C.Of(block) != head.DataChecksums[b])
            {
                damaged[b % layout.Columns].Add(b / layout.Columns);
            }
        }

        return damaged;
    }

    private static void ReadBlock(SafeFileHandle file, long offset, Span<byte> block)
    {
        int read = 0;
        int now;
        while (read < block.Length && (now = RandomAccess.Read(file, block[read..], offset + read)) > 0)
        {
            read += now;
        }

        block[read..].Clear();
    }

    private static PackId HashOf(SafeFileHandle copy, long size)
    {
        Blake3Hasher hasher = new();
        byte[] buffer = GC.AllocateUninitializedArray<byte>(1 << 20);
        for (long offset = 0; offset < size; offset += buffer.Length)
        {
            Span<byte> part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, size - offset));
            ReadBlock(copy, offset, part);
            hasher.Update(part);
        }

        Span<byte> digest = stackalloc byte[PackId.Size];
        hasher.Finish(digest);
        return PackId.Read(digest);
    }

    /// <summary>Mends one column after the other, with buffers of its own; neighbours mostly lack the same shards.</summary>
    private sealed class Column(SafeFileHandle copy, SafeFileHandle parity, ParityHead head)
    {
        private readonly ParityLayout _layout = head.Layout;
        private readonly byte[] _block = new byte[head.Layout.BlockSize];
        private byte[] _lacking = [];
        private int[] _lost = [];
        private int[] _parities = [];
        private byte[] _matrix = [];

        public bool TryMend(int column, List<int> lost)
        {
            int size = _layout.BlockSize;
            List<int> parities = [];
            if (_lacking.Length < lost.Count * size)
            {
                _lacking = new byte[lost.Count * size];
            }

            for (int p = 0; p < _layout.ParityShards && parities.Count < lost.Count; p++)
            {
                Span<byte> block = _lacking.AsSpan(parities.Count * size, size);
                ReadBlock(parity, head.Size + ((((long)p * _layout.Columns) + column) * size), block);
                if (Crc32C.Of(block) == head.ParityChecksums[(p * _layout.Columns) + column])
                {
                    parities.Add(p);
                }
            }

            if (parities.Count < lost.Count)
            {
                return false;
            }

            // What is left of a parity once all that is there has been taken out of it.
            for (int d = 0, l = 0; d < _layout.DataShards; d++)
            {
                if (l < lost.Count && lost[l] == d)
                {
                    l++;
                    continue;
                }

                int number = (d * _layout.Columns) + column;
                if (number < _layout.DataBlocks)
                {
                    ReadBlock(copy, (long)number * size, _block);
                    for (int p = 0; p < parities.Count; p++)
                    {
                        GaloisKernel.MultiplyAdd(_block, ReedSolomon.Coefficient(parities[p], d), _lacking.AsSpan(p * size, size));
                    }
                }
            }

            return Write(column, lost, parities);
        }

        private bool Write(int column, List<int> lost, List<int> parities)
        {
            if (!lost.SequenceEqual(_lost) || !parities.SequenceEqual(_parities))
            {
                _lost = [.. lost];
                _parities = [.. parities];
                _matrix = ReedSolomon.Solve(_lost, _parities);
            }

            int size = _layout.BlockSize;
            bool isWhole = true;
            for (int l = 0; l < lost.Count; l++)
            {
                _block.AsSpan().Clear();
                for (int p = 0; p < parities.Count; p++)
                {
                    GaloisKernel.MultiplyAdd(_lacking.AsSpan(p * size, size), _matrix[(l * lost.Count) + p], _block);
                }

                int number = (lost[l] * _layout.Columns) + column;
                long offset = (long)number * size;
                if (Crc32C.Of(_block) == head.DataChecksums[number])
                {
                    RandomAccess.Write(copy, _block.AsSpan(0, (int)Math.Min(size, _layout.Size - offset)), offset);
                }
                else
                {
                    isWhole = false;
                }
            }

            return isWhole;
        }
    }
}
