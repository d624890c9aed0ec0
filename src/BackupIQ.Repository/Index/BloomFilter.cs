using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Index;

/// <summary>
/// A blocked Bloom filter: all bits of a key lie in one 64-byte block, so a look-up touches one cache line. About 10 bits a key give one
/// false answer in a hundred. Keys are the first 16 bytes of keyed hashes, uniform by themselves.
/// </summary>
internal sealed unsafe class BloomFilter : IDisposable
{
    private const int BlockWords = 8;
    private ulong* _bits;
    private readonly ulong _blocks;

    public BloomFilter(long capacity)
    {
        _blocks = Math.Max(1, (ulong)((capacity * 10) + 511) / 512);
        _bits = (ulong*)NativeMemory.AlignedAlloc((nuint)(_blocks * BlockWords * 8), 64);
        NativeMemory.Clear(_bits, (nuint)(_blocks * BlockWords * 8));
    }

    public void Add(UInt128 key)
    {
        ulong* block = BlockOf(key, out uint bits);
        for (int i = 0; i < 6; i++, bits = (bits * 0x9E3779B1) + 0x7F4A7C15)
        {
            block[bits >> 29] |= 1UL << (int)((bits >> 23) & 63);
        }
    }

    public bool MayContain(UInt128 key)
    {
        ulong* block = BlockOf(key, out uint bits);
        for (int i = 0; i < 6; i++, bits = (bits * 0x9E3779B1) + 0x7F4A7C15)
        {
            if ((block[bits >> 29] & (1UL << (int)((bits >> 23) & 63))) == 0)
            {
                return false;
            }
        }

        return true;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_bits);
        _bits = null;
    }

    private ulong* BlockOf(UInt128 key, out uint bits)
    {
        ulong low = (ulong)key;
        bits = (uint)(low >> 32) | 1;
        return _bits + (Math.BigMul((ulong)(key >> 64), _blocks, out _) * BlockWords);
    }
}
