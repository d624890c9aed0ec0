using System.CommandLine;
using System.Runtime.InteropServices;
using BackupIQ.Cli.Commands;
using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Primitives;

namespace BackupIQ.Cli;

/// <summary>One run of the program: reads the arguments, runs the verb, tells what failed, and returns the exit code.</summary>
internal sealed class CommandLine(CliHost host)
{
    private Verb? _verb;

    /// <summary>Runs; never throws for what a user, a file or a storage did.</summary>
    public async Task<int> RunAsync(string[] args)
    {
        try
        {
            return await RunToEndAsync(args).ConfigureAwait(false);
        }
        catch (Exception) when (_verb is { FailsWith: not null })
        {
            // Not even its failure can be told: nobody reads standard error. The server that called goes by the code alone.
            return _verb.FailsWith.Value;
        }
    }

    private async Task<int> RunToEndAsync(string[] args)
    {
        RootCommand root = CreateRoot(args);
        if (args.Length == 0)
        {
            Write(Help.Overview);
            return ExitCodes.Done;
        }

        ParseResult parsed = root.Parse(args, new ParserConfiguration { EnablePosixBundling = true, ResponseFileTokenReplacer = null });
        Arguments arguments = new(parsed);
        _verb = arguments.Command as Verb;
        Screen screen = CreateScreen(arguments, "text");
        try
        {
            if (arguments.Has("--help"))
            {
                Write(arguments.Command is RootCommand ? Help.Overview : Help.Of(arguments.Command));
                return ExitCodes.Done;
            }

            if (parsed.Errors.Count > 0 || arguments.Command is not Verb verb || Misuse.UnknownFlag(parsed, args) is not null)
            {
                throw Misuse.Explain(parsed, root, args);
            }

            verb.CheckCount(arguments.Positional);
            if (arguments.Has("--at") && !verb.CanLookBack)
            {
                throw new BackupIQException(
                    ErrorCodes.Usage, $"'{Verb.Path(verb)}' works on the repository as it is", "--at is for verbs that only read snapshots, such as ls and restore.");
            }

            Settings settings = Settings.Load(arguments, host.Environment);
            screen = CreateScreen(arguments, settings.Text("log-format") ?? "text");
            Invocation run = new(host, arguments, settings, screen);
            return await RunAsync(verb, run).ConfigureAwait(false);
        }
        catch (BackupIQException failure)
        {
            return Fail(screen, arguments, failure);
        }
        catch (IOException pipe) when (pipe.HResult == BrokenPipe)
        {
            // Whoever read our output has left, as 'head' does. There is nobody to tell.
            return _verb?.FailsWith ?? ExitCodes.Failed;
        }
        catch (Exception fault)
        {
            return Fail(screen, arguments, Failure.Unforeseen(fault));
        }
    }

    /// <summary>All verbs, for completion, help and suggestions.</summary>
    internal static RootCommand CreateRoot(IReadOnlyList<string>? args = null)
    {
        RootCommand root = new("Backs up files, deduplicated, compressed and encrypted, and brings them back.");
        root.Options.Clear();
        root.Directives.Clear();
        foreach (Option option in GlobalFlags.Create())
        {
            root.Options.Add(option);
        }

        foreach (Verb verb in Verbs.Create(args))
        {
            root.Subcommands.Add(verb);
        }

        return root;
    }

    private const int BrokenPipe = 32;

    private static async Task<int> RunAsync(Verb verb, Invocation run)
    {
        using CancellationTokenSource cancellation = new();
        bool interrupted = false;
        void Interrupt(PosixSignalContext signal)
        {
            // The first one ends the run in order; the second one is left to the system, which ends the process.
            signal.Cancel = !interrupted || verb.FailsWith is not null;
            if (!interrupted)
            {
                interrupted = true;
                run.Screen.Note("interrupted: finishing what is complete; once more to stop at once");
                cancellation.Cancel();
            }
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
        using PosixSignalRegistration? quit = verb.FailsWith is null ? null : PosixSignalRegistration.Create(PosixSignal.SIGQUIT, Interrupt);
        using PosixSignalRegistration? hangUp = verb.FailsWith is null ? null : PosixSignalRegistration.Create(PosixSignal.SIGHUP, Interrupt);
        try
        {
            int code = await verb.RunAsync(run, cancellation.Token).ConfigureAwait(false);
            return verb.FailsWith is not null ? code
                : run.HasMetDamage && code is ExitCodes.Done or ExitCodes.Warnings ? ExitCodes.Damage
                : run.HasMirrorBehind && code == ExitCodes.Done ? ExitCodes.Warnings
                : code;
        }
        catch (OperationCanceledException cancelled) when (cancellation.IsCancellationRequested)
        {
            throw new BackupIQException(ErrorCodes.Cancelled, "Interrupted", null, cancelled);
        }
    }

    private int Fail(Screen screen, Arguments arguments, BackupIQException failure)
    {
        screen.Draw("");
        if (arguments.Has("--json"))
        {
            host.Error.Write(System.Text.Encoding.UTF8.GetString(JsonLines.Bytes(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("message_type", "exit_error");
                writer.WriteNumber("code", _verb?.FailsWith ?? failure.Code.ExitCode);
                writer.WriteString("message", Failure.Line(failure));
                writer.WriteString("error", failure.Code.Name);
                if (failure.Details.Count > 0)
                {
                    writer.WriteStartObject("details");
                    foreach ((string name, string value) in failure.Details)
                    {
                        writer.WriteString(name, DisplayText.Of(value));
                    }

                    writer.WriteEndObject();
                }

                writer.WriteEndObject();
            })));
            host.Error.Flush();
        }
        else
        {
            screen.Fail(Failure.Line(failure), failure.Code);
        }

        if (screen.Verbosity >= Verbosity.Everything)
        {
            screen.Note(failure.ToString(), Verbosity.Everything);
        }

        return _verb?.FailsWith ?? failure.Code.ExitCode;
    }

    private Screen CreateScreen(Arguments arguments, string logFormat)
    {
        Verbosity verbosity = arguments.Has("--quiet") ? Verbosity.Quiet
            : (Verbosity)Math.Min((int)Verbosity.Everything, (int)Verbosity.Normal + arguments.Count("-v"));
        bool color = host.ErrorIsTerminal && string.IsNullOrEmpty(host.Environment("NO_COLOR")) && host.Environment("TERM") != "dumb";
        bool drawable = host.ErrorIsTerminal && host.Environment("TERM") != "dumb";
        return new Screen(host.Error, host.Time, drawable, color, logFormat == "json", verbosity);
    }

    private void Write(string text)
    {
        host.Output.Write(System.Text.Encoding.UTF8.GetBytes(text));
        host.Output.Flush();
    }
}
