using System.CommandLine;
using System.CommandLine.Parsing;

namespace BackupIQ.Cli.Parsing;

/// <summary>
/// What was written on the command line, by name. Everything is text here: sizes, durations and numbers are read by
/// <see cref="Configuration.Settings"/> or the verb, whose messages name the flag.
/// </summary>
internal sealed class Arguments(ParseResult result)
{
    /// <summary>The verb that was chosen.</summary>
    public Command Command => result.CommandResult.Command;

    /// <summary>Whether the flag was written.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>How often the flag was written: <c>-vv</c> is 2.</summary>
    public int Count(string name) => Find(name)?.IdentifierTokenCount ?? 0;

    /// <summary>The value that was written last, or null.</summary>
    public string? Value(string name) => Find(name) is { Tokens.Count: > 0 } option ? option.Tokens[^1].Value : null;

    /// <summary>All values in their order.</summary>
    public IReadOnlyList<string> Values(string name) => Find(name) is { } option ? [.. option.Tokens.Select(static token => token.Value)] : [];

    /// <summary>The values without a flag, in their order.</summary>
    public IReadOnlyList<string> Positional =>
        [.. result.CommandResult.Children.OfType<ArgumentResult>().SelectMany(static argument => argument.Tokens).Select(static token => token.Value)];

    private OptionResult? Find(string name)
    {
        for (SymbolResult? at = result.CommandResult; at is not null; at = at.Parent)
        {
            if (at is CommandResult command
                && command.Children.OfType<OptionResult>().FirstOrDefault(option => option.Option.Name == name && !option.Implicit) is { } found)
            {
                return found;
            }
        }

        return null;
    }
}
