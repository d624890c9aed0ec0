using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>What a failed request means, alike for all backends that speak HTTP.</summary>
internal static class HttpFailure
{
    /// <summary>What an exception of HttpClient or its streams means; null for one that is not of the network.</summary>
    /// <param name="failure">The exception. A cancellation counts as a time-out: whoever's own token was cancelled must ask that first.</param>
    /// <param name="what">What failed, as the beginning of a sentence: <c>The object s/1 could not be read</c>.</param>
    public static StorageException? Of(Exception failure, string what)
    {
        bool isNetwork = false;
        for (Exception? e = failure; e is not null; e = e.InnerException)
        {
            isNetwork |= e is HttpRequestException or IOException or SocketException;
            switch (e)
            {
                case AuthenticationException:
                    return new StorageException(
                        ErrorCodes.Storage,
                        $"{what}: the server's certificate is not trusted",
                        "Check the host's name; for an authority of your own give its certificate with ca=FILE in the URL, or set SSL_CERT_FILE.",
                        failure);
                case HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError }:
                    return new StorageException(ErrorCodes.StorageConnection, $"{what}: the server's name is not known", "Check the endpoint and the network.", failure);
                case SocketException { SocketErrorCode: SocketError.ConnectionRefused }:
                    return new StorageException(ErrorCodes.StorageConnection, $"{what}: nothing listens at the endpoint", "Check the endpoint, and that the server runs.", failure);
                case TimeoutException or OperationCanceledException:
                    return new StorageException(ErrorCodes.StorageTimeout, $"{what}: the server did not answer in time", null, failure);
            }
        }

        return isNetwork
            ? new StorageException(ErrorCodes.StorageConnection, $"{what}: the connection failed", "Check that the storage can be reached.", failure)
            : null;
    }

    /// <summary>What a status means that says no more by itself. 404, 409 and 412 are for whoever asked.</summary>
    public static ErrorCode CodeOf(HttpStatusCode status) => status switch
    {
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => ErrorCodes.StorageAuthentication,
        HttpStatusCode.NotFound => ErrorCodes.StorageObjectNotFound,
        HttpStatusCode.RequestTimeout or HttpStatusCode.GatewayTimeout => ErrorCodes.StorageTimeout,
        HttpStatusCode.TooManyRequests or HttpStatusCode.InternalServerError or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable => ErrorCodes.StorageConnection,
        HttpStatusCode.InsufficientStorage => ErrorCodes.StorageFull,
        _ => ErrorCodes.Storage,
    };

    /// <summary>How long Retry-After asks to wait: seconds or a date, at most an hour, so that no server stops a run for good; null where it says neither.</summary>
    public static TimeSpan? RetryAfter(string? header, DateTimeOffset now)
    {
        TimeSpan most = TimeSpan.FromHours(1);
        if (int.TryParse(header, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds))
        {
            return TimeSpan.FromSeconds(Math.Min(seconds, most.TotalSeconds));
        }

        return DateTimeOffset.TryParseExact(header, "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset until)
            ? TimeSpan.FromTicks(Math.Clamp((until - now).Ticks, 0, most.Ticks))
            : null;
    }
}
