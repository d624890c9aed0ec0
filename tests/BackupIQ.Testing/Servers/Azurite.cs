using System.Globalization;
using System.Net;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// Azurite, Microsoft's emulator of Azure Storage (npm; tests/servers/package.json). One serves a whole test run; each test has containers of its
/// own. It has no blob versions and no immutability, so locks are not tested against it.
/// </summary>
public sealed class Azurite : IServerControl, IDisposable
{
    /// <summary>The emulator's account, which Microsoft publishes.</summary>
    public const string Account = "devstoreaccount1";

    /// <summary>Its key.</summary>
    public const string Key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    private readonly ServerProcess _process;
    private readonly string _folder;

    private Azurite(ServerProcess process, string folder, int port)
    {
        _process = process;
        _folder = folder;
        Port = port;
    }

    /// <summary>Where it listens.</summary>
    public int Port { get; }

    /// <summary>Its address.</summary>
    public string Endpoint => EndpointBy(new IPEndPoint(IPAddress.Loopback, Port));

    /// <summary>The same by way of a proxy.</summary>
    public static string EndpointBy(IPEndPoint proxy) => $"http://{proxy}/{Account}";

    /// <summary>The process.</summary>
    public ServerProcess Process => _process;

    /// <summary>Where it keeps the bytes of blobs.</summary>
    public string Disk => Path.Combine(_folder, "__blobstorage__");

    /// <summary>Its program, or null where it is not installed.</summary>
    public static string? Program(string root)
    {
        string program = Path.Combine(root, "artifacts", "servers", "node_modules", "azurite", "dist", "src", "blob", "main.js");
        return File.Exists(program) && ServerProcess.Find("node") is not null ? program : null;
    }

    /// <summary>Starts it.</summary>
    public static Azurite Start(string program) => Start(program, []);

    /// <summary>Starts one that is reached by TLS alone and takes the tokens of identities, whoever signed them.</summary>
    public static Azurite StartForIdentities(string program, string certificateFile, string keyFile) =>
        Start(program, ["--cert", certificateFile, "--key", keyFile, "--oauth", "basic"]);

    private static Azurite Start(string program, string[] further)
    {
        string folder = Directory.CreateTempSubdirectory("backupiq-azurite-").FullName;
        int port = ServerProcess.FreePort();
        ServerProcess process = ServerProcess.Start(
            ServerProcess.Find("node")!,
            [program, "--blobHost", "127.0.0.1", "--blobPort", port.ToString(CultureInfo.InvariantCulture), "--location", folder, "--silent", "--disableTelemetry", .. further],
            port);
        return new Azurite(process, folder, port);
    }

    /// <inheritdoc/>
    public void Pause() => _process.Pause();

    /// <inheritdoc/>
    public void Continue() => _process.Continue();

    /// <summary>It ends, and writes what it knows of its blobs first: that is in its memory for five seconds, so killed outright it would lose what it had acknowledged.</summary>
    public void Kill() => _process.End();

    /// <inheritdoc/>
    public Task StartAgainAsync() => _process.StartAgainAsync();

    /// <inheritdoc/>
    public void Dispose()
    {
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
