using System.Net;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Server.WebDav;

namespace BackupIQ.Cli.Commands;

/// <summary><c>serve webdav [SNAP[:PATH]]</c></summary>
internal static class ServeCommand
{
    public static Verb Create() => new VerbGroup("serve", "Serves snapshots to other programs.", new ServeWebDavCommand());
}

/// <summary><c>serve webdav [SNAP[:PATH]]</c></summary>
internal sealed class ServeWebDavCommand : ViewVerb
{
    public ServeWebDavCommand()
        : base("webdav", "Serves snapshots as folders by WebDAV, read-only, until it is interrupted.")
    {
        Positional("SNAP[:PATH]", "only this snapshot, or a folder of it (default: all, by time, host and tag)", 0, 1);
        Value("--listen", "ADDRESS:PORT", "where to listen (default: 127.0.0.1:9800; port 0: any)");
        Value("--token-file", "FILE", "the token that clients must know; default: one is made and shown");
        Value("--tls-cert", "FILE", "serve HTTPS with this certificate (PEM)");
        Value("--tls-key", "FILE", "the certificate's key (PEM)");
        Flag("--insecure", "plain HTTP beyond this machine");
        ChoosingFlags();
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq serve webdav",
        "rclone ls :webdav: --webdav-url http://127.0.0.1:9800 --webdav-user backupiq --webdav-pass \"$(rclone obscure TOKEN)\"",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string listen = run.Arguments.Value("--listen") ?? "127.0.0.1:9800";
        if (!IPEndPoint.TryParse(listen, out IPEndPoint? endpoint) || !listen.Contains(':'))
        {
            throw Misuse($"--listen: '{DisplayText.Of(listen)}' is no address and port", "Write it as 127.0.0.1:9800 or [::1]:9800.");
        }

        if (run.Arguments.Has("--tls-key") && !run.Arguments.Has("--tls-cert"))
        {
            throw Misuse("--tls-key needs --tls-cert");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        await using RepositoryView view = await repository.ViewAsync(ReadView(run, run.Arguments.Positional.FirstOrDefault()), cancellationToken).ConfigureAwait(false);
        return await ServeAsync(run, view, endpoint, cancellationToken).ConfigureAwait(false);
    }

    // Apart, so that the server's libraries are loaded when it is started and not before.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<int> ServeAsync(Invocation run, RepositoryView view, IPEndPoint endpoint, CancellationToken cancellationToken)
    {
        string? made = run.Arguments.Has("--token-file") ? null : Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20));
        using Secret token = made is null ? SecretReader.TokenFile(run.Arguments.Value("--token-file")!) : new Secret(Encoding.ASCII.GetBytes(made));
        WebDavOptions options = new()
        {
            Endpoint = endpoint,
            Token = token,
            CertificateFile = run.Arguments.Value("--tls-cert"),
            KeyFile = run.Arguments.Value("--tls-key"),
            AllowPlain = run.Arguments.Has("--insecure"),
        };
        await using WebDavServer server = await WebDavServer
            .StartAsync(view, options, (path, failure) => run.Screen.Warn(DisplayText.Of($"{path}: {failure.Message}"), failure.Code), cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Line("serving", writer =>
            {
                writer.WriteString("url", server.Address.ToString());
                writer.WriteString("user", "backupiq");
                writer.WriteString("token", made);
            });
        }
        else
        {
            // What a client needs is printed though nothing else be told.
            run.Print(made is null ? $"{server.Address}\n" : $"{server.Address}\n{made}\n");
            run.Screen.Note(made is null
                ? "Any user's name will do; the password is what stands in the token file. Ctrl-C ends it."
                : "Any user's name will do; the password is the second line. Ctrl-C ends it.");
        }

        try
        {
            await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // That is how it ends.
        }

        return ExitCodes.Done;
    }
}
