using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>
/// How backends reach their servers: TLS 1.2 or later with certificates that are checked, plain HTTP to this machine only unless it is asked for.
/// </summary>
public static class HttpTransport
{
    /// <summary>The options of a storage's URL that are the transport's.</summary>
    public static readonly IReadOnlyList<string> Options = ["insecure", "ca", TlsMinimum, Silence];

    /// <summary>The option that says which TLS is the least.</summary>
    public const string TlsMinimum = "tls-minimum";

    /// <summary>The option that says after how many seconds without a byte a request is given up.</summary>
    public const string Silence = "timeout";

    private const int LongestSilence = 3600;

    private static readonly string[] TlsVersions = ["1.2", "1.3"];

    /// <summary>A server that is there answers a connection within this time; retries are another's work.</summary>
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(15);

    /// <summary>So that a change of a server's address is followed by a long run.</summary>
    private static readonly TimeSpan ConnectionLifetime = TimeSpan.FromMinutes(5);

    /// <summary>After how long without a byte a request is given up; null where the URL does not say.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>.</exception>
    public static TimeSpan? SilenceOf(StorageUrl url) => url.Number(Silence, 1, LongestSilence) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;

    /// <summary>A handler for <paramref name="endpoint"/> with the options of the URL. TLS 1.3 is used where the server has it. The caller disposes it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: plain HTTP to another machine; or the file of certificates cannot be read.</exception>
    public static SocketsHttpHandler Create(Uri endpoint, StorageUrl url) =>
        Create(endpoint, url.Flag("insecure"), url.Text("ca"), url.Choice(TlsMinimum, TlsVersions) == "1.3");

    /// <summary>A handler for <paramref name="endpoint"/>. The caller disposes it.</summary>
    /// <param name="endpoint">The server.</param>
    /// <param name="isInsecureAllowed">Whether plain HTTP to another machine is allowed.</param>
    /// <param name="authorities">A file with the authorities that are trusted in place of the system's; null: those.</param>
    /// <param name="isOnlyNewestTls">TLS 1.3 and nothing older; else 1.2 where the server has no 1.3.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: plain HTTP to another machine; or the file of certificates cannot be read.</exception>
    public static SocketsHttpHandler Create(Uri endpoint, bool isInsecureAllowed, string? authorities, bool isOnlyNewestTls = false)
    {
        RequireSecure(endpoint, isInsecureAllowed);
        SslClientAuthenticationOptions tls = new() { EnabledSslProtocols = isOnlyNewestTls ? SslProtocols.Tls13 : SslProtocols.Tls12 | SslProtocols.Tls13 };
        if (authorities is { } file)
        {
            tls.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            tls.CertificateChainPolicy.CustomTrustStore.AddRange(ReadAuthorities(file));
        }

        return new SocketsHttpHandler
        {
            SslOptions = tls,
            ConnectTimeout = ConnectTimeout,
            PooledConnectionLifetime = ConnectionLifetime,
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
        };
    }

    /// <summary>Reads a server's address; without a scheme it is https.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none, or says more than a server.</exception>
    public static Uri ParseEndpoint(string text)
    {
        string whole = text.Contains("://", StringComparison.Ordinal) ? text : "https://" + text;
        return Uri.TryCreate(whole, UriKind.Absolute, out Uri? endpoint) && (endpoint.Scheme == Uri.UriSchemeHttps || endpoint.Scheme == Uri.UriSchemeHttp)
            && endpoint.Host.Length > 0 && endpoint.UserInfo.Length == 0 && endpoint.PathAndQuery == "/" && endpoint.Fragment.Length == 0
            ? endpoint
            : throw new BackupIQException(ErrorCodes.Usage, "The endpoint in the storage's URL is no server's address", "Write it as https://host or https://host:port.");
    }

    /// <summary>Refuses plain HTTP to another machine: what is stored is sealed, but names, times and signatures could be read and replayed.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>.</exception>
    public static void RequireSecure(Uri endpoint, bool isInsecureAllowed)
    {
        if (endpoint.Scheme == Uri.UriSchemeHttp && !endpoint.IsLoopback && !isInsecureAllowed)
        {
            throw new BackupIQException(
                ErrorCodes.Usage, "Plain HTTP to another machine is refused", "Use https, or say insecure=true in the URL where the network is trusted.").With("endpoint", endpoint.Host);
        }
    }

    private static X509Certificate2Collection ReadAuthorities(string file)
    {
        X509Certificate2Collection authorities = [];
        try
        {
            authorities.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw Unusable(file, e);
        }

        return authorities.Count > 0 ? authorities : throw Unusable(file, null);
    }

    private static BackupIQException Unusable(string file, Exception? inner) =>
        new BackupIQException(ErrorCodes.Usage, "The file that 'ca' names holds no certificates that can be read", "Give a file of certificates in PEM form.", inner).With("file", file);
}
