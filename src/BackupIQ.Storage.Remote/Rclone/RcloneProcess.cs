using System.Diagnostics;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>
/// rclone as a child: <c>rclone rcd</c> on a free port of this machine, behind a random password that only its environment knows. It has a session
/// of its own, so that Ctrl-C does not reach it, and it ends with this process, however that ends.
/// </summary>
internal sealed class RcloneProcess : IAsyncDisposable
{
    /// <summary>The remote under which the storage is known to it, whatever the path is made of.</summary>
    public const string Remote = "backupiqstorage:";

    private const string Ready = "Serving remote control on ";

    // A shell between the two: its standard input is a pipe of which only this process has the other end, so it ends when that is gone, by
    // whatever death, and takes rclone with it. PR_SET_PDEATHSIG would not do: it goes by the thread that started the child.
    private const string Guard = """
        "$@" </dev/null >/dev/null &
        exec >/dev/null 2>&1
        while read -r _; do :; done
        kill -KILL $!
        wait
        """;

    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly Task _reading;

    private RcloneProcess(Process process, RcloneLog log, Task reading, Uri address, AuthenticationHeaderValue authorization)
    {
        _process = process;
        _reading = reading;
        Log = log;
        Address = address;
        Authorization = authorization;
    }

    /// <summary>What it says.</summary>
    public RcloneLog Log { get; }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; }

    /// <summary>What it asks of who calls it.</summary>
    public AuthenticationHeaderValue Authorization { get; }

    /// <summary>Whether it ended, by itself or by another's hand.</summary>
    public bool HasEnded => _reading.IsCompleted;

    /// <summary>Starts it and waits until it listens. The storage itself is not asked for anything yet.</summary>
    /// <exception cref="BackupIQException">It cannot be started, or ended at once.</exception>
    public static async Task<RcloneProcess> StartAsync(RcloneProgram program, RcloneRemote remote, TimeProvider time, CancellationToken cancellationToken)
    {
        string password = Convert.ToHexString(RandomNumberGenerator.GetBytes(32));
        ProcessStartInfo start = new("setsid", ["sh", "-c", Guard, "backupiq-rclone", program.Path, "rcd", "--rc-addr=127.0.0.1:0", "--rc-serve"])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        RcloneProgram.Prepare(start);
        foreach ((string name, string value) in Variables(remote, password))
        {
            start.Environment[name] = value;
        }

        // What somebody set stays; without it rclone would try ten times where retries are another's work. Some are the pace that providers ask for.
        start.Environment.TryAdd("RCLONE_LOW_LEVEL_RETRIES", "3");
        start.Environment.TryAdd("RCLONE_CONTIMEOUT", "15s");
        if (remote.Password is { } secret)
        {
            start.Environment[secret.Variable] = await program.ObscureAsync(secret.Value, cancellationToken).ConfigureAwait(false);
        }

        Process process = RcloneProgram.Start(start);
        RcloneLog log = new();
        TaskCompletionSource<Uri> ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Task reading = ReadAsync(process.StandardError, log, ready);
        try
        {
            Uri address = await ready.Task.WaitAsync(StartPatience, time, cancellationToken).ConfigureAwait(false);
            string authorization = Convert.ToBase64String(Encoding.ASCII.GetBytes($"backupiq:{password}"));
            return new RcloneProcess(process, log, reading, address, new AuthenticationHeaderValue("Basic", authorization));
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException or BackupIQException)
        {
            await EndAsync(process, reading).ConfigureAwait(false);
            throw e is TimeoutException ? RcloneFailure.Of(log.ToString(), "rclone did not begin to listen") : e is BackupIQException ? RcloneFailure.Of(log.ToString(), "rclone ended at once") : new OperationCanceledException(cancellationToken);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => new(EndAsync(_process, _reading));

    private static async Task EndAsync(Process process, Task reading)
    {
        process.StandardInput.Close();
        await reading.ConfigureAwait(false);
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        process.Dispose();
    }

    private static IEnumerable<(string Name, string Value)> Variables(RcloneRemote remote, string password)
    {
        foreach ((string name, string value) in remote.Variables)
        {
            yield return (name, value);
        }

        string alias = Remote.TrimEnd(':').ToUpperInvariant();
        yield return ($"RCLONE_CONFIG_{alias}_TYPE", "alias");
        yield return ($"RCLONE_CONFIG_{alias}_REMOTE", remote.Path);
        yield return ("RCLONE_RC_USER", "backupiq");
        yield return ("RCLONE_RC_PASS", password);

        // Some providers keep a file's own time in a place that costs a request for each object.
        yield return ("RCLONE_USE_SERVER_MODTIME", "true");
        yield return ("RCLONE_LOG_LEVEL", "NOTICE");
    }

    // Ends when nobody has the other end any more: rclone is gone.
    private static async Task ReadAsync(StreamReader output, RcloneLog log, TaskCompletionSource<Uri> ready)
    {
        while (await output.ReadLineAsync().ConfigureAwait(false) is { } line)
        {
            int at = line.IndexOf(Ready, StringComparison.Ordinal);
            if (at >= 0 && Uri.TryCreate(line[(at + Ready.Length)..].Trim(' ', '[', ']'), UriKind.Absolute, out Uri? address) && address.IsLoopback)
            {
                ready.TrySetResult(address);
            }
            else
            {
                log.Add(line);
            }
        }

        ready.TrySetException(RcloneFailure.Of(log.ToString(), "rclone ended at once"));
    }
}
