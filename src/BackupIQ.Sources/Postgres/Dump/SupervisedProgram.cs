using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// A program of PostgreSQL that runs no longer than this process does, however this one ends, and can be made to pause. A shell stands between, whose
/// standard input we hold: a line of it is a signal for the program and all that it started, its end means that it must end.
/// </summary>
internal sealed class SupervisedProgram : IDisposable
{
    private const int MostLines = 200;

    /// <summary>By this pg_restore names what it was at when something failed.</summary>
    private const string OfEntry = "from TOC entry ";

    // In a session of its own, so that a signal reaches its workers as well, and Ctrl-C on the terminal reaches us alone. Who is told to end and
    // does not within ten seconds is killed.
    private const string Supervisor = """
        trap '' INT QUIT HUP
        exec 3<&0
        setsid "$@" </dev/null 3<&- &
        p=$!
        ( while read -r s; do kill -s "$s" -- "-$p"; done; kill -s CONT -- "-$p"; kill -s TERM -- "-$p"; sleep 10; kill -s KILL -- "-$p" ) <&3 >/dev/null 2>&1 &
        w=$!
        exec 3<&-
        wait "$p"
        c=$?
        kill "$w"
        exit "$c"
        """;

    private readonly string _name;
    private readonly Process _process;
    private readonly Queue<string> _lines = new();
    private readonly Action<string>? _onLine;

    private SupervisedProgram(string name, Process process, Action<string>? onLine)
    {
        _name = name;
        _process = process;
        _onLine = onLine;
    }

    /// <summary>Whether it has ended; then <see cref="RequireSuccess"/> says how.</summary>
    public bool HasEnded => _process.HasExited;

    /// <summary>What it prints, where that was asked for.</summary>
    public Stream Output => _process.StandardOutput.BaseStream;

    /// <summary>Starts it.</summary>
    /// <param name="program">Its path.</param>
    /// <param name="arguments">Nothing secret.</param>
    /// <param name="variables">What its environment has beside ours, and what of ours it must not have (null).</param>
    /// <param name="onLine">Hears each line that it complains with, on any thread.</param>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: there is no shell.</exception>
    public static SupervisedProgram Start(string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string?> variables, Action<string>? onLine)
    {
        ProcessStartInfo start = new("sh", ["-c", Supervisor, "backupiq", program, .. arguments])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach ((string name, string? value) in variables)
        {
            start.Environment.Remove(name);
            if (value is not null)
            {
                start.Environment[name] = value;
            }
        }

        start.Environment["LC_ALL"] = "C";
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, $"'sh' cannot be run: {e.Message}", null, e);
        }

        SupervisedProgram supervised = new(Path.GetFileName(program), process, onLine);
        process.ErrorDataReceived += (_, line) => supervised.Hear(line.Data);
        process.BeginErrorReadLine();
        return supervised;
    }

    /// <summary>It and what it started stand still until <see cref="Resume"/>.</summary>
    public void Pause() => Tell("STOP");

    public void Resume() => Tell("CONT");

    /// <summary>Waits for its end.</summary>
    public async Task WaitAsync(CancellationToken cancellationToken) => await _process.WaitForExitAsync(cancellationToken);

    /// <summary>It has ended, and that well.</summary>
    /// <param name="otherwise">What kind of failure it is if not, by what it complained with.</param>
    /// <exception cref="BackupIQException">It failed.</exception>
    public void RequireSuccess(Func<string, ErrorCode> otherwise)
    {
        _process.WaitForExit();
        if (_process.ExitCode == 0)
        {
            return;
        }

        string said;
        string? of;
        lock (_lines)
        {
            said = _lines.FirstOrDefault(static line => line.Contains("error:", StringComparison.Ordinal)) ?? _lines.LastOrDefault() ?? "it did not say why";
            of = _lines.FirstOrDefault(static line => line.Contains(OfEntry, StringComparison.Ordinal));
        }

        string prefix = _name + ": ";
        said = said.StartsWith(prefix, StringComparison.Ordinal) ? said[prefix.Length..] : said;
        said = said.StartsWith("error: ", StringComparison.Ordinal) ? said["error: ".Length..] : said;
        said = of is null ? said : $"{said} (at {of[(of.IndexOf(OfEntry, StringComparison.Ordinal) + OfEntry.Length)..]})";
        throw new BackupIQException(otherwise(said), string.Create(CultureInfo.InvariantCulture, $"{_name} failed with exit status {_process.ExitCode}: {said}"), null);
    }

    /// <summary>Ends it, and waits until it has.</summary>
    public void Dispose()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has ended.
        }

        _process.WaitForExit();
        _process.Dispose();
    }

    private void Tell(string signal)
    {
        try
        {
            _process.StandardInput.WriteLine(signal);
            _process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // It has ended.
        }
    }

    private void Hear(string? line)
    {
        if (line is not { Length: > 0 })
        {
            return;
        }

        lock (_lines)
        {
            if (_lines.Count == MostLines)
            {
                _lines.Dequeue();
            }

            _lines.Enqueue(line);
        }

        _onLine?.Invoke(line);
    }
}
