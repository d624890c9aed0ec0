using System.Net;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>Puts objects: small ones whole and under a condition, large ones in parts.</summary>
internal sealed class S3Upload(S3Backend backend, S3Connection connection, S3Limits limits)
{
    private const string Free = "*";
    private const int Md5Size = 16;

    /// <summary>An upload that failed is taken back within this time, or left to the bucket's rule for incomplete uploads.</summary>
    private static readonly TimeSpan AbortWithin = TimeSpan.FromSeconds(20);

    private S3Settings Settings => connection.Settings;

    public async Task<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        long length = content.GetLength();
        bool isWhole = length <= limits.Whole;
        bool isConditional = backend.Capabilities.ConditionalPut;

        // Where the server itself refuses a taken name, nothing is asked before.
        if (!(isWhole && isConditional) && await backend.HeadAsync(key, cancellationToken) is not null)
        {
            return await StoredBytes.CompareAsync(backend, key, content, cancellationToken);
        }

        return (isWhole ? await PutWholeAsync(key, content, length, isConditional, cancellationToken) : await PutPartsAsync(key, content, length, isConditional, cancellationToken))
            ? PutOutcome.Stored
            : await StoredBytes.CompareAsync(backend, key, content, cancellationToken);
    }

    private static string Failed(StorageKey key) => $"The object {key} could not be put";

    /// <returns>False when the name is taken.</returns>
    private async Task<bool> PutWholeAsync(StorageKey key, StorageContent content, long length, bool isConditional, CancellationToken cancellationToken)
    {
        byte[] md5 = ContentHash.Md5(content, 0, length);
        PutObjectResponse? answer = await connection.CallAsync(Failed(key), async patience =>
        {
            await using Stream body = patience.Watch(content).OpenRead();
            PutObjectRequest request = new()
            {
                BucketName = Settings.Bucket,
                Key = backend.NameOf(key),
                InputStream = body,
                AutoCloseStream = false,
                ContentType = "application/octet-stream",
                MD5Digest = Convert.ToBase64String(md5),
                IfNoneMatch = isConditional ? Free : null,
                UseChunkEncoding = false,
                DisablePayloadSigning = connection.IsEncrypted,
                StorageClass = Settings.Layout.IsCold(key) ? Settings.ColdClass : null,
                RequestPayer = connection.Payer,
            };
            Settings.Encryption.Ask(request);
            if (LockOf(key) is { } until)
            {
                request.ObjectLockMode = Settings.LockMode;
                request.ObjectLockRetainUntilDate = until;
            }

            try
            {
                return await connection.Client.PutObjectAsync(request, patience.Token);
            }
            catch (AmazonS3Exception e) when (isConditional && e.StatusCode == HttpStatusCode.PreconditionFailed)
            {
                return null;
            }
        }, cancellationToken);
        if (answer is null)
        {
            return false;
        }

        Settings.Encryption.RequireEcho(answer.ServerSideEncryptionMethod, answer.ServerSideEncryptionCustomerMethod);
        RequireEtag(key, answer.ETag, Convert.ToHexStringLower(md5), answer.ServerSideEncryptionMethod);
        return true;
    }

    /// <returns>False when the name is taken.</returns>
    private async Task<bool> PutPartsAsync(StorageKey key, StorageContent content, long length, bool isConditional, CancellationToken cancellationToken)
    {
        string upload = await BeginAsync(key, cancellationToken);
        try
        {
            long size = limits.PartSizeFor(length);
            PartETag[] parts = new PartETag[(length + size - 1) / size];
            byte[] digests = new byte[parts.Length * Md5Size];
            ParallelOptions parallel = new() { MaxDegreeOfParallelism = limits.PartsAtOnce, CancellationToken = cancellationToken };
            await Parallel.ForAsync(0, parts.Length, parallel, async (number, token) =>
            {
                long offset = number * size;
                long part = Math.Min(size, length - offset);
                byte[] md5 = ContentHash.Md5(content, offset, part);
                md5.CopyTo(digests, number * Md5Size);
                parts[number] = await PutPartAsync(key, upload, number + 1, content, offset, part, md5, token);
            });
            return await AssembleAsync(key, upload, parts, digests, isConditional, cancellationToken);
        }
        catch
        {
            await AbortAsync(key, upload);
            throw;
        }
    }

    private async Task<string> BeginAsync(StorageKey key, CancellationToken cancellationToken)
    {
        InitiateMultipartUploadRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = backend.NameOf(key),
            ContentType = "application/octet-stream",
            StorageClass = Settings.Layout.IsCold(key) ? Settings.ColdClass : null,
            RequestPayer = connection.Payer,
        };
        Settings.Encryption.Ask(request);
        if (LockOf(key) is { } until)
        {
            request.ObjectLockMode = Settings.LockMode;
            request.ObjectLockRetainUntilDate = until;
        }

        InitiateMultipartUploadResponse begun = await connection.CallAsync(
            Failed(key), patience => connection.Client.InitiateMultipartUploadAsync(request, patience.Token), cancellationToken);
        Settings.Encryption.RequireEcho(begun.ServerSideEncryptionMethod, begun.ServerSideEncryptionCustomerMethod);
        return begun.UploadId;
    }

    private async Task<PartETag> PutPartAsync(
        StorageKey key, string upload, int number, StorageContent content, long offset, long length, byte[] md5, CancellationToken cancellationToken)
    {
        UploadPartResponse answer = await connection.CallAsync(Failed(key), async patience =>
        {
            await using Stream body = patience.Watch(content).OpenRead(offset, length);
            UploadPartRequest request = new()
            {
                BucketName = Settings.Bucket,
                Key = backend.NameOf(key),
                UploadId = upload,
                PartNumber = number,
                PartSize = length,
                InputStream = body,
                MD5Digest = Convert.ToBase64String(md5),
                UseChunkEncoding = false,
                DisablePayloadSigning = connection.IsEncrypted,
                RequestPayer = connection.Payer,
            };
            Settings.Encryption.Ask(request);
            return await connection.Client.UploadPartAsync(request, patience.Token);
        }, cancellationToken);
        RequireEtag(key, answer.ETag, Convert.ToHexStringLower(md5), answer.ServerSideEncryptionMethod);
        return new PartETag(number, answer.ETag);
    }

    private async Task<bool> AssembleAsync(
        StorageKey key, string upload, PartETag[] parts, byte[] digests, bool isConditional, CancellationToken cancellationToken)
    {
        CompleteMultipartUploadRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = backend.NameOf(key),
            UploadId = upload,
            PartETags = [.. parts],
            IfNoneMatch = isConditional ? Free : null,
            RequestPayer = connection.Payer,
        };
        CompleteMultipartUploadResponse? answer = await connection.CallAsync(Failed(key), async patience =>
        {
            try
            {
                return await connection.Client.CompleteMultipartUploadAsync(request, patience.Token);
            }
            catch (AmazonS3Exception e) when (isConditional && e.StatusCode == HttpStatusCode.PreconditionFailed)
            {
                return null;
            }
        }, cancellationToken, isAssembly: true);
        if (answer is null)
        {
            await AbortAsync(key, upload);
            return false;
        }

        string expected = $"{Convert.ToHexStringLower(ContentHash.Md5(digests))}-{parts.Length}";
        if (answer.ETag.Contains('-', StringComparison.Ordinal))
        {
            RequireEtag(key, answer.ETag, expected, answer.ServerSideEncryptionMethod);
        }

        if (LockOf(key) is { } until)
        {
            // Asked for when the upload began; some servers (Ceph) forget it then.
            DateTimeOffset end = new(until, TimeSpan.Zero);
            await backend.ExtendLockAsync(key, end, end, cancellationToken);
        }

        return true;
    }

    // The parts of an upload that failed would be stored, and paid for, unseen.
    private async Task AbortAsync(StorageKey key, string upload)
    {
        AbortMultipartUploadRequest request = new() { BucketName = Settings.Bucket, Key = backend.NameOf(key), UploadId = upload, RequestPayer = connection.Payer };
        using CancellationTokenSource within = new(AbortWithin, connection.Time);
        try
        {
            await connection.CallAsync(Failed(key), patience => connection.Client.AbortMultipartUploadAsync(request, patience.Token), within.Token);
        }
        catch (Exception e) when (e is StorageException or OperationCanceledException)
        {
            // The failure that led here is the one to tell; the bucket's rule for incomplete uploads takes care of the rest.
        }
    }

    // Whole seconds: what comes back has no more.
    private DateTime? LockOf(StorageKey key) => Settings.LockMode is not null && Settings.Layout.IsLocked(key)
        ? DateTime.UnixEpoch.AddSeconds((connection.Time.GetUtcNow() + Settings.LockFor).ToUnixTimeSeconds())
        : null;

    private void RequireEtag(StorageKey key, string? etag, string expected, ServerSideEncryptionMethod? method)
    {
        string told = (etag ?? "").Trim('"');
        if (Settings.Encryption.HasMd5(method) && told.Length == expected.Length && !told.AsSpan(0, 32).ContainsAnyExcept("0123456789abcdef") && told != expected)
        {
            StorageException failure = new(
                ErrorCodes.Storage, $"{Failed(key)}: the storage says that it stored other bytes", "Something between here and the storage changes what is sent; 'backupiq check' tells what is damaged.");
            failure.With("etag", told);
            throw failure;
        }
    }
}
