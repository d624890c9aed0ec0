using System.Diagnostics;
using System.Globalization;

namespace BackupIQ.Tests.Repository;

/// <summary>Mutation fuzzing for so many seconds (BACKUPIQ_FUZZ_SECONDS, else 2), from a seed that a failure prints.</summary>
internal static class Fuzz
{
    public static TimeSpan Duration { get; } = TimeSpan.FromSeconds(
        double.Parse(Environment.GetEnvironmentVariable("BACKUPIQ_FUZZ_SECONDS") ?? "2", CultureInfo.InvariantCulture));

    /// <summary>Runs <paramref name="target"/> on mutations of the seeds; it throws when it finds a fault.</summary>
    public static void Run(IReadOnlyList<byte[]> seeds, Action<byte[]> target)
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        long start = Stopwatch.GetTimestamp();
        long runs = 0;
        do
        {
            byte[] input = Mutate(seeds[random.Next(seeds.Count)], random);
            try
            {
                target(input);
            }
            catch (Exception error)
            {
                throw new InvalidOperationException(
                    $"Fuzz seed {seed}, run {runs}, input {Convert.ToBase64String(input)}: {error.Message}", error);
            }

            runs++;
        }
        while (Stopwatch.GetElapsedTime(start) < Duration);
    }

    private static byte[] Mutate(byte[] seed, Random random)
    {
        List<byte> bytes = [.. seed];
        for (int i = random.Next(1, 5); i > 0; i--)
        {
            int at = random.Next(bytes.Count + 1);
            int length = Math.Min(random.Next(1, 17), bytes.Count - at);
            switch (random.Next(7))
            {
                case 0 when length > 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1 when length > 0:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    bytes.RemoveRange(at, length);
                    break;
                case 3:
                    bytes.InsertRange(at, bytes.GetRange(at, length));
                    break;
                case 4:
                    bytes.Insert(at, "0123456789\"{}[],:-e.\n\\ "u8[random.Next(23)]);
                    break;
                case 5:
                    bytes.RemoveRange(at, bytes.Count - at);
                    break;
                default:
                    for (int k = 0; k < length; k++)
                    {
                        bytes[at + k] = byte.MaxValue;
                    }

                    break;
            }
        }

        return [.. bytes];
    }
}
