using System.Security.Cryptography;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Benchmarks;

/// <summary>BLAKE3 by path and size, with SHA-256 beside it.</summary>
internal static class HashingBenchmark
{
    public static void Run(Stopclock clock)
    {
        byte[] data = TestBytes.Make(16 << 20, 2);
        byte[] digest = new byte[32];
        foreach (Blake3Path path in Enum.GetValues<Blake3Path>())
        {
            if (!Blake3Paths.IsSupported(path))
            {
                clock.Section($"BLAKE3, {path}: not on this processor");
                continue;
            }

            clock.Section($"BLAKE3, {path}");
            foreach (int size in (int[])[64, 1 << 10, 2 << 10, 3 << 10, 4 << 10, 5700, 8 << 10, 15 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20])
            {
                clock.Measure($"{size} bytes at once", size, () => Blake3.Hash(path, data.AsSpan(0, size), digest));
            }

            Blake3Hasher hasher = Blake3Hasher.Create(path);
            foreach (int piece in (int[])[4 << 10, 64 << 10, 1 << 20])
            {
                clock.Measure($"1 MiB in pieces of {piece} bytes", 1 << 20, () =>
                {
                    hasher.Reset();
                    for (int i = 0; i < 1 << 20; i += piece)
                    {
                        hasher.Update(data.AsSpan(i, piece));
                    }

                    hasher.Finish(digest);
                });
            }
        }

        clock.Section("SHA-256, for comparison");
        clock.Measure("1 MiB at once", 1 << 20, () => SHA256.HashData(data.AsSpan(0, 1 << 20), digest));
    }
}
