using System.Diagnostics;
using System.Globalization;

namespace BackupIQ.Benchmarks;

/// <summary>Measures short pieces of work on one thread: the best of several rounds, since noise only ever adds.</summary>
internal sealed class Stopclock(TextWriter output, int rounds, TimeSpan roundTime)
{
    /// <summary>Prints a heading.</summary>
    public void Section(string title) => output.WriteLine($"\n{title}");

    /// <summary>Runs <paramref name="work"/>, which treats <paramref name="bytes"/> bytes a call, and prints and returns bytes per second.</summary>
    public double Measure(string name, long bytes, Action work)
    {
        // The first calls bring code and data in; then as many calls a round as fill its time.
        long start = Stopwatch.GetTimestamp();
        long calls = 0;
        do
        {
            work();
            calls++;
        }
        while (Stopwatch.GetElapsedTime(start) < roundTime);

        double best = double.MaxValue;
        for (int round = 0; round < rounds; round++)
        {
            start = Stopwatch.GetTimestamp();
            for (long call = 0; call < calls; call++)
            {
                work();
            }

            best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds / calls);
        }

        double speed = bytes / best;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {name,-44} {speed / 1e9,8:F2} GB/s {best * 1e6,12:F2} µs a call"));
        return speed;
    }
}
