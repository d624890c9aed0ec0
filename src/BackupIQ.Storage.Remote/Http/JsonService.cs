using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>An answer of a service: its status, and its body where that is a JSON object. Disposing wipes it, for it may hold a key.</summary>
public sealed class JsonAnswer : IDisposable
{
    private readonly Memory<byte> _bytes;
    private readonly JsonDocument? _document;

    internal JsonAnswer(HttpStatusCode status, Memory<byte> bytes)
    {
        Status = status;
        _bytes = bytes;
        try
        {
            _document = JsonDocument.Parse(bytes, new JsonDocumentOptions { MaxDepth = 16 });
        }
        catch (JsonException)
        {
            // A proxy's page, most likely: the status says what there is to say.
        }
    }

    /// <summary>The status.</summary>
    public HttpStatusCode Status { get; }

    /// <summary>Whether the status says that it was done.</summary>
    public bool IsSuccess => (int)Status is >= 200 and < 300;

    /// <summary>The member at a path of names, or null where there is none. Valid until <see cref="Dispose"/>.</summary>
    public JsonElement? Find(params ReadOnlySpan<string> path)
    {
        JsonElement at = _document?.RootElement ?? default;
        try
        {
            foreach (string name in path)
            {
                if (at.ValueKind != JsonValueKind.Object || !at.TryGetProperty(name, out at))
                {
                    return null;
                }
            }
        }
        catch (InvalidOperationException)
        {
            // A name beside it is no text: see TextOf.
            return null;
        }

        return at.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null ? null : at;
    }

    /// <summary>The text at a path of names, or null where there is none.</summary>
    public string? Text(params ReadOnlySpan<string> path) => TextOf(Find(path));

    /// <summary>The text of a member, or null where it is none.</summary>
    public static string? TextOf(JsonElement? member)
    {
        try
        {
            return member is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            // JSON's reader takes bytes that are no UTF-8, and half of a pair of surrogates; whoever wants text of them is told so here.
            return null;
        }
    }

    /// <summary>The bytes whose base64 stands at a path of names, or null where there is none. The caller wipes them.</summary>
    public byte[]? Bytes(params ReadOnlySpan<string> path)
    {
        try
        {
            return Find(path) is { ValueKind: JsonValueKind.String } text && text.TryGetBytesFromBase64(out byte[]? bytes) ? bytes : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _document?.Dispose();
        CryptographicOperations.ZeroMemory(_bytes.Span);
    }
}

/// <summary>
/// Requests to a service that answers in JSON and is no storage: key services, stores of secrets. An answer is waited for 20 seconds; what fails
/// for the service's sake is asked three times within some seconds, so it must do no harm to ask twice.
/// </summary>
public sealed class JsonService : IDisposable
{
    private const int LongestAnswer = 256 * 1024;

    private static readonly TimeSpan AnswerPatience = TimeSpan.FromSeconds(20);

    private readonly HttpClient _http;
    private readonly TimeProvider _time;

    /// <summary>Owns the handler (<see cref="HttpTransport"/> makes it).</summary>
    public JsonService(HttpMessageHandler handler, TimeProvider time)
    {
        _time = time;
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan, DefaultRequestVersion = HttpVersion.Version11 };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("BackupIQ", null));
    }

    /// <summary>A body of JSON.</summary>
    public static HttpContent Body(Action<Utf8JsonWriter> write) =>
        new ByteArrayContent(Write(write)) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };

    /// <summary>An object of JSON.</summary>
    public static byte[] Write(Action<Utf8JsonWriter> write)
    {
        using MemoryStream bytes = new();
        using (Utf8JsonWriter writer = new(bytes))
        {
            writer.WriteStartObject();
            write(writer);
            writer.WriteEndObject();
        }

        return bytes.ToArray();
    }

    /// <summary>Sends a request and returns the answer, whatever its status but for those that say to try again later. The caller disposes it.</summary>
    /// <param name="what">What fails if it does, as the beginning of a sentence.</param>
    /// <param name="compose">Makes the request, anew for each attempt.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="isBusy">Whether an answer says that the service is busy, where it has words of its own for that.</param>
    /// <exception cref="BackupIQException"><c>KeyService</c>: the service cannot be reached, or says that it is busy.</exception>
    public async Task<JsonAnswer> SendAsync(
        string what, Func<HttpClient, CancellationToken, ValueTask<HttpRequestMessage>> compose, CancellationToken cancellationToken, Func<JsonAnswer, bool>? isBusy = null)
    {
        RetryProfile profile = RetryProfile.Quick;
        for (int attempt = 1; ; attempt++)
        {
            StorageException failure;
            try
            {
                return await SendOnceAsync(what, compose, isBusy, cancellationToken).ConfigureAwait(false);
            }
            catch (StorageException e)
            {
                failure = e;
            }

            if (!failure.IsTransient || attempt == profile.Attempts || failure.RetryAfter > profile.LongestWait)
            {
                throw Told(failure);
            }

            double spread = RandomNumberGenerator.GetInt32(1 << 16) / (double)(1 << 16);
            await Task.Delay(profile.DelayAfter(attempt, spread, failure.RetryAfter), _time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    // A storage's failure by its origin, but there is no storage here: who asks for a key is told of the key service.
    private static BackupIQException Told(StorageException failure)
    {
        BackupIQException told = new(
            failure.Code == ErrorCodes.StorageAuthentication ? ErrorCodes.KeyServiceAuthentication : ErrorCodes.KeyService, failure.Message, failure.Guidance, failure);
        foreach ((string name, string value) in failure.Details)
        {
            told.With(name, value);
        }

        return told;
    }

    private async Task<JsonAnswer> SendOnceAsync(
        string what, Func<HttpClient, CancellationToken, ValueTask<HttpRequestMessage>> compose, Func<JsonAnswer, bool>? isBusy, CancellationToken cancellationToken)
    {
        using Patience patience = new(AnswerPatience, _time, cancellationToken);
        try
        {
            using HttpRequestMessage request = await compose(_http, patience.Token).ConfigureAwait(false);
            using HttpResponseMessage response = await HttpCall.SendAsync(_http, request, what, patience.Token).ConfigureAwait(false);
            if (response.StatusCode == HttpStatusCode.TooManyRequests || (int)response.StatusCode is >= 500 or (>= 300 and < 400))
            {
                throw HttpCall.Failure(response, what, _time.GetUtcNow());
            }

            ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(response, LongestAnswer, what, patience.Token).ConfigureAwait(false);
            JsonAnswer answer = new(response.StatusCode, System.Runtime.InteropServices.MemoryMarshal.AsMemory(body));
            if (isBusy?.Invoke(answer) != true)
            {
                return answer;
            }

            answer.Dispose();
            throw new StorageException(ErrorCodes.StorageConnection, $"{what}: the service asks for fewer requests", "Try again later.");
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new StorageException(ErrorCodes.StorageTimeout, $"{what}: the server did not answer in time", "Check that it can be reached and is not overloaded.", e);
        }
    }
}
