using BackupIQ.Repository;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository;

/// <summary>Many small reads, several at a time, in order.</summary>
public sealed class ReadAheadPipelineTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task SoManyAreUnderWayAtOnceAndComeInTheOrderOfTheItems(int width)
    {
        int running = 0;
        int most = 0;
        TaskCompletionSource full = new();
        List<int> came = [];
        await foreach (int item in ReadAheadPipeline.RunAsync(
            Enumerable.Range(0, 50).ToArray(),
            width,
            async (item, stop) =>
            {
                int now = Interlocked.Increment(ref running);
                most = Math.Max(most, now);
                if (now == width)
                {
                    full.TrySetResult();
                }

                // Nobody goes on before as many as may be are under way; then the later ones end first.
                await full.Task.WaitAsync(TimeSpan.FromSeconds(30), stop);
                await Task.Delay((item % width) == 0 ? 5 : 0, stop);
                Interlocked.Decrement(ref running);
                return item;
            },
            Token))
        {
            came.Add(item);
        }

        came.ShouldBe(Enumerable.Range(0, 50));
        most.ShouldBe(width);
    }

    [Fact]
    public async Task AFailureComesInItsTurnAndThenNothingIsUnderWay()
    {
        int running = 0;
        List<int> came = [];
        InvalidOperationException failure = await Should.ThrowAsync<InvalidOperationException>(async () =>
        {
            await foreach (int item in ReadAheadPipeline.RunAsync(
                Enumerable.Range(0, 50).ToArray(),
                8,
                async (item, stop) =>
                {
                    Interlocked.Increment(ref running);
                    try
                    {
                        await Task.Delay(item == 9 ? 1 : item > 9 ? 60_000 : 5, stop);
                        return item == 9 ? throw new InvalidOperationException("nine") : item;
                    }
                    finally
                    {
                        Interlocked.Decrement(ref running);
                    }
                },
                Token))
            {
                came.Add(item);
            }
        });
        failure.Message.ShouldBe("nine");
        came.ShouldBe(Enumerable.Range(0, 9));
        running.ShouldBe(0);
    }

    [Fact]
    public async Task WhoStopsEarlyLeavesNothingUnderWay()
    {
        int running = 0;
        await foreach (int item in ReadAheadPipeline.RunAsync(
            Enumerable.Range(0, 50).ToArray(),
            8,
            async (item, stop) =>
            {
                Interlocked.Increment(ref running);
                try
                {
                    await Task.Delay(item == 0 ? 1 : 60_000, stop);
                    return item;
                }
                finally
                {
                    Interlocked.Decrement(ref running);
                }
            },
            Token))
        {
            break;
        }

        running.ShouldBe(0);
    }
}
