using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Sessions;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Sessions;

/// <summary>How hard <c>auto</c> compresses follows what a backup waits for.</summary>
public sealed class WriterPaceTests
{
    [Fact]
    public void EffortRisesWhileWritersWaitForTheStorageAndFallsWhenTheyDoNot()
    {
        StepClock time = new();
        WriterPace pace = new(time);
        pace.Effort.ShouldBe(0);
        for (int window = 1; window <= 6; window++)
        {
            pace.Wait(() => time.Advance(TimeSpan.FromMilliseconds(400)));
            time.Advance(TimeSpan.FromMilliseconds(150));
            pace.Effort.ShouldBe(Math.Min(window, WriterPace.MaxEffort));
        }

        for (int window = 1; window <= 6; window++)
        {
            time.Advance(TimeSpan.FromMilliseconds(600));
            pace.Effort.ShouldBe(Math.Max(0, WriterPace.MaxEffort - window));
        }
    }

    [Fact]
    public void ALittleWaitingChangesNothing()
    {
        StepClock time = new();
        WriterPace pace = new(time);
        for (int window = 0; window < 5; window++)
        {
            pace.Wait(() => time.Advance(TimeSpan.FromMilliseconds(150)));
            time.Advance(TimeSpan.FromMilliseconds(450));
            pace.Effort.ShouldBe(0);
        }
    }

    [Fact]
    public void AutoStoresLessTheMoreItMaySpendAndANamedLevelStaysWhatItIs()
    {
        byte[] program = File.ReadAllBytes(typeof(WriterPaceTests).Assembly.Location);
        program = program.AsSpan(0, Math.Min(program.Length, FrameCompressor.MaxPlainLength)).ToArray();
        int[] auto = Sizes("auto", program);
        auto[WriterPace.MaxEffort].ShouldBeLessThan(auto[0] * 97 / 100);
        int[] named = Sizes("zstd:3", program);
        named.Distinct().Count().ShouldBe(1);
    }

    private static int[] Sizes(string setting, byte[] plain)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        byte[] stored = new byte[plain.Length];
        return
        [
            .. Enumerable.Range(0, WriterPace.MaxEffort + 1).Select(effort =>
            {
                compressor.Effort = effort;
                return compressor.Compress(plain, stored, ContentHint.Unknown).StoredLength;
            }),
        ];
    }

    private sealed class StepClock : TimeProvider
    {
        private long _ticks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _ticks;

        public void Advance(TimeSpan by) => _ticks += by.Ticks;
    }
}
