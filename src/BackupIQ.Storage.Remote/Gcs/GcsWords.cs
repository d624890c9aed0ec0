using System.Net;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>What Cloud Storage's refusals mean. Its reasons are words; where one word stands for several things, its sentence is looked at.</summary>
internal static class GcsWords
{
    /// <summary>Whether a 404 is about the bucket and not about an object in it.</summary>
    public static bool IsBucketMissing(GoogleError error) => error.Message.Contains("bucket does not exist", StringComparison.OrdinalIgnoreCase);

    /// <summary>The words, for a bucket.</summary>
    public static GoogleWords For(string bucket) => (status, error) => (status, error.Reason) switch
    {
        (HttpStatusCode.NotFound, _) when IsBucketMissing(error) =>
            (ErrorCodes.Storage, $"there is no bucket '{bucket}'", $"Make it first: gcloud storage buckets create gs://{bucket} --uniform-bucket-level-access"),
        (HttpStatusCode.NotFound, _) => (ErrorCodes.StorageObjectNotFound, "it is not there", null),
        (HttpStatusCode.Forbidden, "retentionPolicyNotMet" or "objectUnderActiveHold") =>
            (ErrorCodes.RetentionRefused, "it is locked until its time", "Nobody can delete it before that; that is what the lock is for."),
        (HttpStatusCode.Forbidden, "accountDisabled" or "UserProjectAccountProblem") => (ErrorCodes.Storage, "the project's account is disabled or unpaid", "See the project's billing."),
        (HttpStatusCode.Forbidden, "forbidden" or "insufficientPermissions") when error.Message.Contains("KMS", StringComparison.Ordinal) =>
            (ErrorCodes.StorageAuthentication, "the key of Cloud KMS may not be used", "Give Cloud Storage's own service agent the role roles/cloudkms.cryptoKeyEncrypterDecrypter on the key."),
        (HttpStatusCode.Forbidden, "forbidden" or "insufficientPermissions" or "PERMISSION_DENIED") =>
            (ErrorCodes.StorageAuthentication, "these credentials may not do this", $"Give them the role roles/storage.objectUser on gs://{bucket}; see docs/storage/google.md."),
        (HttpStatusCode.BadRequest, "required") when error.Message.Contains("requester pays", StringComparison.OrdinalIgnoreCase) =>
            (ErrorCodes.Usage, "the bucket makes whoever asks pay", "Say in the URL who pays: user-project=PROJECT."),
        (HttpStatusCode.BadRequest, "invalid") when error.Message.Contains("hash", StringComparison.OrdinalIgnoreCase) => (ErrorCodes.StorageConnection, "bytes were changed on the way", null),
        (HttpStatusCode.Gone, _) => (ErrorCodes.StorageConnection, "the upload's session has ended", null),
        _ => null,
    };
}
