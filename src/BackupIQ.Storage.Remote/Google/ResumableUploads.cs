using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>An upload that can be taken up where it broke.</summary>
/// <param name="Identity">Name and checksum: what is taken up must be the same.</param>
/// <param name="Begin">The request that opens a session.</param>
/// <param name="Content">The bytes.</param>
/// <param name="Length">How many; at least one.</param>
/// <param name="What">What fails if it does, as the beginning of a sentence.</param>
/// <param name="Expected">Statuses beside success that the caller knows to read, of the opening or of the end.</param>
internal sealed record ResumableUpload(
    string Identity, Func<HttpRequestMessage> Begin, StorageContent Content, long Length, string What, params IReadOnlyList<HttpStatusCode> Expected);

/// <summary>
/// Uploads that can go on where they broke: a session is opened, the bytes are sent, and who comes back asks how many have arrived. What broke
/// is taken up by the next put of the same bytes under the same name, so that a retry costs what was missing.
/// </summary>
internal sealed class ResumableUploads(GoogleApi api)
{
    /// <summary>Google's status for "go on": it took a part.</summary>
    public const HttpStatusCode GoOn = (HttpStatusCode)308;

    /// <summary>More broken ones than a run has puts under way are of no use.</summary>
    private const int MostBroken = 64;

    private readonly ConcurrentDictionary<string, Uri> _broken = new(StringComparer.Ordinal);

    /// <summary>Makes an upload, or goes on with it. The caller disposes the answer, which is one of those expected.</summary>
    /// <exception cref="StorageException">It failed; what has arrived is kept for the next put.</exception>
    public async Task<HttpResponseMessage> SendAsync(ResumableUpload upload, CancellationToken cancellationToken)
    {
        long offset = 0;
        if (_broken.TryRemove(upload.Identity, out Uri? session))
        {
            (HttpResponseMessage? ended, long? arrived) = await AskAsync(upload, session, cancellationToken).ConfigureAwait(false);
            if (ended is not null)
            {
                return ended;
            }

            session = arrived is null ? null : session;
            offset = arrived ?? 0;
        }

        if (session is null)
        {
            using HttpRequestMessage opening = upload.Begin();
            opening.Headers.Add("X-Upload-Content-Length", upload.Length.ToString(CultureInfo.InvariantCulture));
            HttpResponseMessage opened = await api.SendAsync(opening, upload.What, cancellationToken, [HttpStatusCode.OK, .. upload.Expected]).ConfigureAwait(false);
            if (opened.StatusCode != HttpStatusCode.OK)
            {
                return opened;
            }

            using (opened)
            {
                session = opened.Headers.Location is { IsAbsoluteUri: true } address && api.IsOwn(address) ? address : throw GoogleApi.NoAnswer(upload.What, null);
            }
        }

        return await SendRestAsync(upload, session, offset, cancellationToken).ConfigureAwait(false);
    }

    private async Task<HttpResponseMessage> SendRestAsync(ResumableUpload upload, Uri session, long offset, CancellationToken cancellationToken)
    {
        bool isOver = false;
        try
        {
            while (true)
            {
                using HttpRequestMessage request = new(HttpMethod.Put, session) { Content = GoogleApi.BodyOf(upload.Content, offset, upload.Length - offset) };
                request.Content.Headers.ContentRange = new ContentRangeHeaderValue(offset, upload.Length - 1, upload.Length);
                HttpResponseMessage answer = await SendAsync(upload, request, cancellationToken).ConfigureAwait(false);
                if (answer.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Gone)
                {
                    // The next put opens another one.
                    isOver = true;
                    using (answer)
                    {
                        throw new StorageException(ErrorCodes.StorageConnection, $"{upload.What}: the upload's session has ended");
                    }
                }

                if (answer.StatusCode != GoOn)
                {
                    isOver = true;
                    return answer;
                }

                using (answer)
                {
                    long arrived = Arrived(answer, upload.Length) ?? throw GoogleApi.NoAnswer(upload.What, null);
                    offset = arrived > offset ? arrived : throw new StorageException(ErrorCodes.StorageConnection, $"{upload.What}: the storage took nothing of what was sent");
                }
            }
        }
        catch (StorageException e) when (!e.IsTransient)
        {
            isOver = true;
            throw;
        }
        finally
        {
            if (!isOver)
            {
                Keep(upload.Identity, session);
            }
        }
    }

    // An answer: the upload had come to its end. Otherwise how many bytes have arrived; null: the session is gone.
    private async Task<(HttpResponseMessage? Ended, long? Arrived)> AskAsync(ResumableUpload upload, Uri session, CancellationToken cancellationToken)
    {
        bool isKept = true;
        try
        {
            using HttpRequestMessage request = new(HttpMethod.Put, session) { Content = new ByteArrayContent([]) };
            request.Content.Headers.ContentRange = new ContentRangeHeaderValue(upload.Length);
            HttpResponseMessage answer = await SendAsync(upload, request, cancellationToken).ConfigureAwait(false);
            isKept = false;
            if (answer.StatusCode is not (GoOn or HttpStatusCode.NotFound or HttpStatusCode.Gone))
            {
                return (answer, null);
            }

            using (answer)
            {
                return (null, answer.StatusCode == GoOn ? Arrived(answer, upload.Length) : null);
            }
        }
        catch (StorageException e) when (!e.IsTransient)
        {
            // Whatever is wrong with it, a new one may not have it.
            isKept = false;
            return (null, null);
        }
        finally
        {
            if (isKept)
            {
                Keep(upload.Identity, session);
            }
        }
    }

    private Task<HttpResponseMessage> SendAsync(ResumableUpload upload, HttpRequestMessage request, CancellationToken cancellationToken) =>
        api.SendAsync(request, upload.What, cancellationToken, [HttpStatusCode.OK, HttpStatusCode.Created, HttpStatusCode.NotFound, HttpStatusCode.Gone, GoOn, .. upload.Expected]);

    private void Keep(string identity, Uri session)
    {
        if (_broken.Count < MostBroken)
        {
            _broken[identity] = session;
        }
    }

    // "Range: bytes=0-N" says that N+1 bytes are there; no such header that there are none.
    private static long? Arrived(HttpResponseMessage answer, long length)
    {
        if (!answer.Headers.NonValidated.TryGetValues("Range", out HeaderStringValues values))
        {
            return 0;
        }

        string range = values.ToString();
        return range.StartsWith("bytes=0-", StringComparison.Ordinal) && long.TryParse(range.AsSpan("bytes=0-".Length), NumberStyles.None, CultureInfo.InvariantCulture, out long last) && last + 1 < length
            ? last + 1
            : null;
    }
}
