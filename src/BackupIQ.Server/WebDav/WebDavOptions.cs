using System.Net;
using BackupIQ.Primitives;

namespace BackupIQ.Server.WebDav;

/// <summary>How snapshots are served.</summary>
public sealed record WebDavOptions
{
    /// <summary>Where to listen; with port 0 the system chooses one. Nobody but this machine reaches a loopback address.</summary>
    public IPEndPoint Endpoint { get; init; } = new(IPAddress.Loopback, 9800);

    /// <summary>
    /// What a client must know: the password of Basic authentication, whatever the user's name, or a Bearer token. The caller's; at least
    /// 16 bytes.
    /// </summary>
    public required Secret Token { get; init; }

    /// <summary>A PEM file of the certificate, with those that vouch for it; null serves plain HTTP.</summary>
    public string? CertificateFile { get; init; }

    /// <summary>A PEM file of the certificate's key.</summary>
    public string? KeyFile { get; init; }

    /// <summary>Serve plain HTTP beyond this machine: token and content can be read on the way.</summary>
    public bool AllowPlain { get; init; }
}
