using System.Collections.Concurrent;
using System.Net;
using System.Runtime.ExceptionServices;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>
/// Puts objects in parts. An upload that broke in a way that may pass stays, and the next put of the same object goes on with it: the server is asked
/// which parts it has, and those are sent that it lacks. One that nobody goes on with is taken back: when the storage is closed, or, where its process died,
/// by the first upload in parts of another session once it is old.
/// </summary>
internal sealed class S3Multipart(S3Backend backend, S3Connection connection, S3Limits limits) : IAsyncDisposable
{
    private const int Md5Size = 16;

    /// <summary>An upload is taken back within this time, or left to those who sweep, or the bucket's rule for incomplete uploads.</summary>
    private static readonly TimeSpan AbortWithin = TimeSpan.FromSeconds(20);

    /// <summary>An upload that began this long ago belongs to nobody: 256 MiB, the largest pack, take that long at 2 KB a second.</summary>
    private static readonly TimeSpan DeadAfter = TimeSpan.FromDays(2);

    private readonly ConcurrentDictionary<StorageKey, Upload> _broken = new();
    private int _hasSwept;

    private S3Settings Settings => connection.Settings;

    /// <returns>False when the name is taken.</returns>
    public async Task<bool> PutAsync(StorageKey key, StorageContent content, long length, bool isConditional, CancellationToken cancellationToken)
    {
        await SweepOnceAsync(cancellationToken);
        Upload upload = await TakeUpAsync(key, length, cancellationToken) ?? await BeginAsync(key, length, cancellationToken);
        try
        {
            await SendAsync(key, upload, content, cancellationToken);
            return await AssembleAsync(key, upload, isConditional, cancellationToken);
        }
        catch (StorageException e) when (e.IsTransient)
        {
            _broken[key] = upload;
            throw;
        }
        catch
        {
            await AbortAsync(backend.NameOf(key), upload.Id);
            throw;
        }
    }

    /// <summary>The object is there: what is left of an upload of it is taken back.</summary>
    public async Task ForgetAsync(StorageKey key)
    {
        if (_broken.TryRemove(key, out Upload? upload))
        {
            await AbortAsync(backend.NameOf(key), upload.Id);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await Task.WhenAll(_broken.Keys.Select(ForgetAsync));

    // What an earlier put of the same object left, with what the server has of it.
    private async Task<Upload?> TakeUpAsync(StorageKey key, long length, CancellationToken cancellationToken)
    {
        if (!_broken.TryRemove(key, out Upload? upload))
        {
            return null;
        }

        if (upload.Length != length)
        {
            await AbortAsync(backend.NameOf(key), upload.Id);
            return null;
        }

        try
        {
            upload.Held.Clear();
            await foreach (PartDetail part in ListPartsAsync(key, upload.Id, cancellationToken))
            {
                if (part.PartNumber is { } number && number >= 1 && number <= upload.Count && part.Size == upload.SizeOf(number))
                {
                    upload.Held[number] = part.ETag;
                }
            }

            return upload;
        }
        catch (StorageException e) when (!e.IsTransient)
        {
            // It was swept, or who puts may not ask: everything is sent again.
            await AbortAsync(backend.NameOf(key), upload.Id);
            return null;
        }
        catch
        {
            _broken[key] = upload;
            throw;
        }
    }

    private async IAsyncEnumerable<PartDetail> ListPartsAsync(
        StorageKey key, string upload, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        ListPartsRequest request = new() { BucketName = Settings.Bucket, Key = backend.NameOf(key), UploadId = upload, RequestPayer = connection.Payer };
        while (true)
        {
            ListPartsResponse page = await connection.CallAsync(
                S3Upload.Failed(key), patience => connection.Client.ListPartsAsync(request, patience.Token), cancellationToken);
            foreach (PartDetail part in page.Parts ?? [])
            {
                yield return part;
            }

            if (page.IsTruncated != true || page.NextPartNumberMarker is not { } next || next.ToString(System.Globalization.CultureInfo.InvariantCulture) == request.PartNumberMarker)
            {
                yield break;
            }

            request.PartNumberMarker = next.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    private async Task<Upload> BeginAsync(StorageKey key, long length, CancellationToken cancellationToken)
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
        Settings.Describe(request.Metadata);
        if (Settings.LockedUntil(key, connection.Time.GetUtcNow()) is { } until)
        {
            request.ObjectLockMode = Settings.LockMode;
            request.ObjectLockRetainUntilDate = until;
        }

        InitiateMultipartUploadResponse begun = await connection.CallAsync(
            S3Upload.Failed(key), patience => connection.Client.InitiateMultipartUploadAsync(request, patience.Token), cancellationToken);
        Settings.Encryption.RequireEcho(begun.ServerSideEncryptionMethod, begun.ServerSideEncryptionCustomerMethod);
        return new Upload(begun.UploadId, length, limits.PartSizeFor(length));
    }

    // Sends what the server does not have. Where one part breaks no other begins, but those that are on their way go on: they need not be sent again.
    private async Task SendAsync(StorageKey key, Upload upload, StorageContent content, CancellationToken cancellationToken)
    {
        StorageException? broken = null;
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = limits.PartsAtOnce, CancellationToken = cancellationToken };
        await Parallel.ForAsync(1, upload.Count + 1, parallel, async (number, token) =>
        {
            if (Volatile.Read(ref broken) is not null)
            {
                return;
            }

            byte[] md5 = ContentHash.Md5(content, upload.OffsetOf(number), upload.SizeOf(number));
            if (upload.Has(number, md5))
            {
                return;
            }

            try
            {
                upload.Sent(number, md5, await PutPartAsync(key, upload, number, content, md5, token));
            }
            catch (StorageException e)
            {
                Interlocked.CompareExchange(ref broken, e, null);
            }
        });
        if (broken is not null)
        {
            ExceptionDispatchInfo.Throw(broken);
        }
    }

    private async Task<string> PutPartAsync(StorageKey key, Upload upload, int number, StorageContent content, byte[] md5, CancellationToken cancellationToken)
    {
        UploadPartResponse answer = await CallAsync(key, async patience =>
        {
            await using Stream body = patience.Watch(content).OpenRead(upload.OffsetOf(number), upload.SizeOf(number));
            UploadPartRequest request = new()
            {
                BucketName = Settings.Bucket,
                Key = backend.NameOf(key),
                UploadId = upload.Id,
                PartNumber = number,
                PartSize = upload.SizeOf(number),
                InputStream = body,
                MD5Digest = Convert.ToBase64String(md5),
                UseChunkEncoding = false,
                DisablePayloadSigning = connection.IsEncrypted,
                RequestPayer = connection.Payer,
            };
            Settings.Encryption.Ask(request);
            return await connection.Client.UploadPartAsync(request, patience.Token);
        }, cancellationToken);
        Settings.Encryption.RequireEtag(S3Upload.Failed(key), answer.ETag, Convert.ToHexStringLower(md5), answer.ServerSideEncryptionMethod);
        return answer.ETag;
    }

    private async Task<bool> AssembleAsync(StorageKey key, Upload upload, bool isConditional, CancellationToken cancellationToken)
    {
        CompleteMultipartUploadRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = backend.NameOf(key),
            UploadId = upload.Id,
            PartETags = [.. Enumerable.Range(1, upload.Count).Select(number => new PartETag(number, upload.Held[number]))],
            IfNoneMatch = isConditional ? S3Upload.Free : null,
            RequestPayer = connection.Payer,
        };
        CompleteMultipartUploadResponse? answer = await CallAsync(key, async patience =>
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
            await AbortAsync(request.Key, upload.Id);
            return false;
        }

        if (answer.ETag.Contains('-', StringComparison.Ordinal))
        {
            Settings.Encryption.RequireEtag(
                S3Upload.Failed(key), answer.ETag, $"{Convert.ToHexStringLower(ContentHash.Md5(upload.Digests))}-{upload.Count}", answer.ServerSideEncryptionMethod);
        }

        if (Settings.LockedUntil(key, connection.Time.GetUtcNow()) is { } until)
        {
            // Asked for when the upload began; some servers (Ceph) forget it then.
            DateTimeOffset end = new(until, TimeSpan.Zero);
            await backend.ExtendLockAsync(key, end, end, cancellationToken);
        }

        return true;
    }

    // A request about an upload. That the upload is gone, swept by another or put together by an earlier try, passes: the next put looks and begins anew.
    private async Task<T> CallAsync<T>(StorageKey key, Func<Patience, Task<T>> send, CancellationToken cancellationToken, bool isAssembly = false)
    {
        try
        {
            return await connection.CallAsync(S3Upload.Failed(key), send, cancellationToken, isAssembly);
        }
        catch (StorageException e) when (e.InnerException is AmazonS3Exception { ErrorCode: "NoSuchUpload" })
        {
            throw new StorageException(ErrorCodes.StorageConnection, $"{S3Upload.Failed(key)}: the storage does not have its parts any more", "Try again.", e);
        }
    }

    // Once: what has been left by the dead is found by the first who puts in parts, at the price of one request.
    private async Task SweepOnceAsync(CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _hasSwept, 1) != 0)
        {
            return;
        }

        DateTimeOffset before = connection.Time.GetUtcNow() - DeadAfter;
        ListMultipartUploadsRequest request = new() { BucketName = Settings.Bucket, Prefix = Settings.Prefix, RequestPayer = connection.Payer };
        try
        {
            ListMultipartUploadsResponse page = await connection.CallAsync(
                "The uploads that were left could not be listed", patience => connection.Client.ListMultipartUploadsAsync(request, patience.Token), cancellationToken);
            foreach (MultipartUpload left in page.MultipartUploads ?? [])
            {
                // What has another name than a key is somebody else's.
                if (left.Initiated is { } begun && S3Backend.AsUtc(begun) < before && left.Key.StartsWith(Settings.Prefix, StringComparison.Ordinal)
                    && StorageKey.TryCreate(left.Key[Settings.Prefix.Length..], out _))
                {
                    await AbortAsync(left.Key, left.UploadId);
                }
            }
        }
        catch (StorageException)
        {
            // Who may not list them leaves it to those who may.
        }
    }

    // The parts of an upload that nobody goes on with would be stored, and paid for, unseen.
    private async Task AbortAsync(string name, string upload)
    {
        AbortMultipartUploadRequest request = new() { BucketName = Settings.Bucket, Key = name, UploadId = upload, RequestPayer = connection.Payer };
        using CancellationTokenSource within = new(AbortWithin, connection.Time);
        try
        {
            await connection.CallAsync("An upload could not be taken back", patience => connection.Client.AbortMultipartUploadAsync(request, patience.Token), within.Token);
        }
        catch (Exception e) when (e is StorageException or OperationCanceledException)
        {
            // The failure that led here is the one to tell; who sweeps, or the bucket's rule for incomplete uploads, takes care of the rest.
        }
    }

    /// <summary>An upload that was begun, and what is known of its parts, which are counted from 1.</summary>
    private sealed class Upload(string id, long length, long partSize)
    {
        private readonly ConcurrentDictionary<int, string> _sent = new();

        public string Id { get; } = id;

        public long Length { get; } = length;

        public int Count { get; } = (int)((length + partSize - 1) / partSize);

        /// <summary>The ETags of the parts that the server has.</summary>
        public ConcurrentDictionary<int, string> Held { get; } = new();

        /// <summary>The MD5s of the parts, one behind the other.</summary>
        public byte[] Digests { get; } = new byte[(length + partSize - 1) / partSize * Md5Size];

        public long OffsetOf(int number) => (number - 1) * partSize;

        public long SizeOf(int number) => Math.Min(partSize, Length - OffsetOf(number));

        /// <summary>
        /// Whether the server has the part with these bytes: its ETag is their MD5, or, where it encrypts and tells nothing of the bytes, the very one that
        /// it answered with when they were sent.
        /// </summary>
        public bool Has(int number, byte[] md5)
        {
            bool wasSent = Digests.AsSpan((number - 1) * Md5Size, Md5Size).SequenceEqual(md5) && _sent.TryGetValue(number, out string? answered) && Held.GetValueOrDefault(number) == answered;
            bool has = Held.TryGetValue(number, out string? held) && (wasSent || held.Trim('"') == Convert.ToHexStringLower(md5));
            md5.CopyTo(Digests, (number - 1) * Md5Size);
            return has;
        }

        /// <summary>The part arrived.</summary>
        public void Sent(int number, byte[] md5, string etag)
        {
            md5.CopyTo(Digests, (number - 1) * Md5Size);
            _sent[number] = etag;
            Held[number] = etag;
        }
    }
}
