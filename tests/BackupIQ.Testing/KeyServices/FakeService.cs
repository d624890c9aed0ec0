using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Logging;

namespace BackupIQ.Testing.KeyServices;

/// <summary>
/// A fake of a service of which no server is to be had, on a port of this machine. It stands for nothing but what its provider has published: each request,
/// and each of its own answers, is held to the extract of that (<see cref="ServiceContract"/>).
/// </summary>
public abstract class FakeService : IAsyncDisposable
{
    private readonly ServiceContract _contract;
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly ConcurrentQueue<string> _operations = new();
    private readonly WebApplication _web;

    /// <summary>Starts it.</summary>
    protected FakeService(string contract)
    {
        _contract = ServiceContract.Load(contract);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        _web = builder.Build();
        _web.Run(ServeAsync);
        _web.StartAsync().GetAwaiter().GetResult();
        Address = new Uri(_web.Urls.Single());
    }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; }

    /// <summary>What was asked or answered that is not as published.</summary>
    public IReadOnlyCollection<string> Violations => _violations;

    /// <summary>The operations that were asked for, in order.</summary>
    public IReadOnlyCollection<string> Operations => _operations;

    /// <summary>The next so many requests are answered with 503.</summary>
    public int Busy { get; set; }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _web.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Answers a request that is as published.</summary>
    protected abstract FakeAnswer Answer(string operation, IReadOnlyDictionary<string, string> route, JsonObject? body, HttpRequest request);

    /// <summary>What a busy service answers.</summary>
    protected virtual FakeAnswer BusyAnswer => new(503, new JsonObject());

    /// <summary>A request's body as it came.</summary>
    protected static string RawBody(HttpRequest request) => (string?)request.HttpContext.Items[typeof(FakeService)] ?? "";

    /// <summary>The fields of a form.</summary>
    protected static IFormCollection Form(HttpRequest request) => new FormCollection(QueryHelpers.ParseQuery(RawBody(request)));

    private async Task ServeAsync(HttpContext context)
    {
        JsonObject? body = null;
        if (context.Request.Method is "POST" or "PUT")
        {
            using StreamReader reader = new(context.Request.Body);
            string text = await reader.ReadToEndAsync();
            context.Items[typeof(FakeService)] = text;
            body = context.Request.HasFormContentType || text.Length == 0 ? null : JsonNode.Parse(text) as JsonObject;
        }

        if (Busy > 0)
        {
            Busy--;
            await WriteAsync(context, BusyAnswer);
            return;
        }

        if (_contract.Match(context.Request) is not { } matched)
        {
            _violations.Enqueue($"{context.Request.Method} {context.Request.Path} {context.Request.Headers["X-Amz-Target"]} is not published");
            await WriteAsync(context, new FakeAnswer(404, new JsonObject()));
            return;
        }

        _operations.Enqueue(matched.Operation.Name);
        foreach (string violation in matched.Operation.Violations(context.Request, body))
        {
            _violations.Enqueue(violation);
        }

        FakeAnswer answer;
        lock (_operations)
        {
            answer = Answer(matched.Operation.Name, matched.Route, body, context.Request);
        }

        foreach (string violation in answer.Status < 300 ? matched.Operation.Violations(answer.Body) : [])
        {
            _violations.Enqueue(violation);
        }

        await WriteAsync(context, answer);
    }

    private static async Task WriteAsync(HttpContext context, FakeAnswer answer)
    {
        context.Response.StatusCode = answer.Status;
        context.Response.ContentType = answer.ContentType;
        foreach ((string name, string value) in answer.Headers)
        {
            context.Response.Headers[name] = value;
        }

        await context.Response.WriteAsync(answer.Body.ToJsonString(new JsonSerializerOptions()));
    }
}

/// <summary>What a fake answers.</summary>
/// <param name="Status">The status.</param>
/// <param name="Body">The body.</param>
public sealed record FakeAnswer(int Status, JsonObject Body)
{
    /// <summary>The type of the body.</summary>
    public string ContentType { get; init; } = "application/json";

    /// <summary>Further headers.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; init; } = new Dictionary<string, string>();
}
