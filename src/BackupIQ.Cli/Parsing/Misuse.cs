using System.CommandLine;
using System.CommandLine.Parsing;
using BackupIQ.Cli.Commands;
using BackupIQ.Cli.Output;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Parsing;

/// <summary>Turns what the parser could not make sense of into one line that helps.</summary>
internal static class Misuse
{
    /// <summary>Verbs of the contract that this version does not have yet: an honest answer beats a wrong guess.</summary>
    private static readonly string[] Later =
    [
        "status", "drill", "advise", "organize", "verify", "pg", "mysql", "sqlite", "state", "analyze", "search", "graph", "plan", "run", "server", "agent",
    ];

    /// <summary>The failure to tell.</summary>
    public static BackupIQException Explain(ParseResult parsed, RootCommand root, string[] args)
    {
        Command command = parsed.CommandResult.Command;
        if (command is RootCommand)
        {
            return UnknownVerb(parsed, root);
        }

        string help = $"See 'backupiq {Verb.Path(command)} --help'.";
        string? unmatched = parsed.UnmatchedTokens.FirstOrDefault() ?? UnknownFlag(parsed, args);
        if (command is VerbGroup group)
        {
            string choices = string.Join(", ", group.Subcommands.Select(static verb => verb.Name));
            return unmatched is null
                ? new BackupIQException(ErrorCodes.Usage, $"'{group.Name}' needs one of {choices}", help)
                : new BackupIQException(
                    ErrorCodes.Usage,
                    $"unknown verb '{DisplayText.Of($"{group.Name} {unmatched}")}'{DidYouMean(unmatched, group.Subcommands.Select(static verb => verb.Name))}",
                    $"Use one of {choices}.");
        }

        if (unmatched is not null && unmatched.StartsWith('-'))
        {
            string flag = unmatched.Split('=')[0];
            return new BackupIQException(
                ErrorCodes.Usage,
                $"unknown flag '{DisplayText.Of(flag)}' for '{Verb.Path(command)}'{DidYouMean(flag, Flags(command, root))}",
                help);
        }

        if (unmatched is not null)
        {
            return new BackupIQException(ErrorCodes.Usage, $"'{Verb.Path(command)}' takes no further argument: '{DisplayText.Of(unmatched)}'", help);
        }

        ParseError error = parsed.Errors[0];
        string message = error.SymbolResult switch
        {
            OptionResult { Tokens.Count: 0 } option => $"{option.Option.Name} needs a value ({option.Option.HelpName})",
            ArgumentResult or CommandResult when command.Arguments.FirstOrDefault() is { } argument =>
                $"'{Verb.Path(command)}' needs {argument.Name}: {argument.Description}",
            _ => error.Message,
        };
        return new BackupIQException(ErrorCodes.Usage, DisplayText.Of(message), help);
    }

    /// <summary>The flag that is none, taken by the parser for a value: it stands before <c>--</c> and begins with two dashes.</summary>
    public static string? UnknownFlag(ParseResult parsed, IReadOnlyList<string> args)
    {
        HashSet<string> values = [.. parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(static argument => argument.Tokens).Select(static token => token.Value)];
        foreach (string argument in args.TakeWhile(static argument => argument != "--"))
        {
            if (argument.Length > 1 && argument[0] == '-' && (values.Contains(argument) || parsed.UnmatchedTokens.Contains(argument)))
            {
                return argument;
            }
        }

        return null;
    }

    private static BackupIQException UnknownVerb(ParseResult parsed, RootCommand root)
    {
        string? word = parsed.UnmatchedTokens.FirstOrDefault();
        if (word is null)
        {
            return new BackupIQException(ErrorCodes.Usage, "no verb was given", "Run 'backupiq' alone to see what there is.");
        }

        if (word.StartsWith('-'))
        {
            return new BackupIQException(
                ErrorCodes.Usage, $"unknown flag '{DisplayText.Of(word)}'{DidYouMean(word, Flags(root, root))}", "Run 'backupiq' alone to see what there is.");
        }

        if (Later.Contains(word))
        {
            return new BackupIQException(ErrorCodes.Usage, $"'{word}' is not part of this version yet", "Run 'backupiq' alone to see what there is.");
        }

        IEnumerable<string> verbs = root.Subcommands.SelectMany(static verb => verb.Aliases.Prepend(verb.Name));
        return new BackupIQException(
            ErrorCodes.Usage, $"unknown verb '{DisplayText.Of(word)}'{DidYouMean(word, verbs)}", "Run 'backupiq' alone to see what there is.");
    }

    private static string DidYouMean(string word, IEnumerable<string> known) =>
        Suggestion.Nearest(word, known) is { } near ? $"; did you mean '{near}'?" : "";

    private static IEnumerable<string> Flags(Command command, RootCommand root) =>
        command.Options.Concat(root.Options).SelectMany(static option => option.Aliases.Prepend(option.Name)).Where(static name => name.StartsWith("--", StringComparison.Ordinal));
}
