using System.Net;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>What an answer of the Blob service means that is no success. Its words are codes in a header; the body is for people and is not read.</summary>
internal static class AzureFailure
{
    // Beyond a quarter of an hour the service refuses every signature.
    private static readonly TimeSpan MostSkew = TimeSpan.FromMinutes(10);

    public const string CodeHeader = "x-ms-error-code";

    /// <summary>The service's code, or null.</summary>
    public static string? CodeOf(HttpResponseMessage answer) =>
        answer.Headers.TryGetValues(CodeHeader, out IEnumerable<string>? values) ? values.FirstOrDefault() : null;

    /// <summary>The failure to throw.</summary>
    /// <param name="answer">The answer.</param>
    /// <param name="what">What failed, as the beginning of a sentence.</param>
    /// <param name="container">The container's name.</param>
    /// <param name="now">This machine's time.</param>
    public static StorageException Of(HttpResponseMessage answer, string what, string container, DateTimeOffset now)
    {
        string? code = CodeOf(answer);
        (ErrorCode kind, string why, string? guidance) = code switch
        {
            "AuthenticationFailed" when answer.Headers.Date is { } date && (date - now).Duration() > MostSkew =>
                (ErrorCodes.StorageAuthentication, "this machine's clock is wrong", $"It differs from the storage's by {(int)(date - now).Duration().TotalMinutes} minutes: set it."),
            "AuthenticationFailed" => (ErrorCodes.StorageAuthentication, "the storage does not accept the key or signature", "Check account and key; a shared access signature may have expired."),
            "AuthorizationFailure" or "AuthorizationPermissionMismatch" or "AuthorizationProtocolMismatch" or "AuthorizationSourceIPMismatch" or "InsufficientAccountPermissions" =>
                (ErrorCodes.StorageAuthentication, "these credentials may not do this", "Give them the role 'Storage Blob Data Contributor' on the container, or a signature with the rights racwdl; see docs/storage/azure.md."),
            "AccountIsDisabled" => (ErrorCodes.Storage, "the storage account is disabled", "See the account in Azure's portal."),
            "ContainerNotFound" => (ErrorCodes.Storage, $"there is no container '{container}'", $"Make it first: az storage container create --name {container}"),
            "ContainerBeingDeleted" => (ErrorCodes.Storage, $"the container '{container}' is being deleted", "Use another one."),
            "BlobImmutableDueToPolicy" => (ErrorCodes.RetentionRefused, "it is immutable until its time", "Nobody can delete it before that; that is what the lock is for."),
            "BlobArchived" or "BlobBeingRehydrated" => (ErrorCodes.StorageArchived, "it lies in the archive tier", null),
            "SnapshotsPresent" => (ErrorCodes.Storage, "it has snapshots of Azure's own", "Delete those first."),
            "BlobNotFound" or "ResourceNotFound" => (ErrorCodes.StorageObjectNotFound, "it is not there", null),
            "ServerBusy" or "InternalError" => (ErrorCodes.StorageConnection, "the storage is busy", null),
            "OperationTimedOut" => (ErrorCodes.StorageTimeout, "the storage took too long", null),
            "InvalidBlockList" or "InvalidBlobOrBlock" => (ErrorCodes.StorageConnection, "another upload of the same object came between", null),
            "Md5Mismatch" => (ErrorCodes.StorageConnection, "bytes were changed on the way", null),
            _ => (HttpFailure.CodeOf(answer.StatusCode), $"the answer was {(int)answer.StatusCode}{(IsWord(code) ? " " + code : "")}", null),
        };
        StorageException failure = new(kind, $"{what}: {why}", guidance)
        {
            RetryAfter = HttpFailure.RetryAfter(answer.Headers.TryGetValues("Retry-After", out IEnumerable<string>? values) ? values.FirstOrDefault() : null, now),
        };
        return failure;
    }

    /// <summary>Whether the service does not accept what signed the request: another key or signature may be.</summary>
    public static bool IsUnknownSecret(HttpResponseMessage answer) =>
        answer.StatusCode is HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized && CodeOf(answer) is "AuthenticationFailed" or "InvalidAuthenticationInfo" or "AuthorizationFailure";

    /// <summary>Whether the answer says that the name is taken.</summary>
    public static bool IsTaken(HttpResponseMessage answer) =>
        answer.StatusCode is HttpStatusCode.Conflict or HttpStatusCode.PreconditionFailed &&
        CodeOf(answer) is "BlobAlreadyExists" or "ConditionNotMet" or "UnauthorizedBlobOverwrite" or "BlobImmutableDueToPolicy";

    // What a server calls its failures is shown only when it looks like one of its codes.
    private static bool IsWord(string? code) => code is { Length: > 0 and <= 60 } && code.All(char.IsAsciiLetterOrDigit);
}
