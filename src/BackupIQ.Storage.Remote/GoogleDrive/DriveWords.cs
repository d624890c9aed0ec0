using System.Net;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>What Drive's refusals mean.</summary>
internal static class DriveWords
{
    /// <summary>The words, for a storage.</summary>
    public static GoogleWords For(string location) => (status, error) => (status, error.Reason) switch
    {
        (HttpStatusCode.NotFound, _) => (ErrorCodes.StorageObjectNotFound, "it is not there", null),
        (HttpStatusCode.Forbidden, "storageQuotaExceeded" or "quotaExceeded") =>
            (ErrorCodes.StorageFull, "the Drive is full", "Make space (forget, prune, Drive's own trash) or buy some. A service account has none of its own: let it use a shared drive (shared-drive=ID)."),
        (HttpStatusCode.Forbidden, "numChildrenInNonRootLimitExceeded" or "teamDriveFileLimitExceeded" or "activeItemCreationLimitExceeded" or "myDriveHierarchyDepthLimitExceeded") =>
            (ErrorCodes.StorageFull, "the Drive has as many files as it allows", "Forget and prune, or begin another repository in another account."),
        (HttpStatusCode.Forbidden, "dailyLimitExceeded" or "dailyLimitExceededUnreg") => (ErrorCodes.Storage, "the project has no more requests for today", "Raise the quota of the OAuth client's project, or wait until tomorrow."),
        (HttpStatusCode.Forbidden, "insufficientPermissions" or "insufficientFilePermissions" or "appNotAuthorizedToFile" or "forbidden" or "ACCESS_TOKEN_SCOPE_INSUFFICIENT" or "PERMISSION_DENIED") =>
            (ErrorCodes.StorageAuthentication, "this sign-in may not do this", $"Sign in again: backupiq storage login '{location}'. With a service account, share the folder or drive with it."),
        (HttpStatusCode.Forbidden, "cannotDownloadAbusiveFile") => (ErrorCodes.Storage, "Drive takes it for something harmful and does not give it out", "Its owner can ask for a review in Drive."),
        (HttpStatusCode.Unauthorized, _) => (ErrorCodes.StorageAuthentication, "Drive does not accept the token", $"Run again; when it stays so, sign in again: backupiq storage login '{location}'"),
        (HttpStatusCode.Gone, _) => (ErrorCodes.StorageConnection, "the upload's session has ended", null),
        _ => null,
    };
}
