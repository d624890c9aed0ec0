using System.Text.Json;
using BackupIQ.Cli.Output;

namespace BackupIQ.Cli.Commands;

/// <summary>How much a finding matters.</summary>
internal enum FindingLevel
{
    /// <summary>As it should be.</summary>
    Good,

    /// <summary>Worth knowing.</summary>
    Note,

    /// <summary>Somebody should do something.</summary>
    Warning,

    /// <summary>It does not work like this.</summary>
    Failed,
}

/// <summary>Something that was looked at.</summary>
/// <param name="Level">How much it matters.</param>
/// <param name="Check">What was looked at, in a word or two.</param>
/// <param name="Message">What was seen.</param>
/// <param name="Guidance">What to do; null where there is nothing to do.</param>
internal sealed record Finding(FindingLevel Level, string Check, string Message, string? Guidance = null)
{
    /// <summary>A line for each, and one for its cure.</summary>
    public static void Show(TextWriter output, IEnumerable<Finding> findings)
    {
        foreach (Finding finding in findings)
        {
            string mark = finding.Level switch { FindingLevel.Good => "ok  ", FindingLevel.Note => "note", FindingLevel.Warning => "WARN", _ => "FAIL" };
            output.WriteLine($"{mark}  {finding.Check}: {DisplayText.Of(finding.Message)}");
            if (finding.Guidance is { } guidance)
            {
                output.WriteLine($"      -> {DisplayText.Of(guidance)}");
            }
        }
    }

    /// <summary>The array <c>findings</c>.</summary>
    public static void Write(Utf8JsonWriter writer, IEnumerable<Finding> findings)
    {
        writer.WriteStartArray("findings");
        foreach (Finding finding in findings)
        {
            writer.WriteStartObject();
            writer.WriteString("level", finding.Level.ToString().ToLowerInvariant());
            writer.WriteString("check", finding.Check);
            writer.WriteString("message", finding.Message);
            writer.WriteString("guidance", finding.Guidance);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
