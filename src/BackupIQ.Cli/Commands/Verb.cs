using System.CommandLine;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary>A verb of the command line: what it takes, and what it does.</summary>
internal abstract class Verb(string name, string description) : Command(name, description)
{
    private int _least;
    private int _most;

    /// <summary>Lines of examples that the verb's help ends with.</summary>
    public virtual IReadOnlyList<string> Examples => [];

    /// <summary>Whether the verb only reads snapshots, so that <c>--at</c> can show it the repository as it was.</summary>
    public virtual bool CanLookBack => false;

    /// <summary>
    /// The exit code of whatever keeps the verb from its work, for verbs that a database server calls and by whose codes it goes; what the verb itself returns
    /// then stays as it is, and no signal that can be caught ends the process. Null: the failure's own code.
    /// </summary>
    public virtual int? FailsWith => null;

    /// <summary>Runs the verb and returns its exit code.</summary>
    public abstract Task<int> RunAsync(Invocation run, CancellationToken cancellationToken);

    /// <summary>Declares a flag without a value.</summary>
    internal void Flag(string name, string description, params string[] aliases) =>
        Options.Add(new Option<bool>(name, aliases) { Description = description, Arity = ArgumentArity.Zero });

    /// <summary>Declares a flag with one value; written twice, the last counts.</summary>
    internal void Value(string name, string valueName, string description, params string[] aliases) =>
        Options.Add(new Option<string[]>(name, aliases) { Description = description, HelpName = valueName, Arity = ArgumentArity.OneOrMore });

    /// <summary>Declares a flag that may be written several times.</summary>
    internal void List(string name, string valueName, string description, params string[] aliases) =>
        Options.Add(new Option<string[]>(name, aliases) { Description = description, HelpName = valueName + "…", Arity = ArgumentArity.OneOrMore });

    /// <summary>Declares what stands without a flag.</summary>
    protected void Positional(string name, string description, int atLeast = 0, int atMost = 100_000)
    {
        _least = atLeast;
        _most = atMost;
        Arguments.Add(new Argument<string[]>(name) { Description = description, Arity = new ArgumentArity(atLeast, 100_000) });
    }

    /// <summary>Whether what stands without a flag may be given several times.</summary>
    public bool TakesMany => _most > 1;

    /// <summary>Refuses too few or too many arguments, with a line that says what is missing or too much.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/></exception>
    public void CheckCount(IReadOnlyList<string> positional)
    {
        if (positional.Count < _least)
        {
            throw Misuse($"'{Path(this)}' needs {Arguments[0].Name}: {Arguments[0].Description}");
        }

        if (positional.Count > _most)
        {
            throw Misuse($"'{Path(this)}' takes no further argument: '{DisplayText.Of(positional[_most])}'");
        }
    }

    /// <summary>The time behind a flag, or null where it is not given.</summary>
    /// <param name="run">The command line.</param>
    /// <param name="flag">The flag.</param>
    /// <param name="examples">How it may be written, for who has not: <c>12h, 1d or 1y</c>.</param>
    /// <param name="isSomething">No time at all is none.</param>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/></exception>
    protected internal TimeSpan? Duration(Invocation run, string flag, string examples, bool isSomething = false) =>
        run.Arguments.Value(flag) is not { } text ? null
        : Quantity.TryParseDuration(text, out TimeSpan duration) && !(isSomething && duration <= TimeSpan.Zero) ? duration
        : throw Misuse($"{flag}: '{DisplayText.Of(text)}' is not a duration; write it as {examples}");

    /// <summary>A failure that says how the verb is used.</summary>
    protected internal BackupIQException Misuse(string message, string? guidance = null) =>
        new(ErrorCodes.Usage, message, guidance ?? $"See 'backupiq {Path(this)} --help'.");

    /// <summary>The verb with the groups that it stands in: <c>key add</c>.</summary>
    public static string Path(Command command) =>
        command.Parents.OfType<Command>().FirstOrDefault() is { } parent and not RootCommand ? $"{Path(parent)} {command.Name}" : command.Name;
}

/// <summary>A word that only stands before others: <c>key</c>, <c>config</c>.</summary>
internal sealed class VerbGroup : Verb
{
    public VerbGroup(string name, string description, params Verb[] verbs)
        : base(name, description)
    {
        foreach (Verb verb in verbs)
        {
            Subcommands.Add(verb);
        }
    }

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken) =>
        throw Misuse($"'{Name}' needs one of: {string.Join(", ", Subcommands.Select(static verb => verb.Name))}");
}
