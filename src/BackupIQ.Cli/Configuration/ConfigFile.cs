using BackupIQ.Cli.Output;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace BackupIQ.Cli.Configuration;

/// <summary>A value in a configuration file and where it stands.</summary>
internal sealed record ConfigValue(string Key, IReadOnlyList<string> Values, string File, long Line);

/// <summary>Another repository that a configuration file names, into which backups are copied.</summary>
/// <param name="Name">What it is called there.</param>
/// <param name="Repo">Where it is.</param>
/// <param name="Secret">The kind of what opens it, as the setting of the repository itself is called (<c>key-file</c>), and its value; null: what opens that repository.</param>
internal sealed record ConfigDestination(string Name, string Repo, (string Kind, string Value)? Secret);

/// <summary>A database server that a configuration file defines.</summary>
/// <param name="Name">What it is called there, and in the repository.</param>
/// <param name="Fields">What stands below it, by its keys: <c>dsn</c> and others.</param>
internal sealed record ConfigServer(string Name, IReadOnlyDictionary<string, string> Fields);

/// <summary>Something in a configuration file that cannot be.</summary>
internal sealed record ConfigFinding(string File, long Line, string Problem)
{
    /// <inheritdoc/>
    public override string ToString() => $"{DisplayText.Of(File)}:{Line}: {Problem}";
}

/// <summary>Reads configuration files: YAML with the keys of <see cref="SettingDefinitions"/>.</summary>
internal sealed class ConfigFile
{
    /// <summary>A configuration is some kilobytes; more than this is a mistake.</summary>
    private const long LargestFile = 1 << 20;

    /// <summary>Settings stand in two mappings and a list; a few more leave a message about the setting, not about depth.</summary>
    private const int DeepestNesting = 8;

    private const string DestinationsKey = "destinations";

    /// <summary>Under which PostgreSQL servers stand.</summary>
    internal const string PostgresKey = "postgres";

    private static readonly string[] SecretKinds = ["key-file", "password-file", "password-command", "password-from", "kms"];

    private readonly Dictionary<string, ConfigValue> _values = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ConfigDestination> _destinations = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ConfigServer> _postgres = new(StringComparer.Ordinal);

    /// <summary>What is wrong with the file.</summary>
    public List<ConfigFinding> Findings { get; } = [];

    /// <summary>The files that were read, in the order in which later ones win.</summary>
    public List<string> Files { get; } = [];

    /// <summary>The repositories into which backups are copied, by their names.</summary>
    public IReadOnlyDictionary<string, ConfigDestination> Destinations => _destinations;

    /// <summary>The PostgreSQL servers, by their names.</summary>
    public IReadOnlyDictionary<string, ConfigServer> Postgres => _postgres;

    /// <summary>The value of a key, or null.</summary>
    public ConfigValue? Find(string key) => _values.GetValueOrDefault(key);

    /// <summary>Reads a file over what was read before.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: it cannot be read or is no YAML.</exception>
    public void Read(string file) => ReadText(file, ReadText(file));

    /// <summary>The same of a file's text, wherever it is.</summary>
    /// <exception cref="BackupIQException">As above.</exception>
    public void ReadText(string file, string text)
    {
        Files.Add(file);
        try
        {
            RequirePlain(text);
            YamlStream stream = new();
            stream.Load(new StringReader(text));
            if (stream.Documents.Count > 0 && stream.Documents[0].RootNode is not YamlScalarNode { Value: "" or null })
            {
                ReadMapping(file, "", stream.Documents[0].RootNode);
            }
        }
        catch (Exception malformed) when (malformed is not BackupIQException)
        {
            // The parser has its own exception for most of what it cannot read, but not for all of it.
            string reason = malformed is YamlException ? malformed.InnerException?.Message ?? malformed.Message : "it holds characters that no text has";
            throw new BackupIQException(
                ErrorCodes.Configuration,
                $"The configuration file is not valid YAML: {reason.TrimEnd('.')}",
                "Correct that line; 'backupiq config schema' shows what the file may hold.",
                malformed)
                .With("file", malformed is YamlException yaml ? $"{file}:{yaml.Start.Line}" : file);
        }
    }

    // A list or mapping that contains itself, or thousands in each other, would overflow the stack of whoever walks it.
    private static void RequirePlain(string text)
    {
        Parser parser = new(new StringReader(text));
        int depth = 0;
        while (parser.MoveNext())
        {
            ParsingEvent at = parser.Current!;
            depth += at is MappingStart or SequenceStart ? 1 : at is MappingEnd or SequenceEnd ? -1 : 0;
            if (depth > DeepestNesting || at is MappingStart { Anchor.IsEmpty: false } or SequenceStart { Anchor.IsEmpty: false })
            {
                throw new YamlException(at.Start, at.End, depth > DeepestNesting ? "it is nested too deeply" : "only single values may have an anchor");
            }
        }
    }

    private static string ReadText(string file)
    {
        try
        {
            return new FileInfo(file).Length <= LargestFile
                ? File.ReadAllText(file)
                : throw new BackupIQException(ErrorCodes.Configuration, "The configuration file is larger than 1 MiB").With("file", file);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(
                ErrorCodes.Configuration,
                fault is FileNotFoundException or DirectoryNotFoundException ? "There is no such configuration file" : "The configuration file cannot be read",
                "Check --config, BACKUPIQ_CONFIG and BACKUPIQ_ENVIRONMENT; 'backupiq config init' makes a file to start from.",
                fault)
                .With("file", file);
        }
    }

    private void ReadMapping(string file, string prefix, YamlNode node)
    {
        if (node is not YamlMappingNode mapping)
        {
            Findings.Add(new ConfigFinding(file, node.Start.Line, $"{(prefix.Length == 0 ? "the file" : prefix.TrimEnd('.'))} must hold 'name: value' lines"));
            return;
        }

        foreach ((YamlNode name, YamlNode value) in mapping.Children)
        {
            string key = prefix + (name as YamlScalarNode)?.Value;
            if (key == DestinationsKey)
            {
                ReadDestinations(file, value);
            }
            else if (key == PostgresKey)
            {
                ReadPostgres(file, value);
            }
            else if (SettingDefinitions.All.FirstOrDefault(definition => definition.Key == key) is { } definition)
            {
                ReadValue(file, definition, value);
            }
            else if (SettingDefinitions.All.Any(known => known.Key.StartsWith(key + ".", StringComparison.Ordinal)))
            {
                ReadMapping(file, key + ".", value);
            }
            else
            {
                string? near = Suggestion.Nearest(key, SettingDefinitions.All.Select(static known => known.Key).Append(DestinationsKey).Append(PostgresKey));
                Findings.Add(new ConfigFinding(
                    file, name.Start.Line, $"unknown key '{DisplayText.Of(key)}'{(near is null ? "" : $"; did you mean '{near}'?")}"));
            }
        }
    }

    // destinations: each a name with a repository and, where it is another, what opens it. One of a later file replaces one of the same name whole.
    private void ReadDestinations(string file, YamlNode node)
    {
        if (node is not YamlMappingNode destinations)
        {
            Findings.Add(new ConfigFinding(file, node.Start.Line, $"{DestinationsKey} must hold 'name:' lines, each with 'repo: URL' below it"));
            return;
        }

        foreach ((YamlNode nameNode, YamlNode value) in destinations.Children)
        {
            string name = (nameNode as YamlScalarNode)?.Value ?? "";
            Dictionary<string, string> fields = new(StringComparer.Ordinal);
            foreach ((YamlNode key, YamlNode field) in value is YamlMappingNode mapping ? mapping.Children : Enumerable.Empty<KeyValuePair<YamlNode, YamlNode>>())
            {
                if (key is YamlScalarNode { Value: { } word } && field is YamlScalarNode { Value: { Length: > 0 } text } && (word == "repo" || SecretKinds.Contains(word)))
                {
                    fields[word] = text;
                }
                else
                {
                    Findings.Add(new ConfigFinding(file, key.Start.Line, $"{DestinationsKey}: {DisplayText.Of(name)}: only repo and one of {string.Join(", ", SecretKinds)} may stand here, each with one value"));
                }
            }

            string[] secrets = [.. fields.Keys.Where(static word => word != "repo")];
            if (name.Length == 0 || !fields.TryGetValue("repo", out string? repo) || secrets.Length > 1)
            {
                Findings.Add(new ConfigFinding(
                    file, value.Start.Line, $"{DestinationsKey}: {DisplayText.Of(name)}: {(secrets.Length > 1 ? $"two secrets are given, {secrets[0]} and {secrets[1]}" : "it must have a name, and 'repo: URL' below it")}"));
                continue;
            }

            _destinations[name] = new ConfigDestination(name, repo, secrets.Length == 0 ? null : (secrets[0], fields[secrets[0]]));
        }
    }

    // postgres: each a name with what the server is reached by. One of a later file replaces one of the same name whole.
    private void ReadPostgres(string file, YamlNode node)
    {
        if (node is not YamlMappingNode servers)
        {
            Findings.Add(new ConfigFinding(file, node.Start.Line, $"{PostgresKey} must hold 'name:' lines, each with 'dsn: …' below it"));
            return;
        }

        foreach ((YamlNode nameNode, YamlNode value) in servers.Children)
        {
            string name = (nameNode as YamlScalarNode)?.Value ?? "";
            Dictionary<string, string> fields = new(StringComparer.Ordinal);
            foreach ((YamlNode key, YamlNode field) in value is YamlMappingNode mapping ? mapping.Children : Enumerable.Empty<KeyValuePair<YamlNode, YamlNode>>())
            {
                if (key is YamlScalarNode { Value: { } word } && field is YamlScalarNode { Value: { Length: > 0 } text } && PostgresServer.Keys.Contains(word))
                {
                    fields[word] = text;
                }
                else
                {
                    Findings.Add(new ConfigFinding(
                        file, key.Start.Line, $"{PostgresKey}: {DisplayText.Of(name)}: only {string.Join(", ", PostgresServer.Keys)} may stand here, each with one value"));
                }
            }

            if (PostgresServer.Problem(name, fields) is { } problem)
            {
                Findings.Add(new ConfigFinding(file, value.Start.Line, $"{PostgresKey}: {DisplayText.Of(name)}: {DisplayText.Of(problem)}"));
                continue;
            }

            _postgres[name] = new ConfigServer(name, fields);
        }
    }

    private void ReadValue(string file, SettingDefinition definition, YamlNode node)
    {
        List<string> values = [];
        foreach (YamlNode item in node is YamlSequenceNode sequence ? sequence.Children : [node])
        {
            if (item is not YamlScalarNode { Value: { } text })
            {
                Findings.Add(new ConfigFinding(file, item.Start.Line, $"{definition.Key} must be {(definition.Kind == SettingKind.List ? "a list of texts" : "one value")}"));
                return;
            }

            values.Add(text);
        }

        if (definition.Kind != SettingKind.List && (values.Count != 1 || node is YamlSequenceNode))
        {
            Findings.Add(new ConfigFinding(file, node.Start.Line, $"{definition.Key} must be one value"));
            return;
        }

        if (definition.Kind != SettingKind.List && SettingValue.Problem(definition, values[0]) is { } problem)
        {
            Findings.Add(new ConfigFinding(file, node.Start.Line, $"{definition.Key}: {problem}"));
            return;
        }

        _values[definition.Key] = new ConfigValue(definition.Key, values, file, node.Start.Line);
    }
}
