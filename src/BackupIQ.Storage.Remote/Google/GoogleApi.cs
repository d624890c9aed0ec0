using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>What a refusal means that is said in a service's own words: code, the reason as the end of a sentence, and what to do. Null: what it means by its status.</summary>
internal delegate (ErrorCode Code, string Why, string? Guidance)? GoogleWords(HttpStatusCode status, GoogleError error);

/// <summary>Requests to one of Google's JSON interfaces, with a token on each; never sent twice.</summary>
/// <param name="endpoint">The server.</param>
/// <param name="tokens">Who asks.</param>
/// <param name="handler">Owned from now on.</param>
/// <param name="words">The service's words.</param>
/// <param name="time">Tells when tokens end.</param>
internal sealed class GoogleApi(Uri endpoint, GoogleTokens tokens, HttpMessageHandler handler, GoogleWords words, TimeProvider time) : IDisposable
{
    private readonly HttpClient _http = new(handler) { Timeout = Timeout.InfiniteTimeSpan };
    private readonly TokenCache _tokens = new(tokens.FetchAsync, time);

    /// <summary>The address of a path with its query.</summary>
    public Uri At(string pathAndQuery) => new(endpoint, pathAndQuery);

    /// <summary>Whether an address that the service gave is one of its own: a token goes nowhere else.</summary>
    public bool IsOwn(Uri address) =>
        address.Scheme == endpoint.Scheme && address.UserInfo.Length == 0 &&
        (address.Authority == endpoint.Authority || (address.IsDefaultPort && address.Scheme == Uri.UriSchemeHttps && address.Host.EndsWith(".googleapis.com", StringComparison.Ordinal)));

    /// <summary>Sends a request. The caller disposes the answer; a status that is not expected is thrown.</summary>
    /// <exception cref="StorageException">There was no answer, or one that was not expected.</exception>
    public async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, string what, CancellationToken cancellationToken, params HttpStatusCode[] expected)
    {
        string token = await _tokens.GetAsync(_http, cancellationToken).ConfigureAwait(false);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        HttpResponseMessage answer = await HttpCall.SendAsync(_http, request, what, cancellationToken).ConfigureAwait(false);
        if (expected.Contains(answer.StatusCode))
        {
            return answer;
        }

        using (answer)
        {
            if (answer.StatusCode == HttpStatusCode.Unauthorized)
            {
                _tokens.Refuse(token);
            }

            throw await FailureAsync(answer, what, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The same for an address without a body.</summary>
    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, string pathAndQuery, string what, CancellationToken cancellationToken, params HttpStatusCode[] expected)
    {
        using HttpRequestMessage request = new(method, At(pathAndQuery));
        return await SendAsync(request, what, cancellationToken, expected).ConfigureAwait(false);
    }

    /// <summary>The failure that an answer means.</summary>
    public async Task<StorageException> FailureAsync(HttpResponseMessage answer, string what, CancellationToken cancellationToken)
    {
        GoogleError error = await ErrorAsync(answer, what, cancellationToken).ConfigureAwait(false);
        StorageException failure = Failure(answer, error, what);
        return failure;
    }

    /// <summary>What an answer says of a refusal.</summary>
    public static async Task<GoogleError> ErrorAsync(HttpResponseMessage answer, string what, CancellationToken cancellationToken)
    {
        try
        {
            return GoogleError.Read(await HttpCall.ReadWholeAsync(answer, GoogleError.LongestAnswer, what, cancellationToken).ConfigureAwait(false));
        }
        catch (StorageException)
        {
            // The status says enough.
            return GoogleError.None;
        }
    }

    /// <summary>The failure that an answer means, whose body was read.</summary>
    public StorageException Failure(HttpResponseMessage answer, GoogleError error, string what) => Failure(
        answer.StatusCode, answer.Headers.NonValidated.TryGetValues("Retry-After", out HeaderStringValues values) ? values.ToString() : null, error, what);

    /// <summary>The same of a part of an answer.</summary>
    public StorageException Failure(HttpStatusCode answered, string? retryAfter, GoogleError error, string what)
    {
        (ErrorCode code, string why, string? guidance) = words(answered, error) ?? (answered, error.Reason) switch
        {
            (HttpStatusCode.Unauthorized, _) => (ErrorCodes.StorageAuthentication, "Google does not accept the token", "Run again; when it stays so, sign in again or make a new key."),
            (HttpStatusCode.TooManyRequests, _) or (_, "rateLimitExceeded" or "userRateLimitExceeded" or "RESOURCE_EXHAUSTED") =>
                (ErrorCodes.StorageConnection, "the storage asks for fewer requests", "Set --limit-requests to what the quota allows."),
            (HttpStatusCode.Forbidden, "accessNotConfigured" or "SERVICE_DISABLED") => (ErrorCodes.StorageAuthentication, "this interface is not enabled in the project", "Enable it: gcloud services enable, or the console."),
            var (status, reason) => (HttpFailure.CodeOf(status), $"the answer was {(int)status}{(reason.Length == 0 ? "" : " " + reason)}", (string?)null),
        };
        StorageException failure = new(code, $"{what}: {why}", guidance)
        {
            RetryAfter = HttpFailure.RetryAfter(retryAfter, time.GetUtcNow()),
        };
        if (error.Message.Length > 0)
        {
            failure.With("answer", error.Message);
        }

        return failure;
    }

    /// <summary>An answer's body, which is JSON of at most so many bytes.</summary>
    /// <exception cref="StorageException">It is none, so something between here and Google changed or cut it; or the connection broke.</exception>
    public static async Task<JsonDocument> ReadAsync(HttpResponseMessage answer, int most, string what, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(answer, most, what, cancellationToken).ConfigureAwait(false);
        try
        {
            JsonDocument document = JsonDocument.Parse(body);
            if (document.RootElement.ValueKind == JsonValueKind.Object)
            {
                return document;
            }

            document.Dispose();
            throw NoAnswer(what, null);
        }
        catch (JsonException e)
        {
            throw NoAnswer(what, e);
        }
    }

    /// <summary>An answer that is none of the service's.</summary>
    public static StorageException NoAnswer(string what, Exception? cause) =>
        new(ErrorCodes.StorageConnection, $"{what}: the answer is none of Google's", "Check the endpoint, and what lies between here and it.", cause);

    /// <summary>Metadata and content in one body (multipart/related).</summary>
    public static MultipartContent Both(byte[] metadata, HttpContent content)
    {
        MultipartContent both = new("related", $"backupiq-{Guid.NewGuid():n}") { Json(metadata) };
        content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        both.Add(content);
        return both;
    }

    /// <summary>JSON as a body.</summary>
    public static ByteArrayContent Json(byte[] json)
    {
        ByteArrayContent content = new(json);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json", Encoding.UTF8.WebName);
        return content;
    }

    /// <summary>A part of a content as a body.</summary>
    public static StreamContent BodyOf(StorageContent content, long offset, long length)
    {
        StreamContent body = new(content.OpenRead(offset, length));
        body.Headers.ContentLength = length;
        return body;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _http.Dispose();
        _tokens.Dispose();
    }
}
