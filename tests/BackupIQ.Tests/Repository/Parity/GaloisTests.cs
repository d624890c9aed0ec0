using BackupIQ.Repository.Parity;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Parity;

public sealed class GaloisTests
{
    public static TheoryData<int> EveryPath => [.. Enum.GetValues<GaloisPath>().Select(path => (int)path)];

    [Fact]
    public void ProductsAreThoseOfShiftAndAdd()
    {
        for (int a = 0; a < 256; a++)
        {
            for (int b = 0; b < 256; b++)
            {
                GaloisField.Multiply((byte)a, (byte)b).ShouldBe(ShiftAndAdd(a, b));
            }
        }
    }

    [Fact]
    public void EveryElementButZeroTimesItsInverseIsOne()
    {
        for (int a = 1; a < 256; a++)
        {
            GaloisField.Multiply((byte)a, GaloisField.Invert((byte)a)).ShouldBe((byte)1);
        }

        Should.Throw<DivideByZeroException>(() => GaloisField.Invert(0));
    }

    [Theory]
    [MemberData(nameof(EveryPath))]
    public void EveryPathGivesTheScalarBytesForEveryFactorAndLength(int pathNumber)
    {
        GaloisPath path = (GaloisPath)pathNumber;
        if (!GaloisPaths.IsSupported(path))
        {
            Assert.Skip($"This processor does not have {path}; its instructions were not run.");
        }

        Random random = new(7);
        byte[] source = new byte[1024];
        byte[] start = new byte[1024];
        random.NextBytes(source);
        random.NextBytes(start);
        for (int length = 0; length <= 300; length++)
        {
            Compare(path, source.AsSpan(random.Next(64), length), (byte)random.Next(256), start.AsSpan(random.Next(64), length));
        }

        for (int factor = 0; factor < 256; factor++)
        {
            Compare(path, source, (byte)factor, start);
        }
    }

    [Fact]
    public void TheBestPathIsOneThatTheProcessorHas() => GaloisPaths.IsSupported(GaloisPaths.Best).ShouldBeTrue();

    [Fact]
    public void AnyLostDataComeBackFromAnyParities()
    {
        Random random = new(11);
        for (int round = 0; round < 300; round++)
        {
            int data = random.Next(1, 200);
            int parity = random.Next(1, ReedSolomon.MaxShards - data + 1);
            byte[] values = new byte[data];
            random.NextBytes(values);
            int[] lost = [.. Enumerable.Range(0, data).OrderBy(_ => random.Next()).Take(random.Next(1, Math.Min(data, parity) + 1)).Order()];
            int[] kept = [.. Enumerable.Range(0, parity).OrderBy(_ => random.Next()).Take(lost.Length)];
            byte[] lacking = [.. kept.Select(p => ParityOf(values, p))];
            for (int d = 0; d < data; d++)
            {
                if (!lost.Contains(d))
                {
                    for (int i = 0; i < kept.Length; i++)
                    {
                        lacking[i] ^= GaloisField.Multiply(ReedSolomon.Coefficient(kept[i], d), values[d]);
                    }
                }
            }

            byte[] matrix = ReedSolomon.Solve(lost, kept);
            for (int l = 0; l < lost.Length; l++)
            {
                byte found = 0;
                for (int i = 0; i < kept.Length; i++)
                {
                    found ^= GaloisField.Multiply(matrix[(l * lost.Length) + i], lacking[i]);
                }

                found.ShouldBe(values[lost[l]]);
            }
        }
    }

    private static byte ParityOf(byte[] values, int parity)
    {
        byte sum = 0;
        for (int d = 0; d < values.Length; d++)
        {
            sum ^= GaloisField.Multiply(ReedSolomon.Coefficient(parity, d), values[d]);
        }

        return sum;
    }

    private static void Compare(GaloisPath path, ReadOnlySpan<byte> source, byte factor, ReadOnlySpan<byte> start)
    {
        byte[] expected = start.ToArray();
        byte[] found = start.ToArray();
        for (int i = 0; i < expected.Length; i++)
        {
            expected[i] ^= GaloisField.Multiply(source[i], factor);
        }

        GaloisKernel.MultiplyAdd(path, source, factor, found);
        found.ShouldBe(expected, $"{path}, length {source.Length}, factor {factor}");
    }

    private static byte ShiftAndAdd(int a, int b)
    {
        int product = 0;
        for (; b != 0; b >>= 1)
        {
            product ^= (b & 1) != 0 ? a : 0;
            a <<= 1;
            a ^= a > 255 ? 0x11B : 0;
        }

        return (byte)product;
    }
}
