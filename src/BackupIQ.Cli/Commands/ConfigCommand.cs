using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>config init|validate|show|schema|repository</c></summary>
internal static class ConfigCommand
{
    public static VerbGroup Create() => new(
        "config",
        "Makes, checks and shows the configuration.",
        new ConfigInitCommand(),
        new ConfigValidateCommand(),
        new ConfigShowCommand(),
        new ConfigSchemaCommand(),
        new ConfigRepositoryCommand());
}

/// <summary><c>config init</c></summary>
internal sealed class ConfigInitCommand() : Verb("init", "Writes a configuration file to start from.")
{
    /// <summary>The file, with every line a comment that shows a setting.</summary>
    internal const string Template = """
        # BackupIQ configuration. A flag beats an environment variable (BACKUPIQ_…), which beats this file.
        # 'backupiq config validate' checks it, 'backupiq config show --origin' tells what is in force.

        # repo: /mnt/disk/backup
        # mirrors:
        #   - /mnt/second/backup
        # key-file: /home/me/.config/backupiq/repository.key
        # password-command: pass show backup

        # backup:
        #   paths: [/home/me, /etc]
        #   exclude:
        #     - '*.tmp'
        #     - .cache
        #   exclude-caches: true
        #   one-file-system: true
        #   tags: [daily]
        #   compression: auto

        # destinations:
        #   offsite:
        #     repo: s3://bucket/prefix?region=eu-central-1
        #     key-file: /home/me/.config/backupiq/offsite.key

        # postgres:
        #   main:
        #     dsn: host=/run/postgresql user=backupiq dbname=postgres
        #     pgdata: /var/lib/postgresql/15/main

        # retention:
        #   policy: gfs:daily=7,weekly=4,monthly=12,yearly=3
        #   full: keep:monthly=24
        #   grace: 7d

        """;

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = run.Settings.Folders.ConfigFile;
        PrivateFile.Write(file, System.Text.Encoding.UTF8.GetBytes(Template));
        run.Print(DisplayText.Of(file) + "\n");
        return Task.FromResult(ExitCodes.Done);
    }
}

/// <summary><c>config validate</c></summary>
internal sealed class ConfigValidateCommand() : Verb("validate", "Names every mistake in the configuration, with its line.")
{
    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        List<string> problems = [.. run.Settings.File.Findings.Select(static finding => finding.ToString())];
        foreach (SettingDefinition definition in SettingDefinitions.All)
        {
            SettingValue value = run.Settings.Get(definition.Key);
            if (definition.Kind != SettingKind.List && value.Text is { } text && SettingValue.Problem(definition, text) is { } problem)
            {
                problems.Add($"{value.Place}: {problem}");
            }
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteBoolean("valid", problems.Count == 0);
                JsonFields.WriteStrings(writer, "files", run.Settings.File.Files);
                JsonFields.WriteStrings(writer, "problems", problems);
                writer.WriteEndObject();
            });
        }
        else
        {
            problems.ForEach(problem => run.Print(problem + "\n"));
            if (problems.Count == 0)
            {
                run.Screen.Note(run.Settings.File.Files.Count == 0 ? "no configuration file; defaults are in force" : "no mistakes found");
            }
        }

        return Task.FromResult(problems.Count == 0 ? ExitCodes.Done : ExitCodes.Usage);
    }
}

/// <summary><c>config show</c></summary>
internal sealed class ConfigShowCommand : Verb
{
    public ConfigShowCommand()
        : base("show", "Shows the settings in force.") => Flag("--origin", "and where each comes from");

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        bool origin = run.Arguments.Has("--origin");
        SettingValue[] values = [.. SettingDefinitions.All.Select(definition => run.Settings.Get(definition.Key))];
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                foreach (SettingValue value in values)
                {
                    writer.WriteStartObject(value.Definition.Key);
                    writer.WritePropertyName("value");
                    if (value.Definition.Kind == SettingKind.List)
                    {
                        writer.WriteStartArray();
                        foreach (string item in value.Values)
                        {
                            writer.WriteStringValue(DisplayText.Of(item));
                        }

                        writer.WriteEndArray();
                    }
                    else
                    {
                        writer.WriteStringValue(value.Text is null ? null : DisplayText.Of(value.Text));
                    }

                    writer.WriteString("origin", value.Place);
                    writer.WriteEndObject();
                }

                writer.WriteStartObject(ConfigFile.PostgresKey);
                foreach (ConfigServer server in run.Settings.File.Postgres.Values)
                {
                    writer.WriteStartObject(server.Name);
                    foreach ((string key, string value) in server.Fields)
                    {
                        writer.WriteString(key, DisplayText.Of(value));
                    }

                    writer.WriteEndObject();
                }

                writer.WriteEndObject();
                writer.WriteEndObject();
            });
            return Task.FromResult(ExitCodes.Done);
        }

        Table table = origin ? new Table("Setting", "Value", "From") : new Table("Setting", "Value");
        foreach (SettingValue value in values)
        {
            string text = DisplayText.Of(string.Join(", ", value.Values));
            table.Add(origin ? [value.Definition.Key, text, DisplayText.Of(value.Place)] : [value.Definition.Key, text]);
        }

        foreach (ConfigServer server in run.Settings.File.Postgres.Values)
        {
            foreach ((string key, string value) in server.Fields)
            {
                string name = $"{ConfigFile.PostgresKey}.{server.Name}.{key}";
                table.Add(origin ? [name, DisplayText.Of(value), "the configuration file"] : [name, DisplayText.Of(value)]);
            }
        }

        run.Print(table.Write);
        return Task.FromResult(ExitCodes.Done);
    }
}

/// <summary><c>config repository [--clients-only-add on|off]</c>: what stands in the repository, for all its clients.</summary>
internal sealed class ConfigRepositoryCommand : Verb
{
    public ConfigRepositoryCommand()
        : base("repository", "Shows, or changes, what the repository says to all its clients.") =>
        Value("--clients-only-add", "on|off", "clients may only add unless their configuration says append-only: false");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        bool? onlyAdd = run.Arguments.Value("--clients-only-add") switch
        {
            null => null,
            "on" => true,
            "off" => false,
            { } other => throw Misuse($"--clients-only-add: '{DisplayText.Of(other)}' is neither on nor off"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (onlyAdd is { } wanted && wanted != repository.Settings.AppendOnly)
        {
            await repository.SetAppendOnlyAsync(wanted, cancellationToken).ConfigureAwait(false);
        }

        RepositorySettingsInfo settings = repository.Settings;
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("id", settings.Id);
                writer.WriteString("label", settings.Label);
                writer.WriteString("created", settings.Created);
                writer.WriteNumber("generation", settings.Generation);
                writer.WriteBoolean("clients_only_add", settings.AppendOnly);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print(
                $"repository        {settings.Id}\n"
                + (settings.Label.Length > 0 ? $"label             {DisplayText.Of(settings.Label)}\n" : "")
                + $"made              {Words.Moment(settings.Created, run.Zone)}\n"
                + $"clients only add  {(settings.AppendOnly ? "yes, unless append-only: false is set where it is maintained" : "no")}\n");
        }

        return ExitCodes.Done;
    }
}

/// <summary><c>config schema</c></summary>
internal sealed class ConfigSchemaCommand() : Verb("schema", "Prints the JSON schema of the configuration file, for editors.")
{
    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        using Stream schema = typeof(ConfigSchemaCommand).Assembly.GetManifestResourceStream("config.schema.json")
            ?? throw new BackupIQException(ErrorCodes.Internal, "The program lacks its schema");
        schema.CopyTo(run.Host.Output);
        run.Host.Output.Flush();
        return Task.FromResult(ExitCodes.Done);
    }
}
