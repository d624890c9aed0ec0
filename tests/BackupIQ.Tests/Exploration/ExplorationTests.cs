using System.Diagnostics;
using System.Globalization;
using BackupIQ.Repository.Maintenance.Collection;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Exploration;

/// <summary>
/// Runs the real protocol (upload sessions, collectors, removal of snapshots) through the orders of its steps on the storage, and looks after
/// every step whether each snapshot that counts has all its chunks. BACKUPIQ_EXPLORE_SECONDS says for how long, 10 without it.
/// </summary>
public sealed class ExplorationTests(ITestOutputHelper output)
{
    private static readonly TimeSpan Time = TimeSpan.FromSeconds(
        double.TryParse(Environment.GetEnvironmentVariable("BACKUPIQ_EXPLORE_SECONDS"), CultureInfo.InvariantCulture, out double seconds) ? seconds : 10);

    [Fact]
    public void NoOrderOfStepsLosesAChunk()
    {
        long started = Stopwatch.GetTimestamp();
        (Scenario Scenario, Bounds Bounds)[] all =
        [
            (new Scenario(Beginning.Forgotten, Role.Writer, Role.Collector), new Bounds()),
            (new Scenario(Beginning.NeededAndMarked, Role.Collector, Role.Collector), new Bounds()),
            (new Scenario(Beginning.OneSnapshot, Role.Writer, Role.Collector, Role.Forget), new Bounds()),
            (new Scenario(Beginning.Forgotten, Role.Writer, Role.Collector) { ConditionalPut = false }, new Bounds()),
        ];
        foreach ((Scenario scenario, Bounds bounds) in all)
        {
            TimeSpan left = Time - Stopwatch.GetElapsedTime(started);
            if (left > TimeSpan.Zero)
            {
                ExplorationResult result = new Explorer(scenario, bounds with { MaxTime = left }).Run();
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"{scenario}: {result.Executions} runs for {result.Interleavings:0} orders, {(result.IsWhole ? "all" : "cut short")}"));
                result.Violation.ShouldBeNull();
            }
        }
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
