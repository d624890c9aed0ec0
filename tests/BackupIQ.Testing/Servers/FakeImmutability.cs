using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A FAKE of Azure's immutability policies in front of Azurite, which has none: it keeps a lock for each blob and passes everything else on. What it does is
/// Microsoft's reference of the Blob service, "Set Blob Immutability Policy" and the headers of Put Blob, Get Blob Properties and Delete Blob. That Azure
/// itself does so was never tried. Batches it refuses, as accounts with a hierarchical namespace do.
/// </summary>
public sealed class FakeImmutability : IAsyncDisposable
{
    private const string UntilHeader = "x-ms-immutability-policy-until-date";
    private const string ModeHeader = "x-ms-immutability-policy-mode";

    private readonly HttpClient _azurite = new(new SocketsHttpHandler { AllowAutoRedirect = false });
    private readonly ConcurrentDictionary<string, (DateTimeOffset Until, string Mode)> _locks = new(StringComparer.Ordinal);
    private readonly string _server;
    private WebApplication? _app;

    private FakeImmutability(string server) => _server = server;

    /// <summary>Where it listens, with the account's name.</summary>
    public string Endpoint { get; private set; } = "";

    /// <summary>Batches that were refused.</summary>
    public int RefusedBatches { get; private set; }

    /// <summary>Starts one.</summary>
    public static async Task<FakeImmutability> StartAsync(Azurite azurite)
    {
        FakeImmutability fake = new(azurite.Endpoint[..azurite.Endpoint.LastIndexOf('/')]);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "fake" });
        builder.Services.AddLogging();
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(static kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Listen(IPAddress.Loopback, 0);
        });
        fake._app = builder.Build();
        fake._app.Run(fake.ServeAsync);
        await fake._app.StartAsync();
        string address = fake._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        fake.Endpoint = $"{address.TrimEnd('/')}/{Azurite.Account}";
        return fake;
    }

    /// <summary>The lock of a blob; null: it has none.</summary>
    public (DateTimeOffset Until, string Mode)? LockOf(string container, string blob) =>
        _locks.TryGetValue($"/{Azurite.Account}/{container}/{blob}", out (DateTimeOffset, string) found) ? found : null;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _app!.DisposeAsync();
        _azurite.Dispose();
    }

    private async Task ServeAsync(HttpContext context)
    {
        string blob = context.Request.Path.Value!;
        string what = context.Request.Query["comp"].ToString();
        bool isLocked = _locks.TryGetValue(blob, out (DateTimeOffset Until, string Mode) held) && held.Until > TimeProvider.System.GetUtcNow();
        if (what == "batch")
        {
            RefusedBatches++;
            Refuse(context, 409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts");
            return;
        }

        if (context.Request.Method == "DELETE" && isLocked)
        {
            Refuse(context, 409, "BlobImmutableDueToPolicy");
            return;
        }

        using HttpResponseMessage answer = await ForwardAsync(context);
        if (what == "immutabilityPolicies" && answer.StatusCode != HttpStatusCode.Forbidden && answer.StatusCode != HttpStatusCode.NotFound)
        {
            // Azurite knew the signature, and has no answer of its own.
            SetPolicy(context, blob, held, isLocked);
            return;
        }

        if (answer.StatusCode == HttpStatusCode.Created && what is "" or "blocklist" && context.Request.Headers.ContainsKey(UntilHeader))
        {
            _locks[blob] = Asked(context);
        }
        else if (context.Request.Method == "DELETE" && answer.StatusCode == HttpStatusCode.Accepted)
        {
            _locks.TryRemove(blob, out _);
        }

        context.Response.StatusCode = (int)answer.StatusCode;
        foreach ((string name, IEnumerable<string> values) in answer.Headers.Concat(answer.Content.Headers).Where(static header => header.Key is not ("Transfer-Encoding" or "Connection")))
        {
            context.Response.Headers[name] = values.ToArray();
        }

        if (held.Mode is not null && context.Request.Method is "HEAD" or "GET" && answer.IsSuccessStatusCode)
        {
            Tell(context, held);
        }

        if (context.Request.Method != "HEAD")
        {
            await answer.Content.CopyToAsync(context.Response.Body);
        }
    }

    private void SetPolicy(HttpContext context, string blob, (DateTimeOffset Until, string Mode) held, bool isLocked)
    {
        (DateTimeOffset Until, string Mode) asked = Asked(context);
        if (isLocked && held.Mode == "locked" && (asked.Mode != "locked" || asked.Until < held.Until))
        {
            Refuse(context, 409, "BlobImmutableDueToPolicy");
            return;
        }

        _locks[blob] = asked;
        context.Response.StatusCode = 200;
        Tell(context, asked);
    }

    private async Task<HttpResponseMessage> ForwardAsync(HttpContext context)
    {
        using HttpRequestMessage request = new(new HttpMethod(context.Request.Method), _server + context.Features.Get<IHttpRequestFeature>()!.RawTarget);
        using MemoryStream body = new();
        await context.Request.Body.CopyToAsync(body);
        request.Content = body.Length > 0 || context.Request.Method is "PUT" or "POST" ? new ByteArrayContent(body.ToArray()) : null;
        foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in context.Request.Headers.Where(static header => header.Key is not ("Host" or "Content-Length")))
        {
            if (!request.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values))
            {
                request.Content?.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
            }
        }

        return await _azurite.SendAsync(request);
    }

    private static (DateTimeOffset Until, string Mode) Asked(HttpContext context) => (
        DateTimeOffset.ParseExact(context.Request.Headers[UntilHeader].ToString(), "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal),
        context.Request.Headers[ModeHeader].ToString());

    private static void Tell(HttpContext context, (DateTimeOffset Until, string Mode) held)
    {
        context.Response.Headers[UntilHeader] = held.Until.ToString("r", CultureInfo.InvariantCulture);
        context.Response.Headers[ModeHeader] = held.Mode;
    }

    private static void Refuse(HttpContext context, int status, string code)
    {
        context.Response.StatusCode = status;
        context.Response.Headers["x-ms-error-code"] = code;
    }
}
