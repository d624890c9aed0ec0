using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using BackupIQ.Testing.Files;
using Xunit;

namespace BackupIQ.Testing.Servers;

/// <summary>A real server as a child process on a port of this machine. Ended by its process id alone.</summary>
public sealed class ServerProcess : IServerControl, IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _program;
    private readonly IReadOnlyList<string> _arguments;
    private readonly int _port;
    private Process _process;
    private bool _isDisposed;

    private ServerProcess(string program, IReadOnlyList<string> arguments, int port)
    {
        (_program, _arguments, _port) = (program, arguments, port);
        _process = Launch(program, arguments, port);
    }

    /// <summary>Its process id.</summary>
    public int Id => _process.Id;

    /// <summary>A port of this machine that was free a moment ago.</summary>
    public static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>The path of a program, also of those that are for administrators; null where it is not installed.</summary>
    public static string? Find(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Append("/usr/sbin").Append("/sbin")
        .Select(folder => Path.Join(folder, program)).FirstOrDefault(File.Exists);

    /// <summary>Skips the test with a sentence where a server is not installed; fails it where <c>BACKUPIQ_REQUIRE_SERVERS</c> says that it must be.</summary>
    public static void Require(bool isInstalled, string sentence)
    {
        Assert.SkipUnless(isInstalled || Environment.GetEnvironmentVariable("BACKUPIQ_REQUIRE_SERVERS") is not null, sentence);
        Assert.True(isInstalled, sentence);
    }

    /// <summary>Starts it and waits until something listens on the port.</summary>
    public static ServerProcess Start(string program, IReadOnlyList<string> arguments, int port) => new(program, arguments, port);

    /// <inheritdoc/>
    public void Pause() => Signal("STOP", _process.Id);

    /// <inheritdoc/>
    public void Continue() => Signal("CONT", _process.Id);

    /// <inheritdoc/>
    public void Kill()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    /// <summary>Asks it to end, and waits until it has.</summary>
    public void End()
    {
        ScratchFolder.Run("kill", "-TERM", Id.ToString(CultureInfo.InvariantCulture));
        if (!_process.WaitForExit(Patience))
        {
            throw new InvalidOperationException($"{_program} does not end.");
        }
    }

    /// <inheritdoc/>
    public Task StartAgainAsync()
    {
        _process.Dispose();
        _process = Launch(_program, _arguments, _port);
        return Task.CompletedTask;
    }

    /// <summary>Sends a signal to a process and all that it started, itself first, so that it starts no more.</summary>
    internal static void Signal(string signal, int process)
    {
        ScratchFolder.Run("kill", "-" + signal, process.ToString(CultureInfo.InvariantCulture));
        string children = $"/proc/{process}/task/{process}/children";
        foreach (string child in File.ReadAllText(children).Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(static child => Directory.Exists($"/proc/{child}")))
        {
            Signal(signal, int.Parse(child, CultureInfo.InvariantCulture));
        }
    }

    private static Process Launch(string program, IReadOnlyList<string> arguments, int port)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true, UseShellExecute = false };

        // With it rclone fails on every storage that has to do with Amazon's client.
        start.Environment.Remove("AWS_CA_BUNDLE");
        Process process = Process.Start(start)!;
        StringBuilder said = new();
        DataReceivedEventHandler listen = (_, line) =>
        {
            lock (said)
            {
                said.AppendLine(line.Data);
            }
        };
        process.ErrorDataReceived += listen;
        process.OutputDataReceived += listen;
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        Stopwatch watch = Stopwatch.StartNew();
        while (!Listens(port))
        {
            if (process.HasExited || watch.Elapsed > Patience)
            {
                End(process);
                lock (said)
                {
                    throw new InvalidOperationException($"{program} does not listen on port {port}: {said}");
                }
            }

            Thread.Sleep(20);
        }

        return process;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        End(_process);
    }

    private static void End(Process process)
    {
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }

        process.Dispose();
    }

    private static bool Listens(int port)
    {
        using TcpClient client = new();
        try
        {
            client.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
