using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>Apache with mod_dav on a folder of its own, for one account; with TLS by a certificate that nobody knows.</summary>
public sealed class ApacheServer : IDisposable
{
    private const string Modules = "/usr/lib/apache2/modules";

    private readonly ScratchFolder _scratch = new();
    private ServerProcess? _process;

    private ApacheServer()
    {
    }

    /// <summary>The account.</summary>
    public static string User => "ann";

    /// <summary>Its password.</summary>
    public static string Password => "a-Password-of-Ann";

    /// <summary>What is said where it is not installed.</summary>
    public static string Missing => "Apache is not installed: apt-get install apache2.";

    /// <summary>Whether it is installed.</summary>
    public static bool IsInstalled => ServerProcess.Find("apache2") is not null && File.Exists(Modules + "/mod_dav_fs.so");

    /// <summary>Where it listens.</summary>
    public int Port { get; private init; }

    /// <summary>The folder that it serves.</summary>
    public string Root => _scratch.At("root");

    /// <summary>A file with the password.</summary>
    public string PasswordFile => _scratch.At("password");

    /// <summary>The certificate, which is its own authority.</summary>
    public string Certificate => _scratch.At("certificate.pem");

    /// <summary>The process.</summary>
    public ServerProcess Process => _process!;

    private string Lock => _scratch.At("run", "locks");

    /// <summary>Starts it.</summary>
    /// <param name="withTls">With TLS, by <see cref="Certificate"/>.</param>
    /// <param name="keepsAll">With the rules of docs/storage/webdav.md, by which an account may add and not take away.</param>
    public static ApacheServer Start(bool withTls = false, bool keepsAll = false)
    {
        int port = ServerProcess.FreePort();
        ApacheServer server = new() { Port = port };
        try
        {
            server.Configure(withTls, keepsAll);
            server._process = ServerProcess.Start(ServerProcess.Find("apache2")!, ["-X", "-f", server._scratch.At("httpd.conf")], port);
            return server;
        }
        catch (InvalidOperationException)
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>The URL of a folder on it.</summary>
    public string Url(string folder, string options = "") => UrlBy(Port, folder, options);

    /// <summary>The same by way of a proxy on another port.</summary>
    public string UrlBy(int port, string folder, string options = "") => $"webdav://{User}@127.0.0.1:{port}/{folder}?password-file={PasswordFile}{options}";

    /// <summary>Gives the account another password, from the next request on.</summary>
    public void ChangePassword(string password)
    {
        string users = _scratch.At("users.new");
        File.WriteAllText(users, $"{User}:{ScratchFolder.Run("openssl", "passwd", "-apr1", password)}");
        File.Move(users, _scratch.At("users"), overwrite: true);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _process?.Dispose();
        _scratch.Dispose();
    }

    private void Configure(bool withTls, bool keepsAll)
    {
        Directory.CreateDirectory(Root);
        Directory.CreateDirectory(Path.GetDirectoryName(Lock)!);
        File.WriteAllText(PasswordFile, Password + "\n");
        File.WriteAllText(_scratch.At("users"), $"{User}:{ScratchFolder.Run("openssl", "passwd", "-apr1", Password)}");
        string tls = "";
        if (withTls)
        {
            string key = _scratch.At("key.pem");
            ScratchFolder.Run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", Certificate, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1");
            tls = $"LoadModule ssl_module {Modules}/mod_ssl.so\nSSLEngine on\nSSLSessionCache none\nSSLCertificateFile {Certificate}\nSSLCertificateKeyFile {key}\n";
        }

        string rules = !keepsAll ? "" : """
              RequestHeader set Overwrite F
              AuthzSendForbiddenOnFailure On
              <If "%{REQUEST_METHOD} in {'DELETE','MOVE','PUT','COPY','PROPPATCH'} && %{IS_SUBREQ} == 'false' && %{REQUEST_URI} !~ m#^/[^/]+/tmp/#">
                Require user maintainer
              </If>
            """;
        string[] modules = ["mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "dav", "dav_fs", "dav_lock", "headers"];
        string identity = ScratchFolder.IsRoot ? "User www-data\nGroup www-data\n" : "";
        File.WriteAllText(
            _scratch.At("httpd.conf"),
            $"""
            ServerRoot {_scratch.Path}
            ServerName 127.0.0.1
            Listen 127.0.0.1:{Port}
            PidFile {_scratch.At("run", "httpd.pid")}
            ErrorLog {_scratch.At("error.log")}
            Mutex file:{_scratch.At("run")} default
            KeepAliveTimeout 60
            {string.Join('\n', modules.Select(module => $"LoadModule {module}_module {Modules}/mod_{module}.so"))}
            {identity}{tls}DAVLockDB {Lock}
            DocumentRoot {Root}
            <Directory {Root}>
              Dav On
              AuthType Basic
              AuthName dav
              AuthUserFile {_scratch.At("users")}
              Require valid-user
            {rules}
            </Directory>

            """);
        if (ScratchFolder.IsRoot)
        {
            ScratchFolder.Run("chown", "-R", "www-data:www-data", _scratch.Path);
        }
    }
}
