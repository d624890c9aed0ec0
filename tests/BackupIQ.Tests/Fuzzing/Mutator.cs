using System.Buffers.Binary;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Makes damaged and hostile variants of valid objects: flips, cuts, repetitions, splices, lengths that promise too much.</summary>
internal sealed class Mutator(int seed, IReadOnlyList<byte[]> seeds)
{
    private const int LargestInput = 1 << 20;

    private static readonly ulong[] Interesting =
    [
        0, 1, 2, 15, 16, 31, 32, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, int.MaxValue - 1, int.MaxValue,
        1UL << 31, uint.MaxValue, 1UL << 32, long.MaxValue, 1UL << 63, ulong.MaxValue,
    ];

    private static readonly byte[][] Tokens =
    [
        .. new[] { "null", "true", "-1", "1e999", "[]", "{}", "[null]", "\"\"", "\"\\ud800\"", "\\u0000", "\"\\u202e\"", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999-14:00", "../", "**/", "[!", "\u00e9" }
            .Select(static token => System.Text.Encoding.UTF8.GetBytes(token)),
    ];

    private readonly Random _random = new(seed);

    private static ReadOnlySpan<byte> Characters => "0123456789\"{}[],:-e.\n\\ \0*?!/$ut"u8;

    public int Seed { get; } = seed;

    /// <summary>The next variant.</summary>
    public byte[] Next()
    {
        byte[] input = seeds[_random.Next(seeds.Count)];
        for (int i = _random.Next(1, 6); i > 0; i--)
        {
            input = Mutate(input);
        }

        return input;
    }

    private byte[] Mutate(byte[] input)
    {
        int at = _random.Next(input.Length + 1);
        int length = Math.Min(_random.Next(1, _random.Next(2) == 0 ? 17 : 400), input.Length - at);
        switch (_random.Next(15))
        {
            case 0:
                return Changed(input, at, 1, static (span, random) => span[0] ^= (byte)(1 << random.Next(8)));
            case 1:
                return Changed(input, at, 1, static (span, random) => span[0] = (byte)random.Next(256));
            case 2:
                return [.. input[..at], .. input[(at + length)..]];
            case 3:
                return [.. input[..(at + length)], .. input[at..]];
            case 4:
                return [.. input[..at], Characters[_random.Next(Characters.Length)], .. input[at..]];
            case 5:
                return input[..at];
            case 6:
                return Changed(input, at, length, static (span, _) => span.Fill(byte.MaxValue));
            case 7:
                return Changed(input, at, length, static (span, _) => span.Clear());
            case 8:
                return Changed(input, at, length, static (span, random) => random.NextBytes(span));
            case 9:
                return Changed(input, at, 4, static (span, random) => BinaryPrimitives.WriteUInt32LittleEndian(span, (uint)Interesting[random.Next(Interesting.Length)]));
            case 10:
                return Changed(input, at, 8, static (span, random) => BinaryPrimitives.WriteUInt64LittleEndian(span, Interesting[random.Next(Interesting.Length)]));
            case 11:
                return [.. input[..at], .. Varint(Interesting[_random.Next(Interesting.Length)]), .. input[Math.Min(input.Length, at + 1)..]];
            case 12:
                byte[] other = seeds[_random.Next(seeds.Count)];
                int from = _random.Next(other.Length + 1);
                int taken = Math.Min(_random.Next(1, 400), other.Length - from);
                return [.. input[..at], .. other.AsSpan(from, taken), .. input[Math.Min(input.Length, at + (_random.Next(2) * taken))..]];
            case 13:
                return [.. input[..at], .. Tokens[_random.Next(Tokens.Length)], .. input[Math.Min(input.Length, at + (_random.Next(2) * length))..]];
            default:
                int times = length == 0 ? 0 : Math.Min(_random.Next(2, 200), LargestInput / (input.Length + length));
                return [.. input[..at], .. Enumerable.Repeat(input[at..(at + length)], times).SelectMany(static part => part), .. input[at..]];
        }
    }

    private byte[] Changed(byte[] input, int at, int length, Action<Span<byte>, Random> change)
    {
        byte[] copy = [.. input];
        if (at + length <= copy.Length && length > 0)
        {
            change(copy.AsSpan(at, length), _random);
        }

        return copy;
    }

    private static byte[] Varint(ulong value)
    {
        List<byte> bytes = [];
        for (; value >= 0x80; value >>= 7)
        {
            bytes.Add((byte)(value | 0x80));
        }

        bytes.Add((byte)value);
        return [.. bytes];
    }
}
