using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace BackupIQ.Server.WebDav;

/// <summary>Serves a <see cref="RepositoryView"/> by WebDAV, read-only, to whoever knows the token, until it is disposed.</summary>
public sealed class WebDavServer : IAsyncDisposable
{
    /// <summary>The shortest token that is taken: 16 bytes cannot be guessed.</summary>
    public const int MinTokenLength = 16;

    /// <summary>The body of a request asks for properties and is never long.</summary>
    private const int MaxRequestBody = 64 << 10;

    /// <summary>A path of 4096 bytes, none of which is UTF-8: each is spelled %25FF.</summary>
    private const int MaxRequestLine = 32 << 10;

    private const int MaxConnections = 256;

    private readonly WebApplication _app;

    private WebDavServer(WebApplication app, Uri address)
    {
        _app = app;
        Address = address;
    }

    /// <summary>The URL of the uppermost folder.</summary>
    public Uri Address { get; }

    /// <summary>Starts to serve. The view stays the caller's and must outlive the server.</summary>
    /// <param name="view">What is served.</param>
    /// <param name="options">How.</param>
    /// <param name="onFailure">Told of requests that damage or the storage made fail: the path and why. Called from any thread.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: the options would lay the token open; <c>Resource</c>: the address is taken.</exception>
    public static async Task<WebDavServer> StartAsync(
        RepositoryView view, WebDavOptions options, Action<string, BackupIQException> onFailure, CancellationToken cancellationToken)
    {
        Check(options);
        X509Certificate2Collection? certificates = options.CertificateFile is null ? null : LoadCertificates(options);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "backupiq" });
        builder.Services.AddLogging();
        builder.WebHost.UseKestrelCore();
        if (certificates is not null)
        {
            builder.WebHost.UseKestrelHttpsConfiguration();
        }

        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = MaxRequestBody;
            kestrel.Limits.MaxRequestLineSize = MaxRequestLine;
            kestrel.Limits.MaxConcurrentConnections = MaxConnections;
            kestrel.Listen(options.Endpoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http1AndHttp2;
                if (certificates is not null)
                {
                    listen.UseHttps(https =>
                    {
                        https.ServerCertificate = certificates[0];
                        https.ServerCertificateChain = certificates;
                    });
                }
            });
        });
        WebApplication app = builder.Build();
        TokenGate gate = new(options.Token);
        WebDavHandler handler = new(view, onFailure);
        app.Run(context => gate.Admits(context) ? handler.HandleAsync(context) : Task.CompletedTask);
        try
        {
            await app.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (IOException taken)
        {
            await app.DisposeAsync().ConfigureAwait(false);
            throw new BackupIQException(
                ErrorCodes.Resource, "The address cannot be listened on", "Choose another with --listen ADDRESS:PORT, or port 0 for any.", taken)
                .With("address", options.Endpoint.ToString()).With("reason", taken.Message);
        }

        string address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return new WebDavServer(app, new Uri(address + "/"));
    }

    /// <summary>Ends: running answers have a moment to finish.</summary>
    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(2));
        try
        {
            await _app.StopAsync(patience.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // What still runs is cut off.
        }

        await _app.DisposeAsync().ConfigureAwait(false);
    }

    private static void Check(WebDavOptions options)
    {
        if (options.Token.Bytes.Length < MinTokenLength)
        {
            throw new BackupIQException(ErrorCodes.Usage, $"A token of fewer than {MinTokenLength} characters can be guessed", "Use a longer one, or none: then one is made.");
        }

        if (options.CertificateFile is null && !IPAddress.IsLoopback(options.Endpoint.Address) && !options.AllowPlain)
        {
            throw new BackupIQException(
                ErrorCodes.Usage,
                "Beyond this machine the token could be read on the way",
                "Give --tls-cert and --tls-key, or listen on 127.0.0.1; --insecure serves plain HTTP all the same.")
                .With("address", options.Endpoint.ToString());
        }
    }

    // The server's own, with its key, comes first; then those that vouch for it.
    private static X509Certificate2Collection LoadCertificates(WebDavOptions options)
    {
        try
        {
            X509Certificate2Collection certificates = [X509Certificate2.CreateFromPemFile(options.CertificateFile!, options.KeyFile)];
            X509Certificate2Collection all = [];
            all.ImportFromPemFile(options.CertificateFile!);
            foreach (X509Certificate2 above in all.Skip(1))
            {
                certificates.Add(above);
            }

            return certificates;
        }
        catch (Exception fault) when (fault is CryptographicException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Usage, "The certificate or its key cannot be used", "Both must be PEM files that belong together.", fault)
                .With("certificate", options.CertificateFile!).With("key", options.KeyFile ?? "in the same file").With("reason", fault.Message);
        }
    }
}
