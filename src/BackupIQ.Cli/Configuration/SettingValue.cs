using System.Globalization;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Configuration;

/// <summary>Where a setting's value comes from, the strongest first.</summary>
internal enum SettingOrigin
{
    Flag,
    Environment,
    File,
    Default,
}

/// <summary>A setting with its value and where that comes from.</summary>
/// <param name="Definition">The setting.</param>
/// <param name="Values">Its values; none when it is not set, one unless it is a list.</param>
/// <param name="Origin">Where they come from.</param>
/// <param name="Place">That place for people: <c>--host</c>, <c>BACKUPIQ_HOST</c>, <c>/etc/x.yaml:3</c>, <c>default</c>.</param>
internal sealed record SettingValue(SettingDefinition Definition, IReadOnlyList<string> Values, SettingOrigin Origin, string Place)
{
    /// <summary>The value, or null when there is none.</summary>
    public string? Text => Values.Count > 0 ? Values[^1] : null;

    /// <summary>What is wrong with a text as this setting's value, or null.</summary>
    public static string? Problem(SettingDefinition definition, string text) => definition.Kind switch
    {
        SettingKind.Size when !Quantity.TryParseSize(text, out _) => $"'{DisplayText.Of(text)}' is not a size; write it as 512M or 2G",
        SettingKind.Rate when !RateText.TryParse(text, out _) => $"'{DisplayText.Of(text)}' is no rate; write it as 10M, or as 08:00-18:00=2M,else=unlimited",
        SettingKind.Duration when !Quantity.TryParseDuration(text, out _) => $"'{DisplayText.Of(text)}' is not a duration; write it as 90s, 5m, 12h or 30d",
        SettingKind.Number when !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number > 10_000 =>
            $"'{DisplayText.Of(text)}' is not a number from 0 to 10000",
        SettingKind.Switch when text is not ("true" or "false") => $"'{DisplayText.Of(text)}' is neither true nor false",
        SettingKind.Choice when !definition.Choices.Contains(text) =>
            $"'{DisplayText.Of(text)}' is none of {string.Join(", ", definition.Choices)}",
        SettingKind.Policy => ProblemOfPolicy(text),
        SettingKind.Text or SettingKind.Path when text.Length == 0 => "the value is empty",
        _ => null,
    };

    private static string? ProblemOfPolicy(string text)
    {
        try
        {
            _ = RetentionRulesInfo.Of(new RetentionRequest { Policy = text });
            return null;
        }
        catch (BackupIQException misuse)
        {
            return DisplayText.Of(misuse.Message);
        }
    }
}
