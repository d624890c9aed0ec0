using System.Globalization;
using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>OpenSSH's server for the user who runs the tests, by key, with SFTP and nothing else.</summary>
public sealed class SshServer : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private ServerProcess? _process;

    private SshServer()
    {
    }

    /// <summary>What is said where it is not installed.</summary>
    public static string Missing => "sshd or rclone is not installed: apt-get install openssh-server rclone.";

    /// <summary>Whether it and rclone are installed.</summary>
    public static bool IsInstalled => ServerProcess.Find("sshd") is not null && ServerProcess.Find("rclone") is not null;

    /// <summary>Where it listens.</summary>
    public int Port { get; private init; }

    /// <summary>A folder for what is stored.</summary>
    public string Root => _scratch.At("data");

    /// <summary>The private key that it knows.</summary>
    public string Key => _scratch.At("userkey");

    /// <summary>A private key that it does not know.</summary>
    public string StrangeKey => _scratch.At("strangekey");

    /// <summary>A file with its host key.</summary>
    public string KnownHosts => _scratch.At("known_hosts");

    /// <summary>A file with another key for this host.</summary>
    public string WrongHosts => _scratch.At("wrong_hosts");

    /// <summary>The process that listens; each connection has its own.</summary>
    public ServerProcess Process => _process!;

    /// <summary>Starts it.</summary>
    public static SshServer Start()
    {
        SshServer server = new() { Port = ServerProcess.FreePort() };
        try
        {
            server.Configure();
            server._process = ServerProcess.Start(ServerProcess.Find("sshd")!, ["-D", "-e", "-f", server._scratch.At("sshd_config")], server.Port);
            return server;
        }
        catch (InvalidOperationException)
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>The URL of a folder below <see cref="Root"/>.</summary>
    public string Url(string folder, string options = "") => UrlBy(Port, KnownHosts, folder, options);

    /// <summary>The same by way of a proxy on another port.</summary>
    public string UrlBy(int port, string folder)
    {
        string known = _scratch.At(string.Create(CultureInfo.InvariantCulture, $"known_hosts-{port}"));
        File.WriteAllText(known, KnownAt(port, _scratch.At("hostkey")));
        return UrlBy(port, known, folder, "");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _process?.Dispose();
        _scratch.Dispose();
    }

    private string UrlBy(int port, string knownHosts, string folder, string options) =>
        $"sftp://{Environment.UserName}@127.0.0.1:{port}{Root}/{folder}?key={Key}&known-hosts={knownHosts}{options}";

    private static string KnownAt(int port, string key) => $"[127.0.0.1]:{port} {File.ReadAllText(key + ".pub")}";

    private void Configure()
    {
        Directory.CreateDirectory(Root);
        string host = _scratch.At("hostkey");
        foreach (string key in (string[])[host, Key, StrangeKey])
        {
            ScratchFolder.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key);
        }

        File.Copy(Key + ".pub", _scratch.At("authorized_keys"));
        File.WriteAllText(KnownHosts, KnownAt(Port, host));
        File.WriteAllText(WrongHosts, KnownAt(Port, StrangeKey));
        File.WriteAllText(
            _scratch.At("sshd_config"),
            $"""
            Port {Port}
            ListenAddress 127.0.0.1
            HostKey {host}
            PidFile {_scratch.At("sshd.pid")}
            AuthorizedKeysFile {_scratch.At("authorized_keys")}
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            PermitRootLogin prohibit-password
            ForceCommand internal-sftp
            Subsystem sftp internal-sftp
            MaxStartups 100:30:200

            """);
        if (ScratchFolder.IsRoot)
        {
            // Where it puts its unprivileged half.
            Directory.CreateDirectory("/run/sshd");
        }
    }
}
