using System.CommandLine;
using BackupIQ.Cli.Output;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>help [VERB]</c></summary>
internal sealed class HelpCommand : Verb
{
    public HelpCommand()
        : base("help", "Shows the flags of every verb, or the help of one.") => Positional("VERB", "the verb, as 'key add'");

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        RootCommand root = CommandLine.CreateRoot();
        Command at = root;
        foreach (string name in run.Arguments.Positional)
        {
            at = at.Subcommands.FirstOrDefault(verb => verb.Name == name || verb.Aliases.Contains(name))
                ?? throw new BackupIQException(
                    ErrorCodes.Usage,
                    $"unknown verb '{DisplayText.Of(name)}'{(Suggestion.Nearest(name, at.Subcommands.Select(static verb => verb.Name)) is { } near ? $"; did you mean '{near}'?" : "")}",
                    "Run 'backupiq' alone to see what there is.");
        }

        run.Print(at == root ? Help.Global(root) : Help.Of(at));
        return Task.FromResult(ExitCodes.Done);
    }
}
