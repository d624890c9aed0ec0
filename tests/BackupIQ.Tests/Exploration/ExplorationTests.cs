using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using BackupIQ.Repository.Maintenance.Collection;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Exploration;

/// <summary>
/// Runs the real protocol (upload sessions, collectors, removal of snapshots) through the orders of its steps on the storage, and looks after
/// every step whether each snapshot that counts has all its chunks. BACKUPIQ_EXPLORE_ORDERS says how many different orders at least, however
/// long they take (.ci/run asks for 100,000, some two minutes on two cores); without it the exploration ends after some seconds.
/// </summary>
public sealed class ExplorationTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Lag = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan Time = TimeSpan.FromSeconds(8);

    private static readonly int Orders =
        int.TryParse(Environment.GetEnvironmentVariable("BACKUPIQ_EXPLORE_ORDERS"), CultureInfo.InvariantCulture, out int orders) ? orders : 0;

    // Every order within a bound of preemptions (two, where nothing else is said), of few actors.
    private static IEnumerable<(Scenario Scenario, Bounds Bounds)> Small()
    {
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector), new Bounds { Preemptions = 3 });
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector) { ConditionalPut = false }, new Bounds());
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector) { ByConfirmation = true }, new Bounds());
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector), new Bounds { LostAnswers = 1, Preemptions = 1 });
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector), new Bounds { Crashes = 1, ReadsAreSteps = true, Preemptions = 1 });
        yield return (new(Beginning.Forgotten, Role.Writer, Role.Collector) { ListingLag = Lag }, new Bounds { LatePuts = 2, Preemptions = 1 });
        yield return (new(Beginning.OneSnapshot, Role.Writer, Role.Collector, Role.Forget), new Bounds());
        yield return (new(Beginning.NeededAndMarked, Role.Collector, Role.Collector), new Bounds { Preemptions = 1 });
        yield return (new(Beginning.StoredTwice, Role.Collector, Role.ContraryCollector), new Bounds { Preemptions = 1 });
        yield return (new(Beginning.ForgottenAndMarked, Role.Writer, Role.DoubleCollector, Role.Writer), new Bounds { Preemptions = 1 });
    }

    // Orders drawn at random: two writers, two collectors, a removal, crashes, lost answers, late listings.
    private static IEnumerable<(Scenario Scenario, Bounds Bounds)> Large()
    {
        Bounds bounds = new() { LostAnswers = 1, Crashes = 1 };
        foreach (Beginning beginning in Enum.GetValues<Beginning>())
        {
            foreach (bool conditional in (bool[])[true, false])
            {
                foreach (bool lags in (bool[])[false, true])
                {
                    yield return (
                        new(beginning, Role.Writer, Role.Writer, Role.Collector, Role.ContraryCollector, beginning == Beginning.OneSnapshot ? Role.Forget : Role.ForgetAny)
                        {
                            ConditionalPut = conditional,
                            ListingLag = lags ? Lag : TimeSpan.Zero,
                        },
                        bounds with { LatePuts = lags ? 3 : 0 });
                }
            }
        }
    }

    [Fact]
    public void NoOrderOfStepsLosesAChunk()
    {
        (Scenario Scenario, Bounds Bounds)[] small = [.. Small()];
        (Scenario Scenario, Bounds Bounds)[] large = [.. Large()];
        int cores = Environment.ProcessorCount;
        ConcurrentBag<ExplorationResult> results = [];
        long started = Stopwatch.GetTimestamp();
        ParallelOptions parallelism = new() { MaxDegreeOfParallelism = cores };
        TimeSpan each = Orders > 0 ? TimeSpan.FromMinutes(1) : Time * 0.5 * cores / small.Length;
        Parallel.ForEach(Partitioner.Create(small, EnumerablePartitionerOptions.NoBuffering), parallelism, one =>
            results.Add(Explore("all", one.Scenario, one.Bounds, new Explorer(one.Scenario, one.Bounds with { MaxTime = each }).Run)));

        // Two draws may be the same order: those that are missing then are drawn from another seed.
        int seed = 20261122;
        do
        {
            TimeSpan left = Orders > 0 ? TimeSpan.MaxValue : (Time - Stopwatch.GetElapsedTime(started)) * cores / large.Length;
            int draws = Orders > 0 ? Math.Max(1, (Orders - Count(results) + large.Length - 1) / large.Length) : int.MaxValue;
            Parallel.ForEach(Partitioner.Create(large, EnumerablePartitionerOptions.NoBuffering), parallelism, one =>
                results.Add(Explore("drawn", one.Scenario, one.Bounds, new Wanderer(one.Scenario, one.Bounds with { MaxTime = left, MaxExecutions = draws }, seed).Run)));
            seed++;
        }
        while (Count(results) < Orders && results.All(static r => r.Violation is null));

        output.WriteLine($"{Count(results)} different orders in {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s");
        results.Select(static r => r.Violation).OfType<string>().ShouldBeEmpty();
        Count(results).ShouldBeGreaterThanOrEqualTo(Math.Max(Orders, 1));
    }

    private static int Count(IEnumerable<ExplorationResult> results) => results.Sum(static r => r.Executions);

    private ExplorationResult Explore(string how, Scenario scenario, Bounds bounds, Func<ExplorationResult> run)
    {
        ExplorationResult result = run();
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{scenario} ({how}{(result.IsWhole ? ", whole" : "")}; {bounds.Preemptions} preemptions, {bounds.LostAnswers} lost answers, {bounds.LatePuts} late puts, {bounds.Crashes} crashes): {result.Executions} runs for {result.Interleavings:0} orders, {result.Steps} steps{(result.Violation is null ? "" : ", BROKEN")}"));
        return result;
    }

    [Theory]
    [InlineData("sessions listed before the marks are visible")]
    [InlineData("marked packs count as holders")]
    [InlineData("marks taken back")]
    [InlineData("unconfirmed snapshots do not count")]
    [InlineData("a late index segment of a fenced writer, and no tombstones")]
    public void APlantedFaultIsFound(string fault)
    {
        Scenario scenario = fault switch
        {
            "sessions listed before the marks are visible" =>
                new(Beginning.Forgotten, Role.Writer, Role.Collector) { Switches = new ProtocolSwitches { ListSessionsBeforeMarking = true } },
            "marked packs count as holders" =>
                new(Beginning.StoredTwice, Role.Collector, Role.ContraryCollector) { Switches = new ProtocolSwitches { CountMarkedHolders = true } },
            "marks taken back" =>
                new(Beginning.NeededAndMarked, Role.Collector, Role.Collector) { Switches = new ProtocolSwitches { TakeMarksBack = true } },
            "unconfirmed snapshots do not count" =>
                new(Beginning.Forgotten, Role.Writer, Role.Collector) { ConditionalPut = false, Switches = new ProtocolSwitches { CountConfirmedOnly = true } },
            _ => new(Beginning.Forgotten, Role.Writer, Role.DoubleCollector, Role.Writer) { Switches = new ProtocolSwitches { PutNoTombstones = true } },
        };
        ExplorationResult result = new Explorer(scenario, new Bounds { MaxTime = TimeSpan.FromMinutes(2) }).Run();
        output.WriteLine($"{result.Executions} runs\n{result.Violation}");
        result.Violation.ShouldNotBeNull().ShouldContain("no pack has it");
    }
}
