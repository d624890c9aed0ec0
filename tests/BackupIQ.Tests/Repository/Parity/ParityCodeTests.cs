using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Parity;
using BackupIQ.Storage;
using Microsoft.Win32.SafeHandles;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Parity;

/// <summary>Parity objects made of real bytes, and damaged bytes mended by them.</summary>
public sealed class ParityCodeTests : IDisposable
{
    private static readonly StorageKey Key = new("d/00/object");

    private readonly string _folder = Directory.CreateTempSubdirectory("backupiq-parity-").FullName;

    [Fact]
    public async Task AParityObjectHasItsBytes()
    {
        // Written by a program that shares nothing with this one: docs/format.md has the same numbers.
        byte[] data = [.. Enumerable.Range(0, 1300).Select(static i => (byte)(i % 251))];
        ParityLayout layout = ParityLayout.For(data.Length, 50);
        layout.ShouldBe(new ParityLayout(1300, 512, 1, 3, 2));

        byte[] parity = await EncodeAsync(data, layout);

        const string Head =
            "42495152" + "01" + "09" + "03" + "02" + "01000000" + "64000000" + "1405000000000000" +
            "d67776dec9b28346185ed25659af5ac0c48534e4c0b4ee6b45be0481de1964c1" + "0000000000000000" +
            "81869c30" + "98a58833" + "4fc660ba" + "592ac047" + "34153e9a" + "227e9fc9473264ae" + "64000000" + "52514942";
        Convert.ToHexStringLower(parity[..100]).ShouldBe(Head);
        Convert.ToHexStringLower(parity[^100..]).ShouldBe(Head);
        Convert.ToHexStringLower(parity[100..116]).ShouldBe("6f28feb9b8ff6b2c1d5a8ccb1c5bb3f4");
        byte[] digest = new byte[32];
        Blake3.Hash(parity, digest);
        Convert.ToHexStringLower(digest).ShouldBe("7537f4565c24717b16a14587e1ff31e52cd4c729c950404fac348bb03e95edf0");
    }

    [Fact]
    public async Task AsManyBlocksOfEachColumnComeBackAsThereIsParity()
    {
        Random random = new(3);
        for (int round = 0; round < 60; round++)
        {
            byte[] data = Bytes(random, random.Next(1, round % 3 == 0 ? 3_000_000 : 60_000));
            ParityLayout layout = ParityLayout.For(data.Length, random.Next(1, 101));
            byte[] parity = await EncodeAsync(data, layout);
            byte[] damaged = [.. data];
            int blocks = 0;
            for (int c = 0; c < layout.Columns; c++)
            {
                int parityLost = random.Next(0, layout.ParityShards + 1);
                foreach (int p in Enumerable.Range(0, layout.ParityShards).OrderBy(_ => random.Next()).Take(parityLost))
                {
                    int at = ParityHead.SizeFor(layout) + (((p * layout.Columns) + c) * layout.BlockSize);
                    parity[at + random.Next(layout.BlockSize)] ^= 1;
                }

                foreach (int d in Enumerable.Range(0, layout.DataShards).OrderBy(_ => random.Next()).Take(layout.ParityShards - parityLost))
                {
                    blocks += Damage(random, damaged, ((d * layout.Columns) + c) * layout.BlockSize, layout.BlockSize);
                }
            }

            (ParityMending result, byte[] mended) = Mend(damaged, parity);

            result.ShouldBe(new ParityMending(true, blocks, 0), $"{layout}");
            mended.ShouldBe(data);
        }
    }

    [Fact]
    public async Task ABlockTooManyIsToldAndNothingElseIsLost()
    {
        Random random = new(4);
        byte[] data = Bytes(random, 2_500_000);
        ParityLayout layout = ParityLayout.For(data.Length, 5);
        layout.Columns.ShouldBeGreaterThan(1);
        byte[] parity = await EncodeAsync(data, layout);
        byte[] damaged = [.. data];

        // One block too many in the first column, one block in the second.
        for (int d = 0; d <= layout.ParityShards; d++)
        {
            Damage(random, damaged, d * layout.Columns * layout.BlockSize, layout.BlockSize);
        }

        Damage(random, damaged, layout.BlockSize, layout.BlockSize);
        byte[] before = [.. damaged];

        (ParityMending result, byte[] mended) = Mend(damaged, parity);

        result.ShouldBe(new ParityMending(false, layout.ParityShards + 2, layout.ParityShards + 1));
        data.AsSpan(layout.BlockSize, layout.BlockSize).CopyTo(before.AsSpan(layout.BlockSize));
        mended.ShouldBe(before, "the second column is mended, the first is left as it was");
    }

    [Theory]
    [InlineData(0.00)]
    [InlineData(0.31)]
    [InlineData(0.954)]
    public async Task ARunOfAlmostAllTheParityIsMendedWhereverItLies(double where)
    {
        Random random = new(5);
        byte[] data = Bytes(random, 33_554_432 / 4);
        byte[] parity = await EncodeAsync(data, ParityLayout.For(data.Length, 5));
        byte[] damaged = [.. data];
        damaged.AsSpan((int)(data.Length * where), data.Length / 22).Clear();

        (ParityMending result, byte[] mended) = Mend(damaged, parity);

        result.IsWhole.ShouldBeTrue();
        mended.ShouldBe(data);
    }

    [Fact]
    public async Task ACutTailAndTooLongATailAreMended()
    {
        Random random = new(6);
        byte[] data = Bytes(random, 1_800_123);
        byte[] parity = await EncodeAsync(data, ParityLayout.For(data.Length, 5));

        Mend(data[..^80_000], parity).Mended.ShouldBe(data);
        Mend([.. data, .. Bytes(random, 5000)], parity).Mended.ShouldBe(data);
    }

    [Fact]
    public async Task WithAHundredPercentNothingNeedBeLeft()
    {
        byte[] data = Bytes(new Random(7), 30_011);
        byte[] parity = await EncodeAsync(data, ParityLayout.For(data.Length, 100));

        Mend([], parity).Mended.ShouldBe(data);
    }

    [Fact]
    public async Task EitherHeadWillDo()
    {
        byte[] data = Bytes(new Random(8), 50_000);
        ParityLayout layout = ParityLayout.For(data.Length, 10);
        byte[] parity = await EncodeAsync(data, layout);
        int head = ParityHead.SizeFor(layout);
        byte[] damaged = [.. data];
        damaged.AsSpan(0, 4_000).Clear();

        byte[] withoutFirst = [.. parity];
        withoutFirst.AsSpan(0, head).Clear();
        byte[] withoutSecond = parity[..^head];

        Mend(damaged, withoutFirst).Mended.ShouldBe(data);
        Mend(damaged, withoutSecond).Mended.ShouldBe(data);
    }

    [Fact]
    public async Task ParityInSeveralPassesIsThatOfOne()
    {
        byte[] data = Bytes(new Random(9), 1_700_123);
        ParityLayout layout = ParityLayout.For(data.Length, 30);

        byte[] parity = await EncodeAsync(data, layout, maxHeld: 400_000);

        byte[] inOnePass = await EncodeAsync(data, layout);
        parity.AsSpan().SequenceEqual(inOnePass).ShouldBeTrue();
    }

    [Fact]
    public void EveryCutHoldsItsObjectAndItsShare()
    {
        Random random = new(10);
        for (int i = 0; i < 20_000; i++)
        {
            long size = random.NextInt64(1, i % 2 == 0 ? 10_000_000 : ParityLayout.MaxSize + 1);
            int percent = random.Next(1, 101);
            ParityLayout layout = ParityLayout.For(size, percent);
            layout.IsPlausible().ShouldBeTrue($"{layout}");
            (layout.ParityShards * 100L).ShouldBeGreaterThanOrEqualTo(layout.DataShards * (long)percent);
            ((layout.ParityShards - 1) * 100L).ShouldBeLessThan(layout.DataShards * (long)percent);
        }
    }

    [Fact]
    public async Task NoMutatedHeadIsTakenForAnother()
    {
        Random random = new(12);
        byte[] data = Bytes(random, 20_000);
        ParityLayout layout = ParityLayout.For(data.Length, 5);
        byte[] head = (await EncodeAsync(data, layout))[..ParityHead.SizeFor(layout)];
        for (int i = 0; i < 20_000; i++)
        {
            byte[] mutated = [.. head];
            mutated[random.Next(mutated.Length - 8)] ^= (byte)random.Next(1, 256);
            ParityHead.Read(i % 3 == 0 ? mutated.AsSpan(0, random.Next(mutated.Length)) : mutated).ShouldBeNull();
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static byte[] Bytes(Random random, int length)
    {
        byte[] bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    private static int Damage(Random random, byte[] bytes, int at, int length)
    {
        if (at >= bytes.Length)
        {
            return 0;
        }

        bytes[at + random.Next(Math.Min(length, bytes.Length - at))] ^= (byte)random.Next(1, 256);
        return 1;
    }

    private async Task<byte[]> EncodeAsync(byte[] data, ParityLayout layout, int maxHeld = 64 << 20)
    {
        await using MemoryBackend storage = new(TimeProvider.System);
        await storage.PutAsync(Key, StorageContent.FromBytes(data), CancellationToken.None);
        string path = Path.Combine(_folder, "parity");
        using (SafeFileHandle file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite))
        {
            ParityHead head = await new ParityEncoder(storage) { MaxHeld = maxHeld }.EncodeAsync(Key, layout, file, CancellationToken.None);
            byte[] digest = new byte[32];
            Blake3.Hash(data, digest);
            head.Hash.ShouldBe(PackId.Read(digest));
        }

        byte[] bytes = await File.ReadAllBytesAsync(path);
        bytes.LongLength.ShouldBe(ParityHead.ObjectSizeFor(layout));
        return bytes;
    }

    private (ParityMending Result, byte[] Mended) Mend(byte[] damaged, byte[] parity)
    {
        string copyPath = Path.Combine(_folder, "copy");
        string parityPath = Path.Combine(_folder, "stored");
        File.WriteAllBytes(copyPath, damaged);
        File.WriteAllBytes(parityPath, parity);
        using SafeFileHandle copy = File.OpenHandle(copyPath, FileMode.Open, FileAccess.ReadWrite);
        using SafeFileHandle stored = File.OpenHandle(parityPath);
        ParityHead head = ParityDecoder.ReadHead(stored).ShouldNotBeNull();
        ParityMending result = ParityDecoder.Mend(copy, stored, head, CancellationToken.None);
        byte[] mended = new byte[RandomAccess.GetLength(copy)];
        RandomAccess.Read(copy, mended, 0);
        return (result, mended);
    }
}
