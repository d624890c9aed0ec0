using System.Security.Cryptography;
using BackupIQ.Repository.Chunking;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Chunking;

public sealed class GearChunkerTests
{
    private static readonly byte[] Key = ChunkingTestData.Key;

    /// <summary>Files on which chunkers go wrong: random, constant, periodic, mixed, and lengths around the limits.</summary>
    public static TheoryData<string> Files =>
        ["random", "zeros", "ones", "periodic", "mixed", "empty", "one byte", "minimum", "beyond minimum", "maximum", "beyond maximum"];

    [Theory]
    [MemberData(nameof(Files))]
    public void TinyCutsAreThoseOfTheDefinition(string file) => CutsAreThoseOfTheDefinition(ChunkingTestData.Tiny, file, 100_000);

    [Theory]
    [MemberData(nameof(Files))]
    public void CutsOfLanesAreThoseOfTheDefinition(string file) => CutsAreThoseOfTheDefinition(ChunkingTestData.Middle, file, 2_000_000);

    [Fact]
    public void SegmentsOfAnyLengthGiveTheSerialCuts() =>
        Prop.ForAll(
            Gen.Choose(0, 200_000).SelectMany(length => Gen.Choose(1, 1 << 20).Select(seed => (Length: length, Seed: seed))).ToArbitrary(),
            given =>
            {
                // Data of few values with repeats, in segments from one byte up: runs of candidates, ties, and edges everywhere.
                Random random = new(given.Seed);
                byte[] file = new byte[given.Length];
                for (int at = 0; at < file.Length;)
                {
                    int length = Math.Min(file.Length - at, random.Next(1, 5000));
                    Span<byte> part = file.AsSpan(at, length);
                    int kind = random.Next(3);
                    random.NextBytes(part);
                    if (kind == 0)
                    {
                        part.Fill((byte)random.Next(256));
                    }
                    else if (kind == 1)
                    {
                        int period = random.Next(1, 70);
                        for (int i = period; i < length; i++)
                        {
                            part[i] = part[i - period];
                        }
                    }

                    at += length;
                }

                GearChunker chunker = new(random.Next(2) == 0 ? ChunkingTestData.Tiny : ChunkingTestData.Middle, Key);
                int longest = random.Next(3) switch { 0 => 5, 1 => 3000, _ => 100_000 };
                List<long> serial = ChunkingTestData.Serial(chunker, file);
                return ChunkingTestData.BySegments(chunker, file, () => random.Next(1, longest + 1)).SequenceEqual(serial);
            }).Check(Config.QuickThrowOnFailure.WithMaxTest(60));

    [Fact]
    public void GeneralCutsOfSegmentsAreTheSerialOnes()
    {
        GearChunker chunker = new(ChunkerProfile.General, Key);
        byte[] file = ChunkingTestData.Random(7, 24 << 20);
        file.AsSpan(5 << 20, 6 << 20).Clear();
        Random random = new(8);
        ChunkingTestData.BySegments(chunker, file, () => random.Next(1, 3 << 20)).ShouldBe(ChunkingTestData.Serial(chunker, file));
    }

    [Fact]
    public void RepeatedBytesThatAreAllCandidatesAreCutAtTheMinimum()
    {
        // Under some keys the hash of a repeated byte is a candidate at every position; such a key is sought.
        ChunkerProfile profile = ChunkingTestData.Middle;
        byte[] key = new byte[32];
        GearChunker chunker;
        int value;
        do
        {
            BitConverter.TryWriteBytes(key, BitConverter.ToInt32(key) + 1);
            chunker = new GearChunker(profile, key);
            value = FindCandidateByte(chunker, profile);
        }
        while (value < 0);

        byte[] file = new byte[300_000];
        file.AsSpan().Fill((byte)value);
        List<long> cuts = ChunkingTestData.Serial(chunker, file);
        cuts[0].ShouldBe(profile.MinSize);
        cuts.Count.ShouldBe(19); // 300,000 / 16,384, rounded up
        ChunkingTestData.BySegments(chunker, file, () => 50_000).ShouldBe(cuts);

        static int FindCandidateByte(GearChunker chunker, ChunkerProfile profile)
        {
            for (int b = 0; b < 256; b++)
            {
                if (unchecked(0 - chunker.Gear[b]) <= profile.StrictLimit)
                {
                    return b;
                }
            }

            return -1;
        }
    }

    [Fact]
    public void DataThatDoNotDecideGiveNoCutUntilMoreComes()
    {
        GearChunker chunker = new(ChunkingTestData.Middle, Key);
        byte[] file = ChunkingTestData.Random(9, 400_000);
        int whole = chunker.NextCut(file, isEnd: true);
        for (int length = 0; length < file.Length; length += 997)
        {
            int cut = chunker.NextCut(file.AsSpan(0, length), isEnd: false);
            cut.ShouldBe(length < whole ? 0 : whole, $"length {length}");
            chunker.NextCut(file.AsSpan(0, length), isEnd: true).ShouldBe(Math.Min(length, whole));
        }

        chunker.NextCut([], isEnd: true).ShouldBe(0);
    }

    [Fact]
    public void ChunksKeepToTheirBoundsAndAverageNearOneMiB()
    {
        GearChunker chunker = new(ChunkerProfile.General, Key);
        byte[] file = ChunkingTestData.Random(10, 192 << 20);
        List<long> cuts = ChunkingTestData.Serial(chunker, file);
        long previous = 0;
        foreach (long cut in cuts)
        {
            long length = cut - previous;
            length.ShouldBeLessThanOrEqualTo(ChunkerProfile.General.MaxSize);
            if (cut != file.Length)
            {
                length.ShouldBeGreaterThanOrEqualTo(ChunkerProfile.General.MinSize);
            }

            previous = cut;
        }

        previous.ShouldBe(file.Length);
        ((double)file.Length / cuts.Count / (1 << 20)).ShouldBeInRange(0.95, 1.35);
    }

    [Fact]
    public void BytesInsertedAtTheStartChangeFewChunks()
    {
        GearChunker chunker = new(ChunkerProfile.General, Key);
        byte[] file = ChunkingTestData.Random(11, 64 << 20);
        byte[] shifted = [.. ChunkingTestData.Random(12, 100), .. file];
        HashSet<string> before = Digests(chunker, file);
        HashSet<string> after = Digests(chunker, shifted);
        before.Count.ShouldBeGreaterThan(40);
        after.Count(digest => !before.Contains(digest)).ShouldBeLessThanOrEqualTo(4);

        static HashSet<string> Digests(GearChunker chunker, byte[] file)
        {
            HashSet<string> digests = [];
            int start = 0;
            foreach (long cut in ChunkingTestData.Serial(chunker, file))
            {
                digests.Add(Convert.ToHexString(SHA256.HashData(file.AsSpan(start, (int)cut - start))));
                start = (int)cut;
            }

            return digests;
        }
    }

    [Fact]
    public void AnotherKeyCutsElsewhere()
    {
        byte[] file = ChunkingTestData.Random(13, 4_000_000);
        List<long> cuts = ChunkingTestData.Serial(new GearChunker(ChunkingTestData.Middle, Key), file);
        byte[] otherKey = [.. Key];
        otherKey[31] ^= 1;
        List<long> others = ChunkingTestData.Serial(new GearChunker(ChunkingTestData.Middle, otherKey), file);
        cuts.Intersect(others).Count().ShouldBeLessThan(cuts.Count / 10);
    }

    /// <summary>The vectors of docs/format-chunking.md, made with another implementation. A change here is a change of the format.</summary>
    [Fact]
    public void GoldenCutsStayAsTheyWere()
    {
        GearChunker chunker = new(ChunkerProfile.General, Key);
        chunker.Gear[0].ShouldBe(0x109AB34EC3C02653UL);
        chunker.Gear[1].ShouldBe(0x34DECF1364C936D1UL);
        chunker.Gear[255].ShouldBe(0x2A1DDCD5E2F40BEEUL);
        byte[] file = ChunkingTestData.Generated("BackupIQ chunking vector", 16 << 20);
        ChunkingTestData.Serial(chunker, file).ShouldBe(
        [
            1231682, 2303780, 3437059, 5093253, 5578450, 6902646, 8139830, 9425991, 10652051, 11872696, 13078568, 14467963, 15458632,
            16562177, 16777216,
        ]);
        ChunkingTestData.Serial(new GearChunker(ChunkingTestData.Tiny, Key), file.AsSpan(0, 4096)).ShouldBe(
            [281, 558, 923, 1388, 1618, 2151, 2492, 2756, 3027, 3411, 3700, 4084, 4096]);
    }

    [Fact]
    public void FindingCandidatesAllocatesNothingOnceTheListHasRoom()
    {
        GearChunker chunker = new(ChunkerProfile.General, Key);
        byte[] file = ChunkingTestData.Random(14, 8 << 20);
        CandidateList candidates = new();
        Use();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Use();
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);
        candidates.Count.ShouldBeInRange(8, 80);

        void Use()
        {
            candidates.Clear();
            chunker.FindCandidates(file, 0, 0, candidates);
            _ = chunker.NextCut(file, isEnd: false);
        }
    }

    [Fact]
    public void AWrongLookBehindIsRefused()
    {
        GearChunker chunker = new(ChunkingTestData.Tiny, Key);
        CandidateList candidates = new();
        Should.Throw<ArgumentException>(() => chunker.FindCandidates(new byte[100], 0, 1000, candidates));
        Should.Throw<ArgumentException>(() => chunker.FindCandidates(new byte[100], 63, 0, candidates));
        Should.Throw<ArgumentException>(() => chunker.FindCandidates(new byte[10], 63, 1000, candidates));
        Should.Throw<ArgumentOutOfRangeException>(() => chunker.FindCandidates(new byte[10], 0, -1, candidates));
    }

    [Theory]
    [InlineData(32, 128, 512)]
    [InlineData(64, 64, 512)]
    [InlineData(64, 128, 128)]
    [InlineData(65, 256, 1024)]
    [InlineData(0, 256, 1024)]
    [InlineData(64, 256, int.MinValue)]
    [InlineData(1 << 26, 1 << 27, 1 << 29)]
    public void AProfileOutOfBoundsIsRefused(int min, int average, int max) =>
        Should.Throw<ArgumentOutOfRangeException>(() => new ChunkerProfile("x", min, average, max));

    [Fact]
    public void SegmentsOutOfOrderAreRefusedBySelection()
    {
        GearChunker chunker = new(ChunkingTestData.Tiny, Key);
        byte[] file = ChunkingTestData.Random(15, 20_000);
        CandidateList candidates = new();
        chunker.FindCandidates(file, 0, 0, candidates);
        CutSelector selector = new(ChunkingTestData.Tiny);
        selector.Add(candidates, file.Length, isEnd: false);
        Should.Throw<ArgumentException>(() => selector.Add(candidates, 2 * file.Length, isEnd: true));
        selector.Add(new CandidateList(), file.Length, isEnd: true);
        Should.Throw<InvalidOperationException>(() => selector.Add(new CandidateList(), file.Length, isEnd: true));
    }

    private static void CutsAreThoseOfTheDefinition(ChunkerProfile profile, string name, int size)
    {
        byte[] file = Make(name, profile, size);
        GearChunker chunker = new(profile, Key);
        List<long> expected = ChunkingTestData.ByDefinition(file, profile, Key);
        ChunkingTestData.Serial(chunker, file).ShouldBe(expected);
        Random random = new(1);
        ChunkingTestData.BySegments(chunker, file, () => random.Next(1, 40_000)).ShouldBe(expected);
        ChunkingTestData.BySegments(chunker, file, () => Math.Max(1, file.Length)).ShouldBe(expected);
    }

    private static byte[] Make(string name, ChunkerProfile profile, int size)
    {
        byte[] random = ChunkingTestData.Random(3, size);
        switch (name)
        {
            case "zeros":
                return new byte[size];
            case "ones":
                random.AsSpan().Fill(1);
                return random;
            case "periodic":
                return [.. random.Select((_, i) => random[i % 300])];
            case "mixed":
                for (int at = size / 10; at + size / 10 < size; at += size / 5)
                {
                    random.AsSpan(at, size / 10).Clear();
                }

                return random;
            case "empty":
                return [];
            case "one byte":
                return [7];
            case "minimum":
                return random[..profile.MinSize];
            case "beyond minimum":
                return random[..(profile.MinSize + 1)];
            case "maximum":
                return new byte[profile.MaxSize];
            case "beyond maximum":
                return new byte[profile.MaxSize + 1];
            default:
                return random;
        }
    }
}
