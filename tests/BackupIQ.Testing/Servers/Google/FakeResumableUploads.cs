using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>
/// Google's protocol of uploads that can be taken up: a session of its own address, parts by <c>Content-Range</c>, 308 with <c>Range</c> for what has arrived. What is
/// cut off keeps whole multiples of 256 KiB.
/// </summary>
internal sealed class FakeResumableUploads(FakeGoogle service)
{
    private const int Grain = 256 * 1024;

    private readonly ConcurrentDictionary<string, Session> _sessions = new(StringComparer.Ordinal);

    /// <summary>Sessions that have not come to their end.</summary>
    public int Open => _sessions.Values.Count(static session => session.Finished is null && !session.IsGone);

    /// <summary>Opens a session; the answer names its address.</summary>
    /// <param name="call">The request that opens it.</param>
    /// <param name="finish">Makes an object of the bytes and answers; null: it was refused.</param>
    public Task OpenAsync(FakeGoogleCall call, Func<FakeGoogleCall, byte[], Task<JsonNode?>> finish)
    {
        string id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20));
        _sessions[id] = new Session(finish);

        // At the address by which the client came: that is where it comes back to.
        string query = call.Context.Request.QueryString.Value!;
        call.SetHeader("Location", $"http://{call.Context.Request.Host}{call.Path}{query}&upload_id={id}");
        call.SetHeader("X-GUploader-UploadID", id);
        return call.AnswerAsync(200, "text/plain; charset=utf-8", default);
    }

    /// <summary>Answers a request to a session's address.</summary>
    public async Task ServeAsync(FakeGoogleCall call)
    {
        if (!_sessions.TryGetValue(call.Query.GetValueOrDefault("upload_id", ""), out Session? session))
        {
            await call.FailAsync(404, "notFound", "Not Found");
            return;
        }

        await session.Gate.WaitAsync();
        try
        {
            await ServeAsync(call, session);
        }
        finally
        {
            session.Gate.Release();
        }
    }

    private async Task ServeAsync(FakeGoogleCall call, Session session)
    {
        if (session.Finished is { } finished)
        {
            // The answer to the last part, once more.
            await call.AnswerAsync(finished.DeepClone());
            return;
        }

        if (session.IsGone)
        {
            await call.FailAsync(410, "uploadSessionGone", "The upload session is gone.");
            return;
        }

        // "bytes 0-99/1000", or "bytes */1000" of who asks how many have arrived.
        string[] range = call.Context.Request.Headers.ContentRange.ToString().Split(' ', '-', '/');
        if (range is not ["bytes", ..] || !long.TryParse(range[^1], CultureInfo.InvariantCulture, out long total))
        {
            await call.FailAsync(400, "invalid", "Failed to parse Content-Range header.");
            return;
        }

        if (range[1] != "*")
        {
            long first = long.Parse(range[1], CultureInfo.InvariantCulture);
            long last = long.Parse(range[2], CultureInfo.InvariantCulture);
            if (first != session.Bytes.Length || last < first || last >= total || (last + 1 < total && (last - first + 1) % Grain != 0))
            {
                await call.FailAsync(400, "invalid", "Invalid request. The range does not follow what has arrived, or is no multiple of 256 KiB.");
                return;
            }

            if (!await ReceiveAsync(call, session, last - first + 1))
            {
                return;
            }
        }

        if (session.Bytes.Length < total)
        {
            if (session.Bytes.Length > 0)
            {
                call.SetHeader("Range", string.Create(CultureInfo.InvariantCulture, $"bytes=0-{session.Bytes.Length - 1}"));
            }

            await call.AnswerAsync(308, "text/plain; charset=utf-8", default);
            return;
        }

        byte[] bytes = session.Bytes.ToArray();
        session.IsGone = true;
        session.Finished = await session.FinishAsync(call, bytes);
    }

    // False: the client went away.
    private async Task<bool> ReceiveAsync(FakeGoogleCall call, Session session, long expected)
    {
        long before = session.Bytes.Length;
        bool isWhole = false;
        try
        {
            await call.Context.Request.Body.CopyToAsync(session.Bytes);
            isWhole = session.Bytes.Length - before == expected;
        }
        catch (Exception e) when (e is BadHttpRequestException or ConnectionResetException or IOException or OperationCanceledException)
        {
            // What has come is kept, below.
        }

        long arrived = session.Bytes.Length - before;
        if (!isWhole || service.TakesAtMost < arrived)
        {
            arrived = Math.Min(arrived, service.TakesAtMost ?? long.MaxValue);
            session.Bytes.SetLength(before + (arrived / Grain * Grain));
            session.Bytes.Position = session.Bytes.Length;
        }

        return isWhole;
    }

    private sealed class Session(Func<FakeGoogleCall, byte[], Task<JsonNode?>> finish)
    {
        public SemaphoreSlim Gate { get; } = new(1);

        public MemoryStream Bytes { get; } = new();

        public bool IsGone { get; set; }

        /// <summary>What became of it.</summary>
        public JsonNode? Finished { get; set; }

        public Task<JsonNode?> FinishAsync(FakeGoogleCall call, byte[] bytes) => finish(call, bytes);
    }
}
