using System.Text.RegularExpressions;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Jobs;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Library;

/// <summary>What docs/library.md says is true: its program is built from the page and run.</summary>
public sealed partial class LibraryTests(DocumentedProgram program) : IClassFixture<DocumentedProgram>, IDisposable
{
    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void The_program_of_the_page_backs_up_and_restores_what_it_was_given()
    {
        string source = _user.MakeTree();
        ProgramRun first = RunExample(source).ShouldEndWith(0);
        first.Text.ShouldContain("6 restored, 0 there already");
        ScratchFolder.Run("diff", "-r", "--no-dereference", source, _user.At("target"));
        File.GetUnixFileMode(_user.Repository + ".recovery-kit.txt").ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);

        File.AppendAllText(Path.Combine(source, "readme.txt"), "more");
        ProgramRun second = RunExample(source).ShouldEndWith(0);
        second.Text.ShouldContain("incremental-");
        File.ReadAllText(_user.At("target", "readme.txt")).ShouldEndWith("more");
    }

    [Fact]
    public void Its_repository_is_one_for_the_command_line_too()
    {
        RunExample(_user.MakeTree()).ShouldEndWith(0);
        _user.Write("password", "a secret of the page");
        _user.RunPlain("check", "--read-data", "--repo", _user.Repository, "--password-file", _user.PasswordFile).ShouldEndWith(0);
        _user.RunPlain("ls", "latest", "--repo", _user.Repository, "--recovery-kit", _user.Repository + ".recovery-kit.txt")
            .ShouldEndWith(0).Text.ShouldContain("letter.txt");
    }

    [Fact]
    public void It_ends_as_the_command_line_does_where_it_fails()
    {
        string source = _user.MakeTree();
        RunExample(source).ShouldEndWith(0);
        ProgramRun refused = RunExample(source, password: "another").ShouldEndWith(12);
        refused.Error.ShouldStartWith("Authentication: ");
        _user.RunOther(DocumentedProgram.Dotnet, program.Assembly).ShouldEndWith(2);

        foreach (string pack in _user.Objects("d"))
        {
            File.Delete(pack);
        }

        RunExample(source).ShouldEndWith(14).Error.ShouldContain("d/");
    }

    [Fact]
    public void Every_entry_type_has_an_example()
    {
        string[] entries =
        [
            .. typeof(BackupIqRepository).Assembly.GetExportedTypes()
                .Where(static type => EntryType().IsMatch(type.Name) || type == typeof(BackupIqRepository)).Select(static type => type.FullName!),
        ];
        entries.Length.ShouldBeGreaterThan(9);
        entries.Except(DocumentedProgram.Examples.Select(static example => example.Type)).ShouldBeEmpty();
    }

    [Fact]
    public void Every_type_and_call_that_the_page_names_exists()
    {
        string[] names =
        [
            .. typeof(BackupIqRepository).Assembly.GetExportedTypes().Concat(typeof(Primitives.Secret).Assembly.GetExportedTypes())
                .SelectMany(static type => type.GetMembers().Select(static member => member.Name).Append(type.Name)),
        ];
        string[] named = [.. Word().Matches(DocumentedProgram.Page).Select(static match => match.Value)];
        named.Length.ShouldBeGreaterThan(30);
        named.Except(names).ShouldBeEmpty();
    }

    private ProgramRun RunExample(string source, string password = "a secret of the page")
    {
        _user.Environment["BACKUPIQ_PASSWORD"] = password;
        try
        {
            return _user.RunOther(DocumentedProgram.Dotnet, program.Assembly, source, _user.Repository, _user.At("target"));
        }
        finally
        {
            _user.Environment.Remove("BACKUPIQ_PASSWORD");
        }
    }

    [GeneratedRegex("(Request|Query|Browser|Secrets|Options)$", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex EntryType();

    // Methods and types of ours outside the program, which the compiler looks after.
    [GeneratedRegex(@"(?<=`[^`\n]*)\b(BackupIq\w+|\w+Async|\w+(Request|Query|Browser|Options))\b(?=[^`\n]*`)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Word();
}
