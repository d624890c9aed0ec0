using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>
/// Feeds a parser mutations of valid objects for so many seconds (BACKUPIQ_FUZZ_SECONDS; else a fifth of one, so that the suite stays quick).
/// <c>tests/fuzz.sh MINUTES</c> gives them longer.
/// </summary>
internal static class Fuzz
{
    /// <summary>What a run may allocate whatever its input: exceptions, readers, the parser's own tables.</summary>
    private const long AnyInput = 1 << 20;

    private static readonly TimeSpan Slow = TimeSpan.FromSeconds(10);
    private static readonly Lock Report = new();

    public static TimeSpan Duration { get; } = TimeSpan.FromSeconds(
        double.Parse(Environment.GetEnvironmentVariable("BACKUPIQ_FUZZ_SECONDS") ?? "0.2", CultureInfo.InvariantCulture));

    /// <summary>
    /// Runs <paramref name="target"/> first on the seeds, which it must take, then on mutations of them. A <see cref="BackupIQException"/> is a
    /// refusal and what is wanted; anything else, an allocation out of proportion, or a run that does not end is a fault. Its input is told.
    /// </summary>
    /// <param name="seeds">Valid objects.</param>
    /// <param name="target">The parser.</param>
    /// <param name="perByte">Bytes that may be allocated for each byte of input.</param>
    /// <param name="allocates">What may be allocated beside that.</param>
    /// <param name="name">The target's name, for the report.</param>
    public static void Run(
        IReadOnlyList<byte[]> seeds, Action<byte[]> target, int perByte = 256, long allocates = 0, [CallerMemberName] string name = "")
    {
        foreach (byte[] seed in seeds)
        {
            target(seed);
        }

        Mutator mutator = new(Environment.TickCount, seeds);
        long start = Stopwatch.GetTimestamp();
        long runs = 0;
        long refused = 0;
        do
        {
            byte[] input = mutator.Next();
            long before = GC.GetAllocatedBytesForCurrentThread();
            long began = Stopwatch.GetTimestamp();
            try
            {
                target(input);
            }
            catch (BackupIQException)
            {
                refused++;
            }
            catch (Exception fault)
            {
                throw Fault(name, mutator, runs, input, $"{fault.GetType().Name}: {fault.Message}", fault);
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > AnyInput + allocates + ((long)perByte * input.Length))
            {
                throw Fault(name, mutator, runs, input, $"{allocated} bytes were allocated for {input.Length} bytes of input", null);
            }

            if (Stopwatch.GetElapsedTime(began) > Slow)
            {
                throw Fault(name, mutator, runs, input, $"it took {Stopwatch.GetElapsedTime(began)}", null);
            }

            runs++;
        }
        while (Stopwatch.GetElapsedTime(start) < Duration);

        Tell(name, runs, refused);
    }

    private static InvalidOperationException Fault(string name, Mutator mutator, long run, byte[] input, string what, Exception? inner)
    {
        string file = Path.Combine(Path.GetTempPath(), $"backupiq-fuzz-{name}-{Guid.NewGuid():n}");
        File.WriteAllBytes(file, input);
        string shown = input.Length <= 4096 ? Convert.ToBase64String(input) : $"{input.Length} bytes";
        return new InvalidOperationException($"{name}, seed {mutator.Seed}, run {run}: {what}. Input ({file}): {shown}", inner);
    }

    private static void Tell(string name, long runs, long refused)
    {
        if (Environment.GetEnvironmentVariable("BACKUPIQ_FUZZ_REPORT") is { Length: > 0 } report)
        {
            lock (Report)
            {
                File.AppendAllText(report, string.Create(CultureInfo.InvariantCulture, $"{runs}\t{refused}\t{name}\n"));
            }
        }
    }
}
