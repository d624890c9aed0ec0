using System.Globalization;
using System.Text.Json;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>How much is told.</summary>
internal enum Verbosity
{
    /// <summary>Warnings and errors.</summary>
    Quiet,
    Normal,

    /// <summary><c>-v</c></summary>
    Detailed,

    /// <summary><c>-vv</c></summary>
    Everything,
}

/// <summary>
/// Standard error: messages, one line each, and below them the progress that is drawn again in place. Safe for any thread. Text from
/// outside must be made safe (<see cref="DisplayText"/>) by whoever puts it into a line.
/// </summary>
internal sealed class Screen(TextWriter error, TimeProvider time, bool isTerminal, bool color, bool json, Verbosity verbosity)
{
    private const string ClearLine = "\r\x1b[K";
    private readonly Lock _gate = new();
    private string _progress = "";

    public Verbosity Verbosity => verbosity;

    /// <summary>Whether progress can be drawn in place.</summary>
    public bool IsTerminal => isTerminal;

    /// <summary>What happened, for people who want to know; left out with <c>--quiet</c>.</summary>
    public void Note(string line, Verbosity least = Verbosity.Normal)
    {
        if (verbosity >= least)
        {
            Write("info", line, null, null);
        }
    }

    /// <summary>Something is not as it should be, but the run goes on.</summary>
    public void Warn(string line, ErrorCode? code = null) => Write("warning", "warning: " + line, "33", code);

    /// <summary>What ends the run.</summary>
    public void Fail(string line, ErrorCode code) => Write("error", "backupiq: " + line, "31", code);

    /// <summary>Draws the progress line again; an empty one takes it away.</summary>
    public void Draw(string line)
    {
        lock (_gate)
        {
            if (line != _progress)
            {
                error.Write(line.Length == 0 ? ClearLine : "\r" + line + "\x1b[K");
                error.Flush();
                _progress = line;
            }
        }
    }

    /// <summary>Asks a question whose answer begins with y or n; no answer is no.</summary>
    public bool Ask(string question, Func<string?> readLine)
    {
        lock (_gate)
        {
            error.Write($"{question} [y/N] ");
            error.Flush();
        }

        return readLine()?.Trim().StartsWith("y", StringComparison.OrdinalIgnoreCase) ?? false;
    }

    private void Write(string level, string line, string? ansiColor, ErrorCode? code)
    {
        lock (_gate)
        {
            if (_progress.Length > 0)
            {
                error.Write(ClearLine);
            }

            if (json)
            {
                error.WriteLine(JsonLine(level, line, code));
            }
            else if (color && ansiColor is not null && line.IndexOf(':') is > 0 and int head)
            {
                error.WriteLine($"\x1b[{ansiColor}m{line[..(head + 1)]}\x1b[0m{line[(head + 1)..]}");
            }
            else
            {
                error.WriteLine(line);
            }

            if (_progress.Length > 0)
            {
                error.Write(_progress);
            }

            error.Flush();
        }
    }

    private string JsonLine(string level, string line, ErrorCode? code)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, JsonLines.WriterOptions))
        {
            writer.WriteStartObject();
            writer.WriteString("time", time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture));
            writer.WriteString("level", level);
            writer.WriteString("message", line);
            if (code is not null)
            {
                writer.WriteString("error", code.Name);
            }

            writer.WriteEndObject();
        }

        return System.Text.Encoding.UTF8.GetString(buffer.ToArray());
    }
}
