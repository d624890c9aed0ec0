using System.Text;
using System.Text.Json;
using Shouldly;

namespace BackupIQ.IntegrationTests.Processes;

/// <summary>A run of the program that has ended.</summary>
/// <param name="Code">Its exit code.</param>
/// <param name="Output">What it wrote to standard output.</param>
/// <param name="ErrorOutput">What it wrote to standard error.</param>
internal sealed record ProgramRun(int Code, byte[] Output, byte[] ErrorOutput)
{
    public string Text => Encoding.UTF8.GetString(Output);

    public string Error => Encoding.UTF8.GetString(ErrorOutput);

    /// <summary>Fails unless the run ended with <paramref name="code"/> and without a stack trace.</summary>
    public ProgramRun ShouldEndWith(int code)
    {
        Code.ShouldBe(code, $"standard output:\n{Text}\nstandard error:\n{Error}");
        (Text + Error).ShouldNotContain("   at ", customMessage: "a stack trace was shown without -vv");
        return this;
    }

    /// <summary>The one document on standard output.</summary>
    public JsonElement Json()
    {
        using JsonDocument document = JsonDocument.Parse(Output);
        return document.RootElement.Clone();
    }

    /// <summary>The objects on standard output, one a line.</summary>
    public IReadOnlyList<JsonElement> Lines() => Parse(Text);

    /// <summary>The last line of standard output, which is the summary of a long command.</summary>
    public JsonElement Summary()
    {
        JsonElement last = Lines()[^1];
        last.GetProperty("message_type").GetString().ShouldBe("summary");
        return last;
    }

    /// <summary>The last line of standard error, with which a <c>--json</c> command tells why it failed.</summary>
    public JsonElement ExitError()
    {
        JsonElement last = Parse(Error)[^1];
        last.GetProperty("message_type").GetString().ShouldBe("exit_error");
        last.GetProperty("code").GetInt32().ShouldBe(Code);
        return last;
    }

    private static JsonElement[] Parse(string text) =>
    [
        .. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line =>
        {
            using JsonDocument document = JsonDocument.Parse(line);
            return document.RootElement.Clone();
        }),
    ];
}
