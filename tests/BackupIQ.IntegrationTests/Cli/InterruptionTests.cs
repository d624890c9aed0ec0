using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Ctrl-C, and what a service manager sends: exit code 130, and what was stored stays usable.</summary>
public sealed class InterruptionTests : IDisposable
{
    private const int Large = 48 << 20;

    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData(2)]
    [InlineData(15)]
    public void AnInterruptedBackupEndsWithCode130AndTheNextReusesWhatItStored(int signal)
    {
        string source = _user.MakeTree(large: Large);
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "10M", "--checkpoint-interval", "1s", "--no-progress");
        WaitFor(running, () => _user.Objects("d").Length > 0);
        running.Interrupt(signal);
        ProgramRun run = running.Wait().ShouldEndWith(130);
        run.Error.ShouldContain("Interrupted");
        run.Text.ShouldNotContain("saved");
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(0);
        _user.Run("check").ShouldEndWith(0);
        long stored = _user.Objects("d").Sum(static file => new FileInfo(file).Length);

        // What it had stored is shown on request, and restored by its id.
        JsonElement partial = _user.Run("snapshots", "--partial", "--json").ShouldEndWith(0).Json().EnumerateArray().Single();
        partial.GetProperty("partial").GetBoolean().ShouldBeTrue();
        ProgramRun restored = _user.Run("restore", partial.GetProperty("id").GetString()!, "--target", _user.At("partial")).ShouldEndWith(0);
        restored.Error.ShouldContain("is partial");
        File.ReadAllText(_user.At("partial") + Path.Combine(source, "docs", "letter.txt")).ShouldBe(File.ReadAllText(Path.Combine(source, "docs", "letter.txt")));
        _user.Run("restore", "latest", "--target", _user.At("latest")).ShouldEndWith(1);

        JsonElement next = _user.Backup(source);
        next.GetProperty("data_added").GetInt64().ShouldBeLessThanOrEqualTo(Large + 100_000 - (stored * 9 / 10));
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
    }

    [Fact]
    public void AnInterruptedRestoreLeavesNoHalfFileAndTheNextCompletesIt()
    {
        string source = _user.MakeTree(large: Large);
        _user.Backup(source);
        string target = _user.At("restored");
        ProgramUser.RunningProgram running = _user.Start("restore", "latest", "--target", target, "--limit-download", "4M", "--no-progress");
        WaitFor(running, () => File.Exists(Path.Combine(target + source, "large.bin")));
        running.Interrupt();
        running.Wait().ShouldEndWith(130);
        File.Exists(Path.Combine(target + source, "large.bin")).ShouldBeFalse();

        _user.Run("restore", "latest", "--target", target).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
    }

    private static void WaitFor(ProgramUser.RunningProgram running, Func<bool> happened)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!happened())
        {
            if (running.HasEnded || watch.Elapsed > TimeSpan.FromSeconds(60))
            {
                ProgramRun run = running.Wait(TimeSpan.FromSeconds(1));
                throw new InvalidOperationException($"It ended with {run.Code} before it could be interrupted: {run.Text}{run.Error}");
            }

            Thread.Sleep(20);
        }
    }
}
