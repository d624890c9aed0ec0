using System.Globalization;
using BackupIQ.Cli.Parsing;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Configuration;

/// <summary>The settings of one run: flag before environment before configuration file before default.</summary>
internal sealed class Settings
{
    private readonly Arguments _arguments;
    private readonly Func<string, string?> _environment;

    private Settings(Arguments arguments, Func<string, string?> environment, ConfigFile file, UserFolders folders)
    {
        _arguments = arguments;
        _environment = environment;
        File = file;
        Folders = folders;
    }

    /// <summary>What was read from files.</summary>
    public ConfigFile File { get; }

    public UserFolders Folders { get; }

    /// <summary>Reads the configuration files that the flags, the environment and the defaults name.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: a file that was named is not there, or one is malformed.</exception>
    public static Settings Load(Arguments arguments, Func<string, string?> environment)
    {
        UserFolders folders = new(environment);
        string? named = arguments.Value("--config") ?? NotEmpty(environment("BACKUPIQ_CONFIG"));
        string main = named ?? folders.ConfigFile;
        ConfigFile file = new();
        if (named is not null || System.IO.File.Exists(main))
        {
            file.Read(main);
        }

        string? overlay = arguments.Value("--environment") ?? NotEmpty(environment("BACKUPIQ_ENVIRONMENT"));
        if (overlay is not null)
        {
            if (overlay.AsSpan().ContainsAny('/', '\0') || overlay.StartsWith('.'))
            {
                throw new BackupIQException(ErrorCodes.Usage, "The name of an environment may not contain '/' nor begin with '.'").With("name", overlay);
            }

            string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(main)) ?? "/";
            file.Read(System.IO.Path.Combine(folder, $"{System.IO.Path.GetFileNameWithoutExtension(main)}.{overlay}.yaml"));
        }

        return new Settings(arguments, environment, file, folders);
    }

    /// <summary>Refuses a configuration file with mistakes: a setting that is misspelt must not be taken for one that is not there.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/> with the first mistake.</exception>
    public void RequireValid()
    {
        if (File.Findings.Count > 0)
        {
            string more = File.Findings.Count == 1 ? "" : $" (and {File.Findings.Count - 1} more)";
            throw new BackupIQException(
                ErrorCodes.Configuration, $"{File.Findings[0]}{more}", "Correct the line; 'backupiq config validate' lists every mistake.");
        }
    }

    /// <summary>A setting and where it comes from.</summary>
    public SettingValue Get(string key)
    {
        SettingDefinition definition = SettingDefinitions.Of(key);
        if (_arguments.Has(definition.Flag))
        {
            IReadOnlyList<string> values = definition.Kind == SettingKind.Switch ? ["true"] : _arguments.Values(definition.Flag);
            return new SettingValue(definition, values, SettingOrigin.Flag, definition.Flag);
        }

        if (NotEmpty(_environment(definition.Variable)) is { } variable)
        {
            IReadOnlyList<string> values = definition.Kind == SettingKind.List ? variable.Split(definition.Separator, StringSplitOptions.RemoveEmptyEntries) : [variable];
            return new SettingValue(definition, values, SettingOrigin.Environment, definition.Variable);
        }

        return File.Find(key) is { } inFile
            ? new SettingValue(definition, inFile.Values, SettingOrigin.File, $"{inFile.File}:{inFile.Line}")
            : new SettingValue(definition, definition.Default is null ? [] : [definition.Default], SettingOrigin.Default, "default");
    }

    public string? Text(string key) => Checked(key).Text;

    public IReadOnlyList<string> List(string key) => Get(key).Values;

    /// <summary>Each word once, of a list whose values may hold several with commas between.</summary>
    public IReadOnlyList<string> Words(string key) => [.. List(key).SelectMany(static value => value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)).Distinct()];

    public bool Switch(string key) => Checked(key).Text == "true";

    public int Number(string key) => int.Parse(Checked(key).Text ?? "0", CultureInfo.InvariantCulture);

    /// <summary>Bytes.</summary>
    public long Size(string key) => Quantity.TryParseSize(Checked(key).Text ?? "0", out long bytes) ? bytes : 0;

    /// <summary>Bytes per second, by the time of day.</summary>
    public RateSchedule Rate(string key) => RateText.TryParse(Checked(key).Text ?? "0", out RateSchedule schedule) ? schedule : RateSchedule.Unlimited;

    public TimeSpan Duration(string key) => Quantity.TryParseDuration(Checked(key).Text ?? "0s", out TimeSpan duration) ? duration : default;

    /// <summary>The environment's value of a name, null when empty.</summary>
    public string? Environment(string name) => NotEmpty(_environment(name));

    private static string? NotEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;

    private SettingValue Checked(string key)
    {
        SettingValue value = Get(key);
        if (value.Text is { } text && SettingValue.Problem(value.Definition, text) is { } problem)
        {
            throw new BackupIQException(
                value.Origin == SettingOrigin.Flag ? ErrorCodes.Usage : ErrorCodes.Configuration, $"{value.Place}: {problem}", "Correct the value.");
        }

        return value;
    }
}
