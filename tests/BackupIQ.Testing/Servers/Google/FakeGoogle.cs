using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.DependencyInjection;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>
/// A FAKE of one of Google's services: a small server that behaves as Google's documentation says, with routes and parameters out of the published discovery
/// document. Nobody here has an account at Google; that the service really behaves so was never tried.
/// </summary>
public abstract class FakeGoogle : IAsyncDisposable
{
    private readonly GoogleDiscovery _discovery;
    private readonly ConcurrentDictionary<string, int> _served = new(StringComparer.Ordinal);
    private WebApplication? _app;
    private Uri? _address;

    private protected FakeGoogle(GoogleDiscovery discovery)
    {
        _discovery = discovery;
        Accounts = new FakeGoogleAccounts(this);
    }

    /// <summary>Where it listens.</summary>
    public Uri Address => _address!;

    /// <summary>Who may ask for what.</summary>
    public FakeGoogleAccounts Accounts { get; }

    /// <summary>How far its clock is from this machine's.</summary>
    public TimeSpan ClockSkew { get; set; }

    /// <summary>How many requests of each method it was asked.</summary>
    public IReadOnlyDictionary<string, int> Served => _served;

    /// <summary>The methods that it has an answer for.</summary>
    public abstract IReadOnlyCollection<string> MethodIds { get; }

    /// <summary>A resumable upload takes at most so many bytes a request, and then says "go on"; null: all.</summary>
    public int? TakesAtMost { get; set; }

    /// <summary>Whether it knows no batches.</summary>
    public bool RefusesBatches { get; set; }

    /// <summary>Its time.</summary>
    public DateTimeOffset Now => TimeProvider.System.GetUtcNow() + ClockSkew;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.DisposeAsync();
        }

        Accounts.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Starts to listen on this machine.</summary>
    private protected async Task ListenAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "fake" });
        builder.Services.AddLogging();
        builder.WebHost.UseKestrelCore();
        builder.WebHost.ConfigureKestrel(static kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Listen(IPAddress.Loopback, 0);
        });
        _app = builder.Build();
        _app.Run(ServeAsync);
        await _app.StartAsync();
        _address = new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
    }

    /// <summary>Answers a request of somebody whose token is good.</summary>
    private protected abstract Task AnswerAsync(FakeGoogleCall call);

    /// <summary>Answers what needs no token; false: it is nothing of the kind.</summary>
    private protected virtual ValueTask<bool> TryServeAsync(HttpContext context, string target) => ValueTask.FromResult(false);

    /// <summary>What somebody may not do, as a sentence; null: they may.</summary>
    private protected abstract string? Refusal(FakeGoogleCall call);

    /// <summary>A part of a JSON document, as the parameter <c>fields</c> asks: <c>a,b(c,d)</c>.</summary>
    internal static JsonNode? Select(JsonNode? node, string fields)
    {
        int at = 0;
        return SelectFrom(node, fields, ref at);
    }

    private static JsonNode? SelectFrom(JsonNode? node, string fields, ref int at)
    {
        JsonObject picked = [];
        int from = at;
        if (node is JsonArray array)
        {
            JsonArray all = [];
            foreach (JsonNode? item in array)
            {
                at = from;
                all.Add(SelectFrom(item, fields, ref at));
            }

            if (array.Count == 0)
            {
                SelectFrom(new JsonObject(), fields, ref at);
            }

            return all;
        }

        while (at < fields.Length && fields[at] != ')')
        {
            int start = at;
            while (at < fields.Length && fields[at] is not (',' or '(' or ')'))
            {
                at++;
            }

            string name = fields[start..at];
            JsonNode? child = node is JsonObject parent && parent.TryGetPropertyValue(name, out JsonNode? value) ? value : null;
            if (at < fields.Length && fields[at] == '(')
            {
                at++;
                child = SelectFrom(child, fields, ref at);
                at++;
                child = child is JsonObject { Count: 0 } ? null : child;
            }
            else
            {
                child = child?.DeepClone();
            }

            if (child is not null)
            {
                picked[name] = child;
            }

            at += at < fields.Length && fields[at] == ',' ? 1 : 0;
        }

        return picked;
    }

    private async Task ServeAsync(HttpContext context)
    {
        context.Response.Headers.Date = Now.ToString("r", System.Globalization.CultureInfo.InvariantCulture);
        string target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        string path = target.Split('?')[0];
        if (await Accounts.TryServeAsync(context, path) || await TryServeAsync(context, target))
        {
            return;
        }

        if (path == _discovery.BatchPath && context.Request.Method == "POST" && !RefusesBatches)
        {
            Count("batch");
            await FakeGoogleBatch.ServeAsync(context, this);
            return;
        }

        await ServeAsync(new FakeGoogleCall(context, context.Request.Method, target, context.Request.Headers.Authorization.ToString()));
    }

    /// <summary>A request, of its own or out of a batch.</summary>
    internal async Task ServeAsync(FakeGoogleCall call)
    {
        if (_discovery.Find(call.Verb, call.Path) is not { } found)
        {
            await call.FailAsync(404, "notFound", "Not Found");
            return;
        }

        call.Method = found.Method;
        call.Names = found.Names;
        call.IsUpload = found.IsUpload;
        Count(found.Method.Id);
        if (call.Query.Keys.FirstOrDefault(name => !_discovery.IsCommon(name) && !found.Method.Parameters.Contains(name) && !(found.IsUpload && name == "upload_id")) is { } unknown)
        {
            await call.FailAsync(400, "invalidParameter", $"Unknown parameter: {unknown}");
        }
        else if (Accounts.AccountOf(call.Authorization) is not { } account)
        {
            call.SetHeader("WWW-Authenticate", "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"");
            await call.FailAsync(401, "authError", "Invalid Credentials");
        }
        else
        {
            call.Account = account;
            if (call.Method.Scopes is { } scopes && Accounts.ScopeOf(call.Authorization) is { } scope && !scopes.Contains(scope))
            {
                await call.FailAsync(403, "insufficientPermissions", "Request had insufficient authentication scopes.");
                return;
            }

            if (Refusal(call) is { } refusal)
            {
                await call.FailAsync(403, "forbidden", $"{account} {refusal}");
                return;
            }

            await AnswerAsync(call);
        }
    }

    private void Count(string what) => _served.AddOrUpdate(what, 1, static (_, count) => count + 1);
}

/// <summary>One request, and its answer: that of a connection, or a part of a batch's.</summary>
internal sealed class FakeGoogleCall(HttpContext context, string verb, string target, string authorization)
{
    private readonly StringBuilder? _part;

    /// <summary>Out of a batch: the answer becomes a part of its.</summary>
    public FakeGoogleCall(HttpContext context, string verb, string target, string authorization, StringBuilder part)
        : this(context, verb, target, authorization) => _part = part;

    public HttpContext Context => context;

    public string Verb => verb;

    public string Authorization => authorization;

    public string Path { get; } = target.Split('?')[0];

    public IReadOnlyDictionary<string, string> Query { get; } =
        QueryHelpers.ParseQuery(target.Contains('?', StringComparison.Ordinal) ? target[target.IndexOf('?', StringComparison.Ordinal)..] : "")
            .ToDictionary(static pair => pair.Key, static pair => pair.Value.ToString(), StringComparer.Ordinal);

    public GoogleMethod Method { get; set; } = null!;

    public IReadOnlyDictionary<string, string> Names { get; set; } = null!;

    public bool IsUpload { get; set; }

    public string Account { get; set; } = "";

    public void SetHeader(string name, string value)
    {
        if (_part is null)
        {
            context.Response.Headers[name] = value;
        }
    }

    public Task AnswerAsync(int status) => WriteAsync(status, null, default);

    public Task AnswerAsync(JsonNode json, int status = 200) =>
        WriteAsync(status, "application/json; charset=UTF-8", JsonSerializer.SerializeToUtf8Bytes(Query.TryGetValue("fields", out string? fields) ? FakeGoogle.Select(json, fields) : json));

    public Task AnswerAsync(int status, string type, ReadOnlyMemory<byte> body) => WriteAsync(status, type, body);

    public Task FailAsync(int status, string reason, string message)
    {
        JsonObject error = new()
        {
            ["error"] = new JsonObject
            {
                ["code"] = status,
                ["message"] = message,
                ["errors"] = new JsonArray(new JsonObject { ["message"] = message, ["domain"] = "global", ["reason"] = reason }),
            },
        };

        // Who asks for bytes gets the sentence alone.
        return Query.GetValueOrDefault("alt") == "media" && Method?.HttpMethod == "GET" && status == 404
            ? WriteAsync(status, "text/html; charset=UTF-8", Encoding.UTF8.GetBytes(message))
            : WriteAsync(status, "application/json; charset=UTF-8", JsonSerializer.SerializeToUtf8Bytes(error));
    }

    private async Task WriteAsync(int status, string? type, ReadOnlyMemory<byte> body)
    {
        if (_part is not null)
        {
            _part.Append(System.Globalization.CultureInfo.InvariantCulture, $"HTTP/1.1 {status} {ReasonPhrases.GetReasonPhrase(status)}\r\n");
            if (type is not null)
            {
                _part.Append(System.Globalization.CultureInfo.InvariantCulture, $"Content-Type: {type}\r\nContent-Length: {body.Length}\r\n");
            }

            _part.Append("\r\n").Append(Encoding.UTF8.GetString(body.Span)).Append("\r\n");
            return;
        }

        context.Response.StatusCode = status;
        if (type is not null)
        {
            context.Response.ContentType = type;
        }

        if (status != 204)
        {
            context.Response.ContentLength = body.Length;
            await context.Response.Body.WriteAsync(body);
        }
    }
}
