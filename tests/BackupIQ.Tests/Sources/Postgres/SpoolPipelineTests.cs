using System.Diagnostics;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Dump;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>A program that writes a folder of files is followed while it writes.</summary>
public sealed class SpoolPipelineTests : IDisposable
{
    private const int Megabyte = 1 << 20;
    private static readonly Dictionary<string, string?> Nothing = [];

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task AProgramThatIsFasterThanItsReadersStandsStill()
    {
        using Run run = Start("for i in 1 2 3 4; do dd if=/dev/zero of=$i bs=1M count=16 iflag=fullblock 2>/dev/null; sleep 0.2; done; echo end >last", mostWaiting: 8 * Megabyte);
        run.Spool.TryTake(out SpooledFile first, TestContext.Current.CancellationToken).ShouldBeTrue();
        first.Name.ShouldBe("1");

        // Nobody reads: it stops, and stays so.
        await Until(() => run.Length > 8 * Megabyte);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        long stands = run.Length;
        stands.ShouldBeLessThan(64 * Megabyte);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        run.Length.ShouldBe(stands);

        List<string> names = [];
        long total = 0;
        for (SpooledFile? file = first; file is not null; file = run.Spool.TryTake(out SpooledFile next, TestContext.Current.CancellationToken) ? next : null)
        {
            names.Add(file.Name);
            total += Read(run.Spool, file);
        }

        names.ShouldBe(["1", "2", "3", "4"]);
        total.ShouldBe(64 * Megabyte);
        run.Program.RequireSuccess(static _ => ErrorCodes.SourceServer);
    }

    [Fact]
    public void AReaderThatWaitsForTheProgramIsNeverKeptWaitingByWhatNobodyReads()
    {
        using Run run = Start("exec 3>a; head -c 1000 /dev/zero >&3; dd if=/dev/zero of=b bs=1M count=40 iflag=fullblock 2>/dev/null; head -c 1000 /dev/zero >&3", mostWaiting: 4 * Megabyte);
        run.Spool.TryTake(out SpooledFile file, TestContext.Current.CancellationToken).ShouldBeTrue();
        file.Name.ShouldBe("a");
        Read(run.Spool, file).ShouldBe(2000);
        run.Spool.TryTake(out SpooledFile other, TestContext.Current.CancellationToken).ShouldBeTrue();
        Read(run.Spool, other).ShouldBe(40 * Megabyte);
        run.Spool.TryTake(out _, TestContext.Current.CancellationToken).ShouldBeFalse();
    }

    [Fact]
    public void AFailureIsToldInTheWordsOfTheProgramAndAnEndedReaderIsWoken()
    {
        using Run run = Start("echo abc >a; sleep 0.2; echo 'sh: warning: careful' >&2; echo 'sh: error: it broke' >&2; exit 3", mostWaiting: Megabyte);
        run.Spool.TryTake(out SpooledFile file, TestContext.Current.CancellationToken).ShouldBeTrue();
        Read(run.Spool, file).ShouldBe(4);
        run.Spool.TryTake(out _, TestContext.Current.CancellationToken).ShouldBeFalse();
        BackupIQException failure = Should.Throw<BackupIQException>(() => run.Program.RequireSuccess(static said => said == "it broke" ? ErrorCodes.Resource : ErrorCodes.Internal));
        failure.Code.ShouldBe(ErrorCodes.Resource);
        failure.Message.ShouldBe("sh failed with exit status 3: it broke");

        // One that stands still ends all the same.
        using Run endless = Start("echo abc >a; exec 3>b; while :; do echo >>c; done", mostWaiting: 10);
        endless.Spool.TryTake(out SpooledFile begun, TestContext.Current.CancellationToken).ShouldBeTrue();
        endless.Spool.TryTake(out SpooledFile open, TestContext.Current.CancellationToken).ShouldBeTrue();
        Task reader = Task.Run(() => endless.Spool.WaitFor(open, 0));
        long began = Stopwatch.GetTimestamp();
        endless.Dispose();
        Should.Throw<OperationCanceledException>(() => reader.GetAwaiter().GetResult());
        Stopwatch.GetElapsedTime(began).ShouldBeLessThan(TimeSpan.FromSeconds(8));
    }

    private static async Task Until(Func<bool> isSo)
    {
        for (int i = 0; !isSo(); i++)
        {
            i.ShouldBeLessThan(1000);
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    private static long Read(SpoolPipeline spool, SpooledFile file)
    {
        using FileStream stream = new(file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        byte[] buffer = new byte[256 << 10];
        spool.Enter();
        while (true)
        {
            bool isWhole = spool.IsWhole(file);
            int read = stream.Read(buffer);
            spool.Take(read);
            if (read == 0 && isWhole)
            {
                spool.Leave();
                return stream.Position;
            }

            if (read == 0)
            {
                spool.WaitFor(file, stream.Position);
            }
        }
    }

    private Run Start(string script, long mostWaiting)
    {
        string folder = _scratch.At(Guid.NewGuid().ToString("n"));
        Directory.CreateDirectory(folder);
        FolderWatch watch = new(folder);
        SupervisedProgram program = SupervisedProgram.Start("/bin/sh", ["-c", $"cd '{folder}'; {script}"], Nothing, null);
        return new Run(folder, watch, program, new SpoolPipeline(folder, "last", program, watch, mostWaiting));
    }

    private sealed record Run(string Folder, FolderWatch Watch, SupervisedProgram Program, SpoolPipeline Spool) : IDisposable
    {
        private bool _isDisposed;

        public long Length => new DirectoryInfo(Folder).EnumerateFiles().Sum(static file => file.Length);

        public void Dispose()
        {
            if (!_isDisposed)
            {
                _isDisposed = true;
                Spool.Dispose();
                Program.Dispose();
                Watch.Dispose();
            }
        }
    }
}
