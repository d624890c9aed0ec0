using System.Net;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>
/// Finds out, once per connection and with requests that run beside each other, whether the bucket is there and may be read, and what the server can do
/// where some servers are silent.
/// </summary>
/// <remarks>
/// Whether a put can be conditional is asked by putting the same small object, under a name that no key has, on the condition that it is not there. It
/// stays in the bucket, so that from then on one request, which is refused, is all it costs. A server that ignores the condition lets its bytes be replaced
/// by some that say so, for those who may only read.
/// </remarks>
internal sealed class S3Probe(S3Connection connection)
{
    private static readonly byte[] Honoured = "BackupIQ asks by this object whether the storage refuses to replace what is there. It may be deleted.\n"u8.ToArray();
    private static readonly byte[] Ignored = "BackupIQ asked by this object whether the storage refuses to replace what is there: it does not. It may be deleted.\n"u8.ToArray();

    private S3Settings Settings => connection.Settings;

    // Upper case, which no key has; of its own for each way of encryption, so that its own answer tells of that.
    private string Name => $"{Settings.Prefix}BACKUPIQ-PROBE{(Settings.Encryption.IsAsked ? "-" + Settings.Encryption.Name.Replace(':', '-') : "")}";

    public async Task<StorageCapabilities> RunAsync(CancellationToken cancellationToken)
    {
        using CancellationTokenSource given = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<bool> conditional = AskConditionAsync(given.Token);
        Task<bool?> versions = AskVersionsAsync(given.Token);
        try
        {
            await ListAsync(cancellationToken);
            if (Settings.LockMode is not null)
            {
                await RequireLockAsync(cancellationToken);
            }

            return new StorageCapabilities
            {
                ConditionalPut = await conditional,
                HasStoreClock = true,
                KeepsVersions = await versions,
                LocksFor = Settings.LockMode is null ? null : Settings.LockFor,
                ExtendsLocks = Settings.LockMode is not null,
                Checksum = "Content-MD5",
                Archive = Settings.Archive,
                ServerEncryption = Settings.Encryption.IsAsked ? Settings.Encryption.Name : null,
            };
        }
        catch
        {
            // One failure is told; the others are mostly the same.
            await given.CancelAsync();
            await Task.WhenAll(conditional, versions).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }
    }

    private Task ListAsync(CancellationToken cancellationToken)
    {
        ListObjectsV2Request request = new() { BucketName = Settings.Bucket, Prefix = Settings.Prefix, MaxKeys = 1, RequestPayer = connection.Payer };
        return connection.CallAsync("The storage could not be opened", patience => connection.Client.ListObjectsV2Async(request, patience.Token), cancellationToken);
    }

    private async Task<bool> AskConditionAsync(CancellationToken cancellationToken)
    {
        try
        {
            // The second put tells what the first could not, when the object was not there yet.
            bool isRefused = !await PutAsync(Honoured, cancellationToken) || !await PutAsync(Honoured, cancellationToken);
            if (!isRefused)
            {
                await PutAsync(Ignored, cancellationToken);
            }

            if (Settings.Encryption.IsAsked && await S3Backend.HeadAsync(connection, Name, "The storage could not be tried", cancellationToken) is { } head)
            {
                Settings.Encryption.RequireEcho(head.ServerSideEncryptionMethod, head.ServerSideEncryptionCustomerMethod);
            }

            return isRefused;
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageAuthentication)
        {
            // Who may not put reads what those found out who may.
            return await ReadAsync(cancellationToken) is not { } found || !found.AsSpan().SequenceEqual(Ignored);
        }
        catch (StorageException e) when (e.InnerException is AmazonS3Exception { StatusCode: HttpStatusCode.NotImplemented })
        {
            return false;
        }
    }

    /// <returns>False when the object is there and the server says so.</returns>
    private Task<bool> PutAsync(byte[] bytes, CancellationToken cancellationToken) => connection.CallAsync(
        "The storage could not be tried",
        async patience =>
        {
            using MemoryStream body = new(bytes, writable: false);
            PutObjectRequest request = new()
            {
                BucketName = Settings.Bucket,
                Key = Name,
                InputStream = body,
                AutoCloseStream = false,
                ContentType = "text/plain",
                MD5Digest = Convert.ToBase64String(ContentHash.Md5(bytes)),
                IfNoneMatch = "*",
                UseChunkEncoding = false,
                DisablePayloadSigning = connection.IsEncrypted,
                RequestPayer = connection.Payer,
            };
            Settings.Encryption.Ask(request);
            try
            {
                await connection.Client.PutObjectAsync(request, patience.Token);
                return true;
            }
            catch (AmazonS3Exception e) when (e.StatusCode is HttpStatusCode.PreconditionFailed or HttpStatusCode.Conflict)
            {
                return false;
            }
        },
        cancellationToken);

    private async Task<byte[]?> ReadAsync(CancellationToken cancellationToken)
    {
        GetObjectRequest request = new() { BucketName = Settings.Bucket, Key = Name, RequestPayer = connection.Payer };
        Settings.Encryption.Ask(request);
        try
        {
            return await connection.CallAsync(
                "The storage could not be tried",
                async patience =>
                {
                    using GetObjectResponse response = await connection.Client.GetObjectAsync(request, patience.Token);
                    byte[] bytes = new byte[Math.Min(response.ContentLength, Ignored.Length)];
                    await response.ResponseStream.ReadExactlyAsync(bytes, patience.Token);
                    return bytes;
                },
                cancellationToken);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound || e.Code == ErrorCodes.StorageAuthentication)
        {
            return null;
        }
    }

    // Null where it may not be asked, or the server does not know the question.
    private async Task<bool?> AskVersionsAsync(CancellationToken cancellationToken)
    {
        GetBucketVersioningRequest request = new() { BucketName = Settings.Bucket };
        try
        {
            GetBucketVersioningResponse answer = await connection.CallAsync(
                "The storage could not be asked for versions", patience => connection.Client.GetBucketVersioningAsync(request, patience.Token), cancellationToken);
            return answer.VersioningConfig?.Status == VersionStatus.Enabled;
        }
        catch (StorageException e) when (!e.IsTransient)
        {
            return null;
        }
    }

    // A lock that is asked for and not there would be noticed when it is needed.
    private async Task RequireLockAsync(CancellationToken cancellationToken)
    {
        GetObjectLockConfigurationRequest request = new() { BucketName = Settings.Bucket };
        bool isEnabled;
        try
        {
            GetObjectLockConfigurationResponse answer = await connection.CallAsync(
                "The lock of the storage could not be looked up",
                patience => connection.Client.GetObjectLockConfigurationAsync(request, patience.Token),
                cancellationToken);
            isEnabled = answer.ObjectLockConfiguration?.ObjectLockEnabled == ObjectLockEnabled.Enabled;
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            isEnabled = false;
        }

        if (!isEnabled)
        {
            StorageException refusal = new(
                ErrorCodes.Usage, "The URL asks for a lock, and the bucket has no object lock", "Make the bucket with object lock enabled, or take lock and lock-days out of the URL.");
            refusal.With("location", Settings.Location);
            throw refusal;
        }
    }
}
