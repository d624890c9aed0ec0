using System.Net;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>A backend's request by HttpClient: what the network does to it, or to the body of its answer, becomes a <see cref="StorageException"/>.</summary>
internal static class HttpCall
{
    /// <summary>Sends a request and returns the answer, whatever its status, when its head is there. The caller disposes it.</summary>
    /// <param name="client">Without a time-out of its own: whoever stacks decorators sets times.</param>
    /// <param name="request">What is sent.</param>
    /// <param name="what">What fails if it does, as the beginning of a sentence.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="StorageException">There was no answer.</exception>
    public static async Task<HttpResponseMessage> SendAsync(HttpClient client, HttpRequestMessage request, string what, CancellationToken cancellationToken)
    {
        try
        {
            return await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (Meaning(e, what, cancellationToken) is { } failure)
        {
            throw Broken(failure, 0);
        }
    }

    /// <summary>Fills <paramref name="destination"/> from the body of an answer; returns less only where the body ends.</summary>
    /// <exception cref="StorageException">The connection broke; <see cref="StorageException.BytesRead"/> tells how many bytes are good.</exception>
    public static async Task<int> ReadAsync(HttpResponseMessage response, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        int count = 0;
        try
        {
            Stream body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            while (count < destination.Length)
            {
                int read = await body.ReadAsync(destination[count..], cancellationToken).ConfigureAwait(false);
                if (read == 0)
                {
                    break;
                }

                count += read;
            }

            return count;
        }
        catch (Exception e) when (Meaning(e, what, cancellationToken) is { } failure)
        {
            throw Broken(failure, count);
        }
    }

    /// <summary>
    /// Reads a range out of its answer (206): from <paramref name="offset"/> until <paramref name="destination"/> is full or the object ends.
    /// </summary>
    /// <exception cref="StorageException">The server answered with another range, or the connection broke.</exception>
    public static async Task<int> ReadRangeAsync(HttpResponseMessage response, long offset, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        if (response.Content.Headers.ContentLength == 0 && response.Content.Headers.ContentRange is not { HasRange: true })
        {
            return 0;
        }

        if (response.Content.Headers.ContentRange is not { From: { } from, To: { } to } || from != offset || to < from || to - from >= destination.Length)
        {
            throw new StorageException(ErrorCodes.Storage, $"{what}: the server answered with another range than was asked for", "Look for a proxy or cache between here and the server.");
        }

        int expected = (int)(to - from + 1);
        int count = await ReadAsync(response, destination[..expected], what, cancellationToken).ConfigureAwait(false);
        return count == expected ? count : throw Broken(new StorageException(ErrorCodes.StorageConnection, $"{what}: the answer ended early", "Check that the storage can be reached."), count);
    }

    /// <summary>The whole body of an answer, which is refused beyond <paramref name="most"/> bytes: a server that is not what it seems must not fill the memory.</summary>
    /// <exception cref="StorageException">The connection broke, or the answer is too large.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadWholeAsync(HttpResponseMessage response, int most, string what, CancellationToken cancellationToken)
    {
        using MemoryStream bytes = new();
        byte[] buffer = new byte[32 * 1024];
        int count;
        do
        {
            count = await ReadAsync(response, buffer, what, cancellationToken).ConfigureAwait(false);
            bytes.Write(buffer, 0, count);
            if (bytes.Length > most)
            {
                throw new StorageException(ErrorCodes.Storage, $"{what}: the server's answer is too large to be one");
            }
        }
        while (count == buffer.Length);
        return bytes.GetBuffer().AsMemory(0, (int)bytes.Length);
    }

    /// <summary>A failure by an answer's status.</summary>
    public static StorageException Failure(HttpResponseMessage response, string what, DateTimeOffset now)
    {
        ErrorCode code = HttpFailure.CodeOf(response.StatusCode);
        string reason = code == ErrorCodes.StorageAuthentication && response.StatusCode == HttpStatusCode.Unauthorized ? "the server does not know these credentials"
            : code == ErrorCodes.StorageAuthentication ? "the server does not allow it"
            : code == ErrorCodes.StorageFull ? "the storage is full"
            : (int)response.StatusCode is >= 300 and < 400 ? "the server says that it is elsewhere"
            : $"the server answered with {(int)response.StatusCode}";
        StorageException failure = new(code, $"{what}: {reason}")
        {
            RetryAfter = HttpFailure.RetryAfter(response.Headers.NonValidated.TryGetValues("Retry-After", out var values) ? values.ToString() : null, now),
        };
        failure.With("status", ((int)response.StatusCode).ToString(System.Globalization.CultureInfo.InvariantCulture));
        return failure;
    }

    private static Exception Broken(Exception failure, int count) => failure is StorageException storage ? storage.Broken(count) : failure;

    // What the content's own watchers throw on its way out (a limit, a lost session) comes wrapped; it is not of the network.
    private static Exception? Meaning(Exception e, string what, CancellationToken cancellationToken)
    {
        for (Exception? inner = e; inner is not null; inner = inner.InnerException)
        {
            if (inner is BackupIQException own)
            {
                return own;
            }
        }

        return cancellationToken.IsCancellationRequested ? new OperationCanceledException(e.Message, e, cancellationToken) : HttpFailure.Of(e, what);
    }
}
