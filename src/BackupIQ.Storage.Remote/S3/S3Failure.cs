using System.Net;
using System.Xml;
using Amazon.Runtime;
using Amazon.Runtime.Internal;
using Amazon.Runtime.Internal.Transform;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>What an answer of an S3 server, or of the SDK, means. The server's own words are not passed on but for its code: they may quote the request.</summary>
internal static class S3Failure
{
    /// <summary>Whether the storage does not know the key any more, or not yet: another may be known.</summary>
    public static bool IsUnknownKey(StorageException failure) => failure.InnerException is AmazonServiceException
    {
        ErrorCode: "InvalidAccessKeyId" or "SignatureDoesNotMatch" or "ExpiredToken" or "TokenRefreshRequired" or "InvalidToken",
    };

    /// <summary>The failure of doing <paramref name="what"/> ("The object s/1 could not be read"); null for what is none of the storage's.</summary>
    public static StorageException? Of(Exception exception, string what, S3Settings settings, TimeProvider time) => exception switch
    {
        StorageException => null,

        // The SDK lets through whatever its reader of answers stumbles over.
        XmlException or FormatException or OverflowException or AmazonUnmarshallingException => Located(
            new StorageException(ErrorCodes.StorageConnection, $"{what}: the answer is garbled", "When it stays so, look at what lies between here and the storage.", exception), settings),
        AmazonServiceException answer when answer.StatusCode != 0 => OfAnswer(answer, what, settings, time),
        AmazonClientException or AmazonServiceException => Located(HttpFailure.Of(exception, what) ?? NoCredentials(exception, what, settings), settings),
        _ => Located(HttpFailure.Of(exception, what), settings),
    };

    private static StorageException OfAnswer(AmazonServiceException answer, string what, S3Settings settings, TimeProvider time)
    {
        IWebResponseData? response = (answer.InnerException as HttpErrorResponseException)?.Response;
        (ErrorCode code, string reason, string? guidance) = Meaning(answer.ErrorCode, answer.StatusCode, settings, response);
        StorageException failure = new(code, reason.Length == 0 ? what : $"{what}: {reason}", guidance, answer)
        {
            RetryAfter = HttpFailure.RetryAfter(Header(response, "Retry-After"), time.GetUtcNow()),
        };
        failure.With("answer", $"{(int)answer.StatusCode} {answer.ErrorCode}").With("location", settings.Location);
        if (!string.IsNullOrEmpty(answer.RequestId))
        {
            failure.With("request", answer.RequestId);
        }

        return failure;
    }

    private static (ErrorCode Code, string Reason, string? Guidance) Meaning(string code, HttpStatusCode status, S3Settings settings, IWebResponseData? response)
    {
        switch (code)
        {
            case "NoSuchBucket":
                return (ErrorCodes.RepositoryNotFound, $"there is no bucket '{settings.Bucket}'", "Make the bucket, or check --repo, its endpoint and region.");
            case "InvalidAccessKeyId" or "SignatureDoesNotMatch":
                return (ErrorCodes.StorageAuthentication, "the storage does not know the credentials", "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile.");
            case "ExpiredToken" or "TokenRefreshRequired" or "InvalidToken":
                return (ErrorCodes.StorageAuthentication, "the credentials have expired", "Get new ones and run again; what was stored is kept and reused.");
            case "RequestTimeTooSkewed":
                return (ErrorCodes.Storage, "this machine's clock differs from the storage's by too much", "Set this machine's clock; the storage refuses what is signed at another time.");
            case "RequestExpired":
                return (ErrorCodes.Storage, "the storage says that the request is too old", "Check this machine's clock.");
            case "PermanentRedirect" or "TemporaryRedirect" or "AuthorizationHeaderMalformed" or "IllegalLocationConstraintException":
                string region = Header(response, "x-amz-bucket-region") is { Length: > 0 } named ? named : "REGION";
                return (ErrorCodes.Storage, "the bucket lies in another region", $"Say region={region} in the URL.");
            case "QuotaExceeded" or "TooManyBuckets":
                return (ErrorCodes.StorageFull, "the storage's quota is used up", null);
            case "InvalidObjectState":
                return (ErrorCodes.StorageArchived, "it lies in an archive", null);
            case "BadDigest" or "XAmzContentSHA256Mismatch" or "IncompleteBody":
                return (ErrorCodes.StorageConnection, "the bytes did not arrive as they were sent", "Try again; when it stays so, look at what lies between here and the storage.");
            case "ConditionalRequestConflict" or "OperationAborted" or "SlowDown" or "RequestTimeout":
                return (ErrorCodes.StorageConnection, "the storage asks to try again", "Try again later.");
            case "InvalidBucketName" or "InvalidURI":
                return (ErrorCodes.Usage, $"'{settings.Bucket}' is no name for a bucket", "Check --repo.");
            case "NotImplemented":
                return (ErrorCodes.Storage, "the storage cannot do that", null);
        }

        ErrorCode byStatus = HttpFailure.CodeOf(status);
        return byStatus == ErrorCodes.StorageAuthentication
            ? (byStatus, "the storage forbids it", "The credentials are known but may not do this: docs/storage/s3.md has the policy that is needed.")
            : byStatus == ErrorCodes.StorageObjectNotFound ? (byStatus, "it is not there", null)
            : byStatus.IsTransient ? (byStatus, "the storage is busy or broken", "Try again later.")
            : (byStatus, "the storage refused", null);
    }

    private static StorageException NoCredentials(Exception exception, string what, S3Settings settings) =>
        new(
            ErrorCodes.StorageAuthentication,
            $"{what}: no credentials for it were found",
            settings.Profile is null
                ? "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/credentials with profile=NAME in the URL."
                : "Check that ~/.aws/credentials or ~/.aws/config has the profile that the URL names.",
            exception);

    private static StorageException? Located(StorageException? failure, S3Settings settings)
    {
        failure?.With("location", settings.Location);
        return failure;
    }

    private static string? Header(IWebResponseData? response, string name) =>
        response is not null && response.IsHeaderPresent(name) ? response.GetHeaderValue(name) : null;
}
