using System.Diagnostics.Metrics;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class StorageHealthTests : IDisposable
{
    private readonly SteppedTime _time = new();
    private readonly StorageRegistry _registry;
    private readonly LineBackend _line;

    public StorageHealthTests()
    {
        _registry = new StorageRegistry(_time);
        _line = new LineBackend(new MemoryBackend(_time), _time);
    }

    public void Dispose() => _registry.Dispose();

    [Fact]
    public void PercentilesAreThoseOfTheLastRequests()
    {
        LatencyWindow window = new();
        window.Percentile(0.5).ShouldBeNull();
        window.Add(TimeSpan.FromMilliseconds(7));
        window.Percentile(0.99).ShouldBe(TimeSpan.FromMilliseconds(7));
        foreach (int i in Enumerable.Range(1, 1000).Reverse())
        {
            window.Add(TimeSpan.FromMilliseconds(i));
        }

        // The last 256 were 256 ms down to 1 ms.
        window.Percentile(0.5).ShouldBe(TimeSpan.FromMilliseconds(128));
        window.Percentile(0.95).ShouldBe(TimeSpan.FromMilliseconds(244));
        window.Percentile(0.99).ShouldBe(TimeSpan.FromMilliseconds(254));
    }

    [Fact]
    public async Task TheReportCountsWhatHappened()
    {
        IStorageBackend storage = StorageStack.Wrap(_line, "line", new ResilienceOptions { Random = static () => 0 }, _registry, _time);
        _line.OnMove = async (operation, _, token) => await Task.Delay(TimeSpan.FromMilliseconds(operation == StorageOperation.Stat ? 10 : 1), _time, token);
        await _time.RunAsync(storage.PutAsync(new StorageKey("d/1"), StorageContent.FromBytes(new byte[1000]), CancellationToken.None).AsTask());
        await _time.RunAsync(storage.ReadAsync(new StorageKey("d/1"), 900, new byte[500], CancellationToken.None).AsTask());
        for (int i = 0; i < 10; i++)
        {
            await _time.RunAsync(storage.StatAsync(new StorageKey("d/1"), CancellationToken.None).AsTask());
        }

        _line.OnMove = static (_, _, _) => throw new StorageException(ErrorCodes.StorageConnection, "Reset.");
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(storage.DeleteAsync(new StorageKey("d/1"), CancellationToken.None).AsTask()));

        StorageHealthReport report = _registry.Report().ShouldHaveSingleItem();
        report.Provider.ShouldBe("line");
        (report.BytesPut, report.BytesRead).ShouldBe((1000, 100));
        (report.Failures, report.Retries, report.Recoveries, report.GiveUps).ShouldBe((3, 2, 0, 1));

        // Two look-ups of the clock, and the ten.
        report.Latencies[StorageOperation.Stat].ShouldBe(new LatencyReport(12, TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(10)));
        report.Latencies.Keys.ShouldBe([StorageOperation.Put, StorageOperation.Read, StorageOperation.Stat], ignoreOrder: true);
        report.Breaker.FailuresInARow.ShouldBe(3);
        report.InFlight.ShouldBe(0);
    }

    [Fact]
    public async Task MetricsShowTheSame()
    {
        Dictionary<string, double> seen = [];
        using MeterListener listener = new();
        listener.InstrumentPublished = static (instrument, self) =>
        {
            if (instrument.Meter.Name == StorageRegistry.MeterName)
            {
                self.EnableMeasurementEvents(instrument);
            }
        };

        // Other tests have meters of the same name: only this provider's count.
        string provider = Guid.NewGuid().ToString("N");
        void Note<T>(Instrument instrument, T value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
            where T : struct
        {
            if (tags[0].Key == "provider" && Equals(tags[0].Value, provider))
            {
                lock (seen)
                {
                    seen[instrument.Name] = seen.GetValueOrDefault(instrument.Name) + Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture);
                }
            }
        }

        listener.SetMeasurementEventCallback<long>(Note);
        listener.SetMeasurementEventCallback<int>(Note);
        listener.SetMeasurementEventCallback<double>(Note);
        listener.Start();
        IStorageBackend storage = StorageStack.Wrap(_line, provider, new ResilienceOptions { Random = static () => 0, FailuresToOpen = 2 }, _registry, _time);
        await storage.PutAsync(new StorageKey("d/1"), StorageContent.FromBytes(new byte[1000]), CancellationToken.None);
        _line.OnMove = static (_, _, _) => throw new StorageException(ErrorCodes.StorageConnection, "Reset.");
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(storage.DeleteAsync(new StorageKey("d/1"), CancellationToken.None).AsTask()));
        listener.RecordObservableInstruments();

        seen["backupiq.storage.bytes"].ShouldBe(1000);
        seen["backupiq.storage.breaker.state"].ShouldBe((int)BreakerState.Open);
        seen["backupiq.storage.retries"].ShouldBeGreaterThan(0);
        seen["backupiq.storage.give_ups"].ShouldBe(1);
        seen["backupiq.storage.requests"].ShouldBe(_registry.Report()[0].Requests);
        seen["backupiq.storage.connections"].ShouldBe(4);
    }

    [Theory]
    [InlineData(-3600, true)]
    [InlineData(301, true)]
    [InlineData(299, false)]
    [InlineData(0, false)]
    public async Task AClockThatIsOffIsToldOnce(int seconds, bool isTold)
    {
        SteppedTime theirs = new(_time.GetUtcNow() + TimeSpan.FromSeconds(seconds));
        List<TimeSpan> told = [];
        IStorageBackend storage = StorageStack.Wrap(
            new LineBackend(new MemoryBackend(theirs), _time), "line", new ResilienceOptions { OnClockSkew = told.Add }, _registry, _time);
        for (int i = 0; i < 3; i++)
        {
            await storage.PutAsync(new StorageKey($"d/{i}"), StorageContent.FromBytes(new byte[1]), CancellationToken.None);
        }

        told.ShouldBe(isTold ? [TimeSpan.FromSeconds(seconds)] : []);
        _registry.Report().ShouldHaveSingleItem().ClockSkew.ShouldBe(TimeSpan.FromSeconds(seconds));
    }

    [Fact]
    public async Task AnObjectThatWasThereBeforeSaysNothingOfClocks()
    {
        MemoryBackend memory = new(_time);
        await memory.PutAsync(new StorageKey("d/old"), StorageContent.FromBytes(new byte[1]), CancellationToken.None);
        _time.Advance(TimeSpan.FromDays(3));
        List<TimeSpan> told = [];
        IStorageBackend storage = StorageStack.Wrap(new LineBackend(memory, _time), "line", new ResilienceOptions { OnClockSkew = told.Add }, _registry, _time);
        (await storage.PutAsync(new StorageKey("d/old"), StorageContent.FromBytes(new byte[1]), CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        told.ShouldBeEmpty();
        _registry.Report()[0].ClockSkew.ShouldBeNull();
        await storage.PutAsync(new StorageKey("d/new"), StorageContent.FromBytes(new byte[1]), CancellationToken.None);
        _registry.Report()[0].ClockSkew.ShouldBe(TimeSpan.Zero);
    }
}
