using System.Runtime.Intrinsics.X86;
using BackupIQ.Repository.Hashing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Hashing;

public sealed class Blake3Tests
{
    private const int LongestChecked = 70_000;

    // The scalar digests of every length, taken byte by byte: Finish leaves the state as it is.
    private static readonly Lazy<byte[]> ScalarDigests = new(() =>
    {
        byte[] input = Blake3TestPaths.VectorInput(LongestChecked);
        byte[] digests = new byte[32 * (LongestChecked + 1)];
        Blake3Hasher hasher = Blake3Hasher.Create(Blake3Path.Scalar);
        for (int length = 0; length <= LongestChecked; length++)
        {
            hasher.Finish(digests.AsSpan(32 * length, 32));
            if (length < LongestChecked)
            {
                hasher.Update(input.AsSpan(length, 1));
            }
        }

        return digests;
    });

    [Theory]
    [MemberData(nameof(Blake3TestPaths.Every), MemberType = typeof(Blake3TestPaths))]
    public void EveryLengthGivesTheScalarDigest(int pathNumber)
    {
        Blake3Path path = Blake3TestPaths.Require(pathNumber);
        byte[] input = Blake3TestPaths.VectorInput(LongestChecked);
        byte[] digest = new byte[32];

        // The scalar one-shot is slow; its lengths up to many chunks and a sample beyond say as much.
        for (int length = 0; length <= LongestChecked; length += path == Blake3Path.Scalar && length > 5000 ? 97 : 1)
        {
            Blake3.Hash(path, input.AsSpan(0, length), digest);
            if (!digest.AsSpan().SequenceEqual(ScalarDigests.Value.AsSpan(32 * length, 32)))
            {
                Assert.Fail($"{path} differs from scalar at length {length}.");
            }
        }
    }

    [Fact]
    public void TheAvx512LogicEmulatedGivesTheScalarDigest()
    {
        if (!Avx2.IsSupported)
        {
            Assert.Skip("The emulation of AVX-512 needs AVX2.");
        }

        // Everything up to two vectors of chunks in steps, then each number of chunks with ragged ends.
        byte[] input = Blake3TestPaths.VectorInput(LongestChecked);
        byte[] digest = new byte[32];
        IEnumerable<int> lengths = Enumerable.Range(0, 120).Select(i => i * 331)
            .Concat(Enumerable.Range(0, 68).SelectMany(chunks => (int[])[chunks * 1024, chunks * 1024 + 1, chunks * 1024 + 700]))
            .Where(length => length <= LongestChecked);
        foreach (int length in lengths)
        {
            Blake3.Hash(Blake3Path.Avx512, input.AsSpan(0, length), digest);
            digest.ShouldBe(ScalarDigests.Value.AsSpan(32 * length, 32).ToArray(), $"length {length}");
        }
    }

    [Theory]
    [MemberData(nameof(Blake3TestPaths.Every), MemberType = typeof(Blake3TestPaths))]
    public void AnySplitOfTheInputGivesTheDigestOfTheWhole(int pathNumber)
    {
        Blake3Path path = Blake3TestPaths.Require(pathNumber);
        Random random = new(pathNumber + 1);
        byte[] input = new byte[600_000];
        random.NextBytes(input);
        Blake3Hasher hasher = Blake3Hasher.Create(path);
        byte[] digest = new byte[100];
        byte[] whole = new byte[100];
        int[] largest = [3, 64, 200, 1024, 1500, 5000, 20_000, 300_000];
        for (int run = 0; run < (path == Blake3Path.Scalar ? 60 : 400); run++)
        {
            int limit = largest[run % largest.Length];
            int length = Math.Min(input.Length, random.Next(limit * 40));
            hasher.Reset();
            for (int at = 0; at < length;)
            {
                int piece = Math.Min(length - at, random.Next(limit + 1));
                hasher.Update(input.AsSpan(at, piece));
                at += piece;
                if (random.Next(50) == 0)
                {
                    hasher.Finish(digest); // must not disturb what follows
                }
            }

            int digestLength = random.Next(1, 101);
            hasher.Finish(digest.AsSpan(0, digestLength));
            Blake3.Hash(path, input.AsSpan(0, length), whole.AsSpan(0, digestLength));
            digest.AsSpan(0, digestLength).SequenceEqual(whole.AsSpan(0, digestLength)).ShouldBeTrue($"run {run}, length {length}");
        }
    }

    [Fact]
    public void PowersOfTwoOfChunksFedAtOnceGiveTheDigestOfTheWhole()
    {
        byte[] input = Blake3TestPaths.VectorInput(4 << 20);
        byte[] digest = new byte[32];
        byte[] expected = new byte[32];
        Blake3Hasher hasher = new();
        foreach (int length in (int[])[1024, 2048, 4096, 8192, 1 << 16, (1 << 16) + 1024, 1 << 20, (3 << 20) + 1, 4 << 20])
        {
            hasher.Reset();
            hasher.Update(input.AsSpan(0, length));
            hasher.Finish(digest);
            Blake3.Hash(input.AsSpan(0, length), expected);
            digest.ShouldBe(expected, $"length {length}");
            hasher.Update([1]);
            hasher.Finish(digest);
            byte[] more = [.. input.AsSpan(0, length), 1];
            Blake3.Hash(more, expected);
            digest.ShouldBe(expected, $"length {length} and one more");
        }
    }

    [Fact]
    public void TheInputMayBeginAtAnyAddressAndNothingBeyondTheDigestIsWritten()
    {
        byte[] input = Blake3TestPaths.VectorInput(20_000);
        byte[] room = new byte[20_100];
        byte[] expected = new byte[32];
        byte[] target = new byte[64];
        foreach (int length in (int[])[1, 63, 65, 1023, 1025, 3000, 9000, 17_000])
        {
            Blake3.Hash(input.AsSpan(0, length), expected);
            for (int shift = 0; shift < 35; shift++)
            {
                input.AsSpan(0, length).CopyTo(room.AsSpan(shift));
                target.AsSpan().Fill(0xEE);
                Blake3.Hash(room.AsSpan(shift, length), target.AsSpan(5, 32));
                target.AsSpan(5, 32).SequenceEqual(expected).ShouldBeTrue();
                target.AsSpan(0, 5).IndexOfAnyExcept((byte)0xEE).ShouldBe(-1);
                target.AsSpan(37).IndexOfAnyExcept((byte)0xEE).ShouldBe(-1);
            }
        }
    }

    [Fact]
    public void HashingAllocatesNothing()
    {
        byte[] input = Blake3TestPaths.VectorInput(100_000);
        byte[] digest = new byte[32];
        byte[] key = new byte[32];
        Blake3Hasher hasher = Blake3Hasher.CreateKeyed(key);
        Use();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Use();
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);

        void Use()
        {
            Blake3.Hash(input, digest);
            Blake3.HashKeyed(key, input, digest);
            hasher.Reset();
            hasher.Update(input);
            hasher.Finish(digest);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    [InlineData(33)]
    public void AKeyOfAnotherLengthIsRefused(int length)
    {
        Should.Throw<ArgumentException>(() => Blake3.HashKeyed(new byte[length], [], new byte[32]));
        Should.Throw<ArgumentException>(() => Blake3Hasher.CreateKeyed(new byte[length]));
    }
}
