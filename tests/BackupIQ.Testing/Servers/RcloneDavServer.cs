using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>rclone as a WebDAV server (golang.org/x/net/webdav) on a folder of its own: another implementation than Apache's.</summary>
public sealed class RcloneDavServer : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly ServerProcess _process;

    /// <summary>Starts it.</summary>
    public RcloneDavServer()
    {
        Directory.CreateDirectory(_scratch.At("root"));
        File.WriteAllText(_scratch.At("password"), "pass-of-dav\n");
        Port = ServerProcess.FreePort();
        _process = ServerProcess.Start(
            ServerProcess.Find("rclone")!, ["serve", "webdav", _scratch.At("root"), "--addr", $"127.0.0.1:{Port}", "--user", "ann", "--pass", "pass-of-dav"], Port);
    }

    /// <summary>What is said where it is not installed.</summary>
    public static string Missing => "rclone is not installed: apt-get install rclone.";

    /// <summary>Whether it is installed.</summary>
    public static bool IsInstalled => ServerProcess.Find("rclone") is not null;

    /// <summary>Where it listens.</summary>
    public int Port { get; }

    /// <summary>The URL of a folder on it.</summary>
    public string Url(string folder) => $"webdav://ann@127.0.0.1:{Port}/{folder}?password-file={_scratch.At("password")}";

    /// <inheritdoc/>
    public void Dispose()
    {
        _process.Dispose();
        _scratch.Dispose();
    }
}
