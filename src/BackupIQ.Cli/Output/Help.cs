using System.CommandLine;
using System.Text;
using BackupIQ.Cli.Commands;

namespace BackupIQ.Cli.Output;

/// <summary>Help that fits a screen.</summary>
internal static class Help
{
    private const int Width = 80;

    /// <summary>What <c>backupiq</c> alone prints: 24 lines of 80 columns at most, what to do first at the top.</summary>
    public static string Overview => """
        BackupIQ backs up files, deduplicated, compressed and encrypted, and brings
        them back.

        Start here:
          backupiq backup ~/Documents            first use makes repository and key
          backupiq snapshots                     what was backed up, and when
          backupiq restore latest --target DIR   bring it back
          backupiq check --read-data             prove that it can be brought back

        Back up:   backup, init, pg (PostgreSQL)
        Look:      status, snapshots, ls, find, history, diff, show, stats
        Keep:      forget, undelete, retention, tag, hold, pin
        Restore:   restore, dump, mount, serve
        Move:      copy, export, import
        Verify:    check, verify
        Manage:    prune, key, storage, config, doctor, bench, completion, version

        --repo URL       the repository (or BACKUPIQ_REPO, or the configuration file)
        --password-file F, --key-file F          what opens it; else you are asked
        --json, --quiet, -v, --help              output; help of a verb: VERB --help
        SNAP is an id (4 or more digits of it), latest, latest~2 or @2026-11-22T10:00.

        All flags that every verb takes: backupiq help

        """;

    /// <summary>The flags that every verb takes.</summary>
    public static string Global(RootCommand root)
    {
        StringBuilder text = new("Flags of every verb:\n");
        foreach (Option option in root.Options)
        {
            Row(text, OptionHead(option), option.Description ?? "");
        }

        return text.ToString();
    }

    /// <summary>The help of one verb.</summary>
    public static string Of(Command command)
    {
        StringBuilder text = new();
        text.Append($"{command.Description}\n\nUsage: backupiq {Verb.Path(command)}");
        text.Append(command.Subcommands.Count > 0 ? command is VerbGroup ? " VERB" : " [VERB]" : "");
        foreach (Argument argument in command.Arguments)
        {
            string shown = command is Verb { TakesMany: true } ? argument.Name + "…" : argument.Name;
            text.Append(argument.Arity.MinimumNumberOfValues == 0 ? $" [{shown}]" : $" {shown}");
        }

        text.Append(command.Options.Count > 0 ? " [flags]\n" : "\n");
        if (command.Aliases.Count > 0)
        {
            text.Append($"Also:  {string.Join(", ", command.Aliases)}\n");
        }

        Section(text, "Verbs", command.Subcommands.Select(static verb => (verb.Name, verb.Description ?? "")));
        Section(text, "Arguments", command.Arguments.Select(static argument => (argument.Name, argument.Description ?? "")));
        Section(text, "Flags", command.Options.Select(static option => (OptionHead(option), option.Description ?? "")));
        if (command is Verb { Examples.Count: > 0 } verb)
        {
            text.Append("\nExamples:\n");
            foreach (string example in verb.Examples)
            {
                text.Append($"  {example}\n");
            }
        }

        text.Append(command.Options.Any(static option => option.HelpName?.EndsWith('…') == true) ? "\n… may be given several times.\n" : "");
        text.Append("\nFlags of every verb (--repo, --json, --quiet …): backupiq help\n");
        return text.ToString();
    }

    private static void Section(StringBuilder text, string title, IEnumerable<(string Head, string Description)> rows)
    {
        bool first = true;
        foreach ((string head, string description) in rows)
        {
            if (first)
            {
                text.Append($"\n{title}:\n");
                first = false;
            }

            Row(text, head, description);
        }
    }

    private static string OptionHead(Option option)
    {
        string alias = option.Aliases.FirstOrDefault(static name => name.Length == 2) is { } letter ? letter + ", " : "";
        return option.HelpName is { } value ? $"{alias}{option.Name} {value}" : alias + option.Name;
    }

    private static void Row(StringBuilder text, string head, string description)
    {
        const int indent = 30;
        text.Append("  ").Append(head.PadRight(indent - 2));
        int column = Math.Max(indent, head.Length + 2);
        if (head.Length > indent - 3)
        {
            text.Append('\n').Append(' ', indent);
            column = indent;
        }

        foreach (string word in description.Split(' '))
        {
            if (column + word.Length + 1 > Width)
            {
                text.Append('\n').Append(' ', indent);
                column = indent;
            }

            text.Append(column == indent ? "" : " ").Append(word);
            column += word.Length + (column == indent ? 0 : 1);
        }

        text.Append('\n');
    }
}
