using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Command;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources;

public sealed class CommandSourceTests
{
    [Fact]
    public void TheOutputOfACommandIsTheContentOfOneFile()
    {
        using CommandSource source = new(
            new CommandSourceOptions { FileName = "dumps/db.sql"u8.ToArray(), Command = ["sh", "-c", "printf 'a b'; printf c"] },
            TimeProvider.System);
        List<SourceEvent> events = [.. source.Walk(default)];
        events.Select(static e => (e.Kind, Encoding.UTF8.GetString(e.Entry!.Name))).ShouldBe(
        [
            (SourceEventKind.Enter, "dumps"), (SourceEventKind.Leaf, "db.sql"), (SourceEventKind.Leave, "dumps"),
        ]);
        using ISourceFile file = source.Open(events[1].Entry!);
        file.IsSequential.ShouldBeTrue();
        byte[] buffer = new byte[3];
        file.Read(buffer, 0).ShouldBe(3);
        file.Read(buffer.AsSpan(1), 3).ShouldBe(1);
        file.Read(buffer, 4).ShouldBe(0);
        Encoding.UTF8.GetString(buffer).ShouldBe("acb");
        file.Stat().Size.ShouldBe(4u);
        NodeMetadata node = source.Describe(events[1].Entry!);
        node.Size.ShouldBe(4u);
        node.Mode.ShouldBe(0x180u);
    }

    [Fact]
    public void ACommandThatFailsMakesTheReadAtTheEndThrow()
    {
        using CommandSource source = new(new CommandSourceOptions { Command = ["sh", "-c", "echo part; exit 3"] }, TimeProvider.System);
        using ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        byte[] buffer = new byte[4];
        file.Read(buffer, 0).ShouldBe(4);
        Should.Throw<BackupIQException>(() => file.Read(buffer, 4)).Code.ShouldBe(ErrorCodes.SourceCommand);
    }

    [Fact]
    public void ACommandThatIsNotThereIsToldWhenItIsOpened()
    {
        using CommandSource source = new(new CommandSourceOptions { Command = ["/nonexistent/command"] }, TimeProvider.System);
        Should.Throw<BackupIQException>(() => source.Open(source.Walk(default).Single().Entry!)).Code.ShouldBe(ErrorCodes.SourceCommand);
    }

    [Fact]
    public void ReadingOutOfOrderOrTwiceIsMisuse()
    {
        using CommandSource source = new(new CommandSourceOptions { Input = new MemoryStream("text"u8.ToArray()) }, TimeProvider.System);
        SourceEntry entry = source.Walk(default).Single().Entry!;
        using ISourceFile file = source.Open(entry);
        Should.Throw<InvalidOperationException>(() => source.Open(entry));
        Should.Throw<InvalidOperationException>(() => file.Read(new byte[1], 1));
        byte[] buffer = new byte[10];
        file.Read(buffer, 0).ShouldBe(4);
        Should.Throw<InvalidOperationException>(() => file.Read(buffer, 0));
    }

    [Fact]
    public void ACommandThatStillRunsIsEndedWithItsSource()
    {
        CommandSource source = new(new CommandSourceOptions { Command = ["sh", "-c", "echo $$; exec sleep 1000"] }, TimeProvider.System);
        ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        byte[] first = new byte[1];
        StringBuilder id = new();
        for (long at = 0; file.Read(first, at) == 1 && first[0] != '\n'; at++)
        {
            id.Append((char)first[0]);
        }

        source.Dispose();
        SpinWait.SpinUntil(() => HasEnded(id.ToString()), TimeSpan.FromSeconds(30)).ShouldBeTrue();
    }

    private static bool HasEnded(string processId)
    {
        try
        {
            return File.ReadAllText($"/proc/{processId}/status").Contains("State:\tZ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            // Gone, before or while it was read.
            return true;
        }
    }

    [Fact]
    public void TheFileNeedsAName() =>
        Should.Throw<BackupIQException>(static () => new CommandSource(new CommandSourceOptions { FileName = "/"u8.ToArray() }, TimeProvider.System))
            .Code.ShouldBe(ErrorCodes.Usage);
}
