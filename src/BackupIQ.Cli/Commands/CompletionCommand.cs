using System.CommandLine;
using System.Text;

namespace BackupIQ.Cli.Commands;

/// <summary><c>completion bash|zsh|fish</c>: scripts made of the verbs and flags as they are, so that no process runs at a press of Tab.</summary>
internal sealed class CompletionCommand : Verb
{
    public CompletionCommand()
        : base("completion", "Prints a completion script for a shell.") => Positional("SHELL", "bash, zsh or fish", 1, 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq completion bash > ~/.local/share/bash-completion/completions/backupiq",
        "backupiq completion fish > ~/.config/fish/completions/backupiq.fish",
    ];

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        RootCommand root = CommandLine.CreateRoot();
        string shell = run.Arguments.Positional[0];
        run.Print(shell switch
        {
            "bash" => Bash(root),
            "zsh" => Zsh(root),
            "fish" => Fish(root),
            _ => throw Misuse($"No completion for '{Output.DisplayText.Of(shell)}'", "Use bash, zsh or fish."),
        });
        return Task.FromResult(ExitCodes.Done);
    }

    private static string Bash(RootCommand root)
    {
        StringBuilder script = new();
        script.Append("""
            # bash completion for backupiq
            _backupiq() {
                local current=${COMP_WORDS[COMP_CWORD]} verb= sub= word i
                for ((i = 1; i < COMP_CWORD; i++)); do
                    word=${COMP_WORDS[i]}
                    [[ $word == -* ]] && continue
                    if [[ -z $verb ]]; then verb=$word; elif [[ -z $sub ]]; then sub=$word; fi
                done
                local words=

            """);
        script.Append($"    local global='{string.Join(' ', Flags(root))}'\n    case \"$verb $sub\" in\n");
        foreach ((string pattern, Command command) in Paths(root))
        {
            script.Append($"        {pattern}) words='{string.Join(' ', Words(command))}' ;;\n");
        }

        script.Append($"        *) words='{string.Join(' ', Verbs(root))}' ;;\n    esac\n");
        script.Append("""
                if [[ $current == -* ]]; then
                    COMPREPLY=($(compgen -W "$words $global" -- "$current"))
                else
                    COMPREPLY=($(compgen -W "$words" -- "$current") $(compgen -f -- "$current"))
                fi
            }
            complete -o filenames -F _backupiq backupiq

            """);
        return script.ToString();
    }

    private static string Zsh(RootCommand root)
    {
        StringBuilder script = new("#compdef backupiq\n_backupiq() {\n    local -a verbs\n    if (( CURRENT == 2 )); then\n        verbs=(\n");
        foreach (Command verb in root.Subcommands)
        {
            script.Append($"            '{verb.Name}:{Quote(verb.Description).Replace(":", "\\:", StringComparison.Ordinal)}'\n");
        }

        script.Append("        )\n        _describe verb verbs\n        return\n    fi\n    case \"$words[2]\" in\n");
        foreach (Command verb in root.Subcommands)
        {
            script.Append($"        {verb.Name}) compadd -- {string.Join(' ', Words(verb).Concat(verb.Subcommands.SelectMany(Flags)).Concat(Flags(root)).Distinct())}; _files ;;\n");
        }

        return script.Append("        *) _files ;;\n    esac\n}\n_backupiq \"$@\"\n").ToString();
    }

    private static string Fish(RootCommand root)
    {
        StringBuilder script = new("# fish completion for backupiq\n");
        foreach (Option option in root.Options)
        {
            script.Append(FishFlag(option, ""));
        }

        foreach (Command verb in root.Subcommands)
        {
            script.Append($"complete -c backupiq -n __fish_use_subcommand -a {verb.Name} -d '{Quote(verb.Description)}'\n");
            string condition = $"-n '__fish_seen_subcommand_from {verb.Name}' ";
            foreach (Command sub in verb.Subcommands)
            {
                script.Append($"complete -c backupiq {condition}-a {sub.Name} -d '{Quote(sub.Description)}'\n");
            }

            foreach (Option option in verb.Options.Concat(verb.Subcommands.SelectMany(static sub => sub.Options)).DistinctBy(static option => option.Name))
            {
                script.Append(FishFlag(option, condition));
            }
        }

        return script.ToString();
    }

    private static string FishFlag(Option option, string condition)
    {
        string names = string.Concat(option.Aliases.Prepend(option.Name).Select(static name =>
            name.StartsWith("--", StringComparison.Ordinal) ? $" -l {name[2..]}" : $" -s {name[1..]}"));
        return $"complete -c backupiq {condition}{names.TrimStart()}{(option.HelpName is null ? "" : " -r")} -d '{Quote(option.Description)}'\n";
    }

    private static IEnumerable<(string Pattern, Command Command)> Paths(RootCommand root)
    {
        foreach (Command verb in root.Subcommands)
        {
            foreach (Command sub in verb.Subcommands)
            {
                yield return ($"'{verb.Name} {sub.Name}'", sub);
            }

            yield return (string.Join('|', verb.Aliases.Prepend(verb.Name).Select(static name => $"'{name} '*")), verb);
        }
    }

    private static IEnumerable<string> Verbs(Command root) => root.Subcommands.Select(static verb => verb.Name);

    private static IEnumerable<string> Words(Command command) => command.Subcommands.Select(static verb => verb.Name).Concat(Flags(command));

    private static IEnumerable<string> Flags(Command command) => command.Options.SelectMany(static option => option.Aliases.Prepend(option.Name));

    private static string Quote(string? text) => (text ?? "").Replace("'", "'\\''", StringComparison.Ordinal);
}
