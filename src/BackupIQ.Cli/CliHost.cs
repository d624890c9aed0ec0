namespace BackupIQ.Cli;

/// <summary>What the command line needs of the world around it, so that tests can be that world.</summary>
internal sealed class CliHost
{
    /// <summary>Data: what the user asked for.</summary>
    public required Stream Output { get; init; }

    /// <summary>Everything else: progress, messages, errors.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>Opens standard input.</summary>
    public required Func<Stream> Input { get; init; }

    public required Func<string, string?> Environment { get; init; }

    public required TimeProvider Time { get; init; }

    public bool OutputIsTerminal { get; init; }

    public bool ErrorIsTerminal { get; init; }

    public bool InputIsTerminal { get; init; }

    /// <summary>Columns of the terminal now.</summary>
    public Func<int> Columns { get; init; } = static () => 80;

    /// <summary>Reads a line from the terminal; null at its end.</summary>
    public Func<string?> ReadLine { get; init; } = static () => null;

    /// <summary>Reads a line from the terminal without showing it; null at its end.</summary>
    public Func<string?> ReadHidden { get; init; } = static () => null;

    /// <summary>Whether somebody is there who can answer a question.</summary>
    public bool IsInteractive => InputIsTerminal && ErrorIsTerminal;
}
