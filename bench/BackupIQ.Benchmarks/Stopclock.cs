using System.Diagnostics;
using System.Globalization;

namespace BackupIQ.Benchmarks;

/// <summary>
/// Measures short pieces of work on one thread: the best of many batches, each short enough to fit between two interruptions, since
/// noise only ever adds.
/// </summary>
internal sealed class Stopclock(TextWriter output, TimeSpan time)
{
    private static readonly TimeSpan BatchTime = TimeSpan.FromMilliseconds(0.3);

    /// <summary>Prints a heading.</summary>
    public void Section(string title) => output.WriteLine($"\n{title}");

    /// <summary>Runs <paramref name="work"/>, which treats <paramref name="bytes"/> bytes a call, and prints and returns bytes per second.</summary>
    public double Measure(string name, long bytes, Action work)
    {
        // The first calls bring code and data in, and tell how many make a batch.
        int batch = 1;
        for (int round = 0; round < 40; round++)
        {
            TimeSpan taken = Time(work, batch);
            if (taken < BatchTime)
            {
                batch *= 2;
            }
        }

        TimeSpan best = TimeSpan.MaxValue;
        long start = Stopwatch.GetTimestamp();
        do
        {
            TimeSpan taken = Time(work, batch);
            best = taken < best ? taken : best;
        }
        while (Stopwatch.GetElapsedTime(start) < time);

        double seconds = best.TotalSeconds / batch;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {name,-44} {bytes / seconds / 1e9,8:F2} GB/s {seconds * 1e6,12:F2} µs a call"));
        return bytes / seconds;
    }

    private static TimeSpan Time(Action work, int calls)
    {
        long start = Stopwatch.GetTimestamp();
        for (int call = 0; call < calls; call++)
        {
            work();
        }

        return Stopwatch.GetElapsedTime(start);
    }
}
