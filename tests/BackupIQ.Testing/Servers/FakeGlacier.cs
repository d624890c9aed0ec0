using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Xml.Linq;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A fake archive before a real S3 server: no server that is to be had has one. All requests go through to the server, but for objects whose name has
/// <c>/d/</c> in it: those lie in GLACIER, as by a lifecycle rule. It answers as Amazon S3's API Reference says of GetObject (403 InvalidObjectState), HeadObject
/// (<c>x-amz-storage-class</c>, <c>x-amz-restore</c>) and RestoreObject (202, 200 when it is readable, 409 RestoreAlreadyInProgress); what it is asked is held to that, too.
/// </summary>
public sealed class FakeGlacier : IAsyncDisposable
{
    private static readonly XNamespace S3 = "http://s3.amazonaws.com/doc/2006-03-01/";

    private readonly ConcurrentDictionary<string, State> _objects = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly HttpClient _http = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false });
    private readonly Uri _server;
    private readonly WebApplication _web;

    /// <summary>Starts it.</summary>
    public FakeGlacier(Uri server)
    {
        _server = server;
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(static kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Limits.MaxRequestBodySize = null;
        });
        _web = builder.Build();
        _web.Run(ServeAsync);
        _web.StartAsync().GetAwaiter().GetResult();
        Address = new Uri(_web.Urls.Single());
    }

    private enum State
    {
        Asked,
        Returning,
        Back,
    }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; }

    /// <summary>Whether anything is archived: a backup writes before the lifecycle rule has come by.</summary>
    public bool IsArchiving { get; set; }


    /// <summary>The names that were asked for, with tier and days.</summary>
    public ConcurrentQueue<(string Name, string Tier, int Days)> Asked { get; } = new();

    /// <summary>What was asked that is not as published.</summary>
    public IReadOnlyCollection<string> Violations => _violations;

    /// <summary>What was asked for is readable at once.</summary>
    public void BringAllBack()
    {
        foreach (string name in _objects.Keys)
        {
            _objects[name] = State.Back;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _web.DisposeAsync();
        _http.Dispose();
    }

    private async Task ServeAsync(HttpContext context)
    {
        string target = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        string name = target.Split('?')[0];
        bool isArchived = IsArchiving && name.Contains("/d/", StringComparison.Ordinal);
        if (isArchived && context.Request.Method == "POST" && context.Request.Query.ContainsKey("restore"))
        {
            await RestoreAsync(context, name);
        }
        else if (isArchived && context.Request.Method == "GET" && _objects.GetValueOrDefault(name) != State.Back)
        {
            await FailAsync(context, 403, "InvalidObjectState", "The operation is not valid for the object's storage class", new XElement("StorageClass", "GLACIER"));
        }
        else
        {
            await ForwardAsync(context, target, isArchived && context.Request.Method == "HEAD" ? name : null);
        }
    }

    private async Task RestoreAsync(HttpContext context, string name)
    {
        XElement request = (await XDocument.LoadAsync(context.Request.Body, LoadOptions.None, context.RequestAborted)).Root!;
        string? tier = request.Element(S3 + "GlacierJobParameters")?.Element(S3 + "Tier")?.Value;
        string? days = request.Element(S3 + "Days")?.Value;
        if (request.Name != S3 + "RestoreRequest" || tier is not ("Standard" or "Bulk" or "Expedited") || !int.TryParse(days, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < 1)
        {
            _violations.Enqueue(request.ToString());
            await FailAsync(context, 400, "MalformedXML", "The XML you provided was not well-formed");
            return;
        }

        if (!_objects.TryAdd(name, State.Asked))
        {
            if (_objects[name] == State.Back)
            {
                context.Response.StatusCode = 200;
                return;
            }

            await FailAsync(context, 409, "RestoreAlreadyInProgress", "Object restore is already in progress");
            return;
        }

        Asked.Enqueue((name, tier, count));
        context.Response.StatusCode = 202;
    }

    private async Task ForwardAsync(HttpContext context, string target, string? headed)
    {
        using HttpRequestMessage request = new(new HttpMethod(context.Request.Method), new Uri(_server, target));
        bool hasBody = context.Request.ContentLength > 0 || context.Request.Headers.TransferEncoding.Count > 0;
        request.Content = hasBody || context.Request.Method is "PUT" or "POST" ? new StreamContent(context.Request.Body) : null;
        foreach ((string header, Microsoft.Extensions.Primitives.StringValues values) in context.Request.Headers)
        {
            // The signature holds the host that the client called, so that stays.
            if (!request.Headers.TryAddWithoutValidation(header, (IEnumerable<string>)values!))
            {
                request.Content?.Headers.TryAddWithoutValidation(header, (IEnumerable<string>)values!);
            }
        }

        request.Headers.ExpectContinue = false;
        using HttpResponseMessage answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, context.RequestAborted);
        context.Response.StatusCode = (int)answer.StatusCode;
        foreach ((string header, IEnumerable<string> values) in answer.Headers.Concat(answer.Content.Headers))
        {
            if (header is not ("Transfer-Encoding" or "Connection"))
            {
                context.Response.Headers[header] = values.ToArray();
            }
        }

        if (headed is not null && answer.IsSuccessStatusCode)
        {
            Tell(context, headed);
        }

        if (context.Request.Method != "HEAD")
        {
            await answer.Content.CopyToAsync(context.Response.Body, context.RequestAborted);
        }
    }

    private void Tell(HttpContext context, string name)
    {
        context.Response.Headers["x-amz-storage-class"] = "GLACIER";
        if (!_objects.TryGetValue(name, out State state))
        {
            return;
        }

        if (state == State.Back)
        {
            _objects[name] = State.Back;
            context.Response.Headers["x-amz-restore"] = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2035 00:00:00 GMT\"";
            return;
        }

        // A look finds it on its way; the next one there.
        context.Response.Headers["x-amz-restore"] = "ongoing-request=\"true\"";
        _objects[name] = state == State.Returning ? State.Back : State.Returning;
    }

    private static async Task FailAsync(HttpContext context, int status, string code, string message, params XElement[] more)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/xml";
        await context.Response.WriteAsync(new XElement("Error", new XElement("Code", code), new XElement("Message", message), more, new XElement("RequestId", "4442587FB7D0A2F9")).ToString());
    }
}
