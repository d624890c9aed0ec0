using System.Globalization;
using System.Text.Json;

namespace BackupIQ.Cli.Output;

/// <summary>What a long run says of itself at a moment.</summary>
/// <param name="Doing">A word for it: <c>backing up</c>.</param>
/// <param name="FilesDone">Files that are done with.</param>
/// <param name="FilesTotal">Files met so far.</param>
/// <param name="BytesDone">Bytes that are done with.</param>
/// <param name="BytesTotal">Bytes met so far.</param>
/// <param name="TotalsKnown">The totals are final, so that a percentage makes sense.</param>
/// <param name="Errors">Items that failed.</param>
/// <param name="Current">A path that is being worked on, as bytes.</param>
internal readonly record struct ProgressFigures(
    string Doing, long FilesDone, long FilesTotal, long BytesDone, long BytesTotal, bool TotalsKnown, long Errors, byte[]? Current)
{
    /// <summary>Share that is done, 0 to 1; by bytes, and by files where there are none.</summary>
    public double Share => !TotalsKnown ? 0
        : BytesTotal > 0 ? Math.Min(1, (double)BytesDone / BytesTotal)
        : FilesTotal > 0 ? Math.Min(1, (double)FilesDone / FilesTotal) : 0;
}

/// <summary>
/// Shows a long run while it runs: on a terminal a line drawn again at most ten times a second, elsewhere a line every 30 seconds, with
/// JSON a <c>status</c> object every second, and nothing when nothing is wanted.
/// </summary>
internal sealed class ProgressLoop : IAsyncDisposable
{
    private static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan PlainInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan JsonInterval = TimeSpan.FromSeconds(1);

    private readonly Invocation _run;
    private readonly Func<ProgressFigures> _read;
    private readonly Action<Utf8JsonWriter, ProgressFigures, double?>? _writeStatus;
    private readonly CancellationTokenSource _ended = new();
    private readonly Task _loop;
    private readonly long _started;
    private double _rate;
    private long _lastBytes;
    private double _lastSeconds;

    private ProgressLoop(Invocation run, Func<ProgressFigures> read, Action<Utf8JsonWriter, ProgressFigures, double?>? writeStatus)
    {
        _run = run;
        _read = read;
        _writeStatus = writeStatus;
        _started = run.Host.Time.GetTimestamp();
        _loop = Interval is { } interval ? LoopAsync(interval) : Task.CompletedTask;
    }

    private double Seconds => _run.Host.Time.GetElapsedTime(_started).TotalSeconds;

    private TimeSpan? Interval =>
        _run.WantsJson ? (_writeStatus is null || _run.Screen.Verbosity == Verbosity.Quiet ? null : JsonInterval)
        : _run.Screen.Verbosity == Verbosity.Quiet || _run.Arguments.Has("--no-progress") ? null
        : _run.Screen.IsTerminal ? Redraw : PlainInterval;

    /// <summary>Starts to show what <paramref name="read"/> tells, until disposed.</summary>
    /// <param name="run">The run.</param>
    /// <param name="read">Reads the figures; called from another thread.</param>
    /// <param name="writeStatus">Writes the fields of a <c>status</c> object, given figures and the seconds that remain.</param>
    public static ProgressLoop Start(
        Invocation run, Func<ProgressFigures> read, Action<Utf8JsonWriter, ProgressFigures, double?>? writeStatus = null) => new(run, read, writeStatus);

    /// <summary>The line for a terminal of so many columns, with what fits.</summary>
    public static string Line(ProgressFigures figures, double bytesPerSecond, double? secondsRemaining, double secondsElapsed, int columns)
    {
        columns = Math.Max(10, columns - 1);
        string counts = figures.TotalsKnown
            ? $"{Words.Size(figures.BytesDone)} of {Words.Size(figures.BytesTotal)}"
            : $"{Words.Size(figures.BytesDone)}, {Words.Count(figures.FilesDone, "file")}";
        string rate = bytesPerSecond > 0 ? $"  {Words.Size(bytesPerSecond)}/s" : "";
        string time = secondsRemaining is { } left ? $"  ETA {Words.Clock(TimeSpan.FromSeconds(left))}" : $"  {Words.Clock(TimeSpan.FromSeconds(secondsElapsed))}";
        string errors = figures.Errors > 0 ? $"  {Words.Count(figures.Errors, "error")}" : "";
        string tail = $"{counts}{rate}{time}{errors}";
        string head = figures.TotalsKnown ? $"{Math.Floor(figures.Share * 100).ToString("0", CultureInfo.InvariantCulture),3} %  " : figures.Doing + "  ";
        if (figures.TotalsKnown && columns >= 70)
        {
            const int bar = 16;
            int full = (int)(figures.Share * bar);
            head = $"[{new string('=', full)}{(full < bar ? ">" : "")}{new string(' ', Math.Max(0, bar - full - 1))}] {head}";
        }

        string line = head + tail;
        if (line.Length > columns)
        {
            return line[..columns];
        }

        int free = columns - line.Length - 2;
        return free < 12 || figures.Current is null ? line : $"{line}  {DisplayText.KeepEnd(DisplayText.Of(figures.Current), free)}";
    }

    /// <summary>Ends the showing and takes the line away.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(false);
        _run.Screen.Draw("");
        _ended.Dispose();
    }

    private async Task LoopAsync(TimeSpan interval)
    {
        using PeriodicTimer timer = new(interval, _run.Host.Time);
        try
        {
            while (await timer.WaitForNextTickAsync(_ended.Token).ConfigureAwait(false))
            {
                Show();
            }
        }
        catch (OperationCanceledException) when (_ended.IsCancellationRequested)
        {
            // The run has ended, and with it what there is to show.
        }
    }

    private void Show()
    {
        ProgressFigures figures = _read();
        double seconds = Seconds;
        double elapsed = seconds - _lastSeconds;
        if (elapsed > 0)
        {
            // A mean whose memory is some five seconds: steady to look at, and yet it follows.
            double now = (figures.BytesDone - _lastBytes) / elapsed;
            double weight = Math.Min(1, elapsed / 5);
            _rate = _lastSeconds == 0 ? now : _rate + ((now - _rate) * weight);
            _lastBytes = figures.BytesDone;
            _lastSeconds = seconds;
        }

        double? remaining = figures.TotalsKnown && figures.BytesDone > 0 && seconds >= 1
            ? Math.Max(0, figures.BytesTotal - figures.BytesDone) / Math.Max(1, (_rate + (figures.BytesDone / seconds)) / 2)
            : null;
        if (_run.WantsJson)
        {
            _run.Json.Line("status", writer => _writeStatus!(writer, figures, remaining));
        }
        else if (_run.Screen.IsTerminal)
        {
            _run.Screen.Draw(Line(figures, _rate, remaining, seconds, _run.Host.Columns()));
        }
        else
        {
            _run.Screen.Note(Line(figures, _rate, remaining, seconds, 200));
        }
    }
}
