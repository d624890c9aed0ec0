using System.Diagnostics;
using System.Security.Cryptography;
using BackupIQ.Repository.Chunking;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Jobs.Measuring;

/// <summary>How fast one core of this machine does a step of a backup.</summary>
/// <param name="Stage">The step.</param>
/// <param name="Rate">Bytes per second; the best of several rounds.</param>
public sealed record StageMeasure(string Stage, double Rate);

/// <summary>Measures the steps of a backup that every byte goes through, but for compression (<see cref="CompressionBench"/>).</summary>
public static class StageBench
{
    private const int Length = 16 << 20;
    private const int Rounds = 5;

    /// <summary>Measures chunking, hashing and sealing on random bytes.</summary>
    public static IEnumerable<StageMeasure> Run(CancellationToken cancellationToken)
    {
        byte[] data = RandomNumberGenerator.GetBytes(Length);
        byte[] key = RandomNumberGenerator.GetBytes(Blake3.KeySize);
        GearChunker chunker = new(ChunkerProfile.General, key);
        yield return Best("chunk (gear)", () => Chunk(chunker, data), cancellationToken);
        yield return Best("hash (BLAKE3)", () => Hash(key, data), cancellationToken);
        byte[] sealedBytes = new byte[1 << 20];
        byte[] nonce = new byte[12];
        byte[] tag = new byte[16];
        using AesGcm cipher = new(key, tag.Length);
        yield return Best("seal (AES-256-GCM)", () => Seal(cipher, nonce, tag, data, sealedBytes), cancellationToken);
    }

    private static void Chunk(GearChunker chunker, byte[] data)
    {
        for (int at = 0; at < data.Length;)
        {
            at += chunker.NextCut(data.AsSpan(at), isEnd: true);
        }
    }

    private static void Hash(byte[] key, byte[] data)
    {
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        for (int at = 0; at < data.Length; at += 1 << 20)
        {
            Blake3.HashKeyed(key, data.AsSpan(at, 1 << 20), digest);
        }
    }

    private static void Seal(AesGcm cipher, byte[] nonce, byte[] tag, byte[] data, byte[] sealedBytes)
    {
        // Thrown away at once: only the time counts, so the nonce need not change.
        for (int at = 0; at < data.Length; at += sealedBytes.Length)
        {
            cipher.Encrypt(nonce, data.AsSpan(at, sealedBytes.Length), sealedBytes, tag);
        }
    }

    private static StageMeasure Best(string stage, Action round, CancellationToken cancellationToken)
    {
        double best = 0;
        for (int i = 0; i < Rounds; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long started = Stopwatch.GetTimestamp();
            round();
            best = Math.Max(best, Length / Math.Max(1e-9, Stopwatch.GetElapsedTime(started).TotalSeconds));
        }

        return new StageMeasure(stage, best);
    }
}
