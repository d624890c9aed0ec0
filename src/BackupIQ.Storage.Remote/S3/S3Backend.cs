using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>
/// A bucket of Amazon S3, or of anything that speaks its protocol, as storage; <c>docs/storage/s3.md</c> is its manual.
/// </summary>
/// <remarks>
/// <para>A put in one piece carries <c>If-None-Match: *</c>: the server itself lets one of many writers win. Connecting proves that it does, by
/// an object beside the repository's; where the server ignores the condition, <see cref="StorageCapabilities.ConditionalPut"/> is not declared.</para>
/// <para>An object of more than 64 MiB goes in parts. Some servers (Ceph) ignore the condition when parts are put together, so the name is looked
/// up before: two writers who pass that look at once would both succeed, the later one replacing the object. Objects of that size are packs,
/// named by the hash of their bytes, and index segments, named by their only writer: what replaces them is the same. What writers race for, snapshots and
/// fences, is far smaller. A put in parts that broke is taken up by the next put of the same object (<see cref="S3Multipart"/>).</para>
/// <para>Content-MD5 guards what is sent, the ETag of the answer is compared with it, and what is read is sealed and verified by its reader.</para>
/// </remarks>
public sealed class S3Backend : IStorageBackend, ILinkStorage
{
    /// <summary>The most that the protocol allows.</summary>
    private const int MostDeletions = 1000;

    private readonly S3Connection _connection;
    private readonly S3Upload _upload;

    private S3Backend(S3Connection connection, StorageCapabilities capabilities, S3Limits limits)
    {
        _connection = connection;

        // Of what is locked each version has to be looked up.
        Capabilities = capabilities with { DeletesAtOnce = Settings.LockMode is null ? MostDeletions : 1 };
        _upload = new S3Upload(this, connection, limits);
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public string Location => Settings.Location;

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    private S3Settings Settings => _connection.Settings;

    private AmazonS3Client Client => _connection.Client;

    /// <summary>Connects: the bucket is there and may be listed, and what the server can do is found out.</summary>
    /// <exception cref="BackupIQException">
    /// <c>Usage</c>, <c>RepositoryNotFound</c> (no such bucket), <c>StorageAuthentication</c>, or it cannot be reached.
    /// </exception>
    public static async Task<IStorageBackend> ConnectAsync(StorageUrl url, RemoteLayout layout, TimeProvider time, CancellationToken cancellationToken) =>
        await ConnectAsync(url, layout, S3Limits.Default, time, cancellationToken);

    internal static async Task<S3Backend> ConnectAsync(StorageUrl url, RemoteLayout layout, S3Limits limits, TimeProvider time, CancellationToken cancellationToken)
    {
        S3Connection connection = S3Connection.Open(S3Settings.Parse(url, layout), time);
        try
        {
            return new S3Backend(connection, await new S3Probe(connection).RunAsync(cancellationToken), limits);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            return await _upload.PutAsync(key, content, cancellationToken);
        }
        finally
        {
            content.Discard();
        }
    }

    /// <inheritdoc/>
    public async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        if (destination.IsEmpty)
        {
            return 0;
        }

        GetObjectRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = NameOf(key),
            ByteRange = new ByteRange(offset, offset + (destination.Length - 1)),
            RequestPayer = _connection.Payer,
        };
        Settings.Encryption.Ask(request);
        int done = 0;
        try
        {
            await _connection.CallAsync(
                $"The object {key} could not be read",
                async patience =>
                {
                    await ReadAsync(request, destination, read => done = read, patience);
                    return done;
                },
                cancellationToken);
            return done;
        }
        catch (StorageException e) when (done > 0)
        {
            throw e.Broken(done);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        await HeadAsync(key, cancellationToken) is { } head ? new StoredObject(key, head.ContentLength, StoredAt(head.LastModified)) : null;

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        ListObjectsV2Request request = new() { BucketName = Settings.Bucket, Prefix = Settings.Prefix + prefix, RequestPayer = _connection.Payer };
        while (true)
        {
            ListObjectsV2Response page = await _connection.CallAsync(
                "The objects could not be listed", patience => Client.ListObjectsV2Async(request, patience.Token), cancellationToken);
            foreach (S3Object item in page.S3Objects ?? [])
            {
                // What has another name than a key is somebody else's, or our own probe.
                if (item.Key.StartsWith(Settings.Prefix, StringComparison.Ordinal) && StorageKey.TryCreate(item.Key[Settings.Prefix.Length..], out StorageKey key))
                {
                    yield return new StoredObject(key, item.Size ?? 0, StoredAt(item.LastModified));
                }
            }

            if (page.IsTruncated != true)
            {
                yield break;
            }

            request.ContinuationToken = page.NextContinuationToken;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        DeleteObjectRequest request = new() { BucketName = Settings.Bucket, Key = NameOf(key), RequestPayer = _connection.Payer };
        if (Settings.LockMode is not null)
        {
            // A delete without a version only hides a locked object; so it is looked at, and then the version itself is deleted.
            if (await HeadAsync(key, cancellationToken) is not { } head)
            {
                return;
            }

            if (head.ObjectLockRetainUntilDate is { } until && AsUtc(until) > _connection.Time.GetUtcNow() || head.ObjectLockLegalHoldStatus == ObjectLockLegalHoldStatus.On)
            {
                throw Locked(key, head);
            }

            request.VersionId = head.VersionId;
        }

        await _connection.CallAsync($"The object {key} could not be deleted", async patience =>
        {
            try
            {
                return await Client.DeleteObjectAsync(request, patience.Token);
            }
            catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.NotFound && e.ErrorCode != "NoSuchBucket")
            {
                return null;
            }
        }, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken)
    {
        ObjectLockMode mode = Settings.LockMode ?? throw new NotSupportedException("The storage was opened without a lock.");
        GetObjectMetadataResponse head = await HeadAsync(key, cancellationToken)
            ?? throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The object {key} could not be locked: it is not there");
        if (head.ObjectLockRetainUntilDate is { } already && AsUtc(already) >= atLeast)
        {
            return false;
        }

        PutObjectRetentionRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = NameOf(key),
            VersionId = head.VersionId,
            RequestPayer = _connection.Payer,
            Retention = new ObjectLockRetention
            {
                Mode = mode == ObjectLockMode.Compliance ? ObjectLockRetentionMode.Compliance : ObjectLockRetentionMode.Governance,
                RetainUntilDate = until.UtcDateTime,
            },
        };
        await _connection.CallAsync($"The object {key} could not be locked", patience => Client.PutObjectRetentionAsync(request, patience.Token), cancellationToken);
        return true;
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        if (keys.Count > Capabilities.DeletesAtOnce)
        {
            return await Deletions.OneByOneAsync(this, keys, cancellationToken);
        }

        Dictionary<string, StorageKey> names = keys.Distinct().ToDictionary(NameOf, StringComparer.Ordinal);
        DeleteObjectsRequest request = new()
        {
            BucketName = Settings.Bucket,
            Objects = [.. names.Keys.Select(static name => new KeyVersion { Key = name })],
            Quiet = true,
            RequestPayer = _connection.Payer,
        };
        DeleteObjectsResponse answer = await _connection.CallAsync($"{names.Count} objects could not be deleted", async patience =>
        {
            try
            {
                return await Client.DeleteObjectsAsync(request, patience.Token);
            }
            catch (DeleteObjectsException e)
            {
                return e.Response;
            }
        }, cancellationToken);
        Dictionary<StorageKey, StorageException> failed = [];
        foreach (DeleteError error in answer.DeleteErrors ?? [])
        {
            if (names.TryGetValue(error.Key, out StorageKey key) && error.Code is not ("NoSuchKey" or "NoSuchVersion"))
            {
                ErrorCode code = error.Code switch
                {
                    "AccessDenied" => ErrorCodes.StorageAuthentication,
                    "InternalError" or "SlowDown" or "ServiceUnavailable" => ErrorCodes.StorageConnection,
                    _ => ErrorCodes.Storage,
                };
                failed[key] = new StorageException(code, $"The object {key} could not be deleted: the server answered with {error.Code}");
            }
        }

        return failed;
    }

    /// <inheritdoc/>
    public async ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) => ReadinessOf(await RequireHeadAsync(key, cancellationToken));

    /// <summary>Has a copy made that can be read for some days: RestoreObject. What Intelligent-Tiering archived comes back for good.</summary>
    public async ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken)
    {
        GetObjectMetadataResponse head = await RequireHeadAsync(key, cancellationToken);
        if (ReadinessOf(head) != StorageReadiness.Archived)
        {
            return;
        }

        RestoreObjectRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = NameOf(key),
            Days = head.ArchiveStatus is null ? order.Days : null,
            RequestPayer = _connection.Payer,
            Tier = order.Priority switch { RecallPriority.Expedited => GlacierJobTier.Expedited, RecallPriority.Bulk => GlacierJobTier.Bulk, _ => GlacierJobTier.Standard },
        };
        await _connection.CallAsync($"The object {key} could not be brought back from the archive", async patience =>
        {
            try
            {
                return await Client.RestoreObjectAsync(request, patience.Token);
            }
            catch (AmazonS3Exception e) when (e.ErrorCode == "RestoreAlreadyInProgress")
            {
                return null;
            }
        }, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<StorageLink> LinkAsync(StorageKey key, TimeSpan lasts, CancellationToken cancellationToken)
    {
        if (Settings.Encryption.HasCustomerKey)
        {
            throw new BackupIQException(
                ErrorCodes.Usage, "No link leads to objects under a customer's key: whoever reads them has to send the key", "Read the object with sse-customer-file, and pass it on.");
        }

        DateTimeOffset until = _connection.Time.GetUtcNow() + lasts;
        GetPreSignedUrlRequest request = new()
        {
            BucketName = Settings.Bucket,
            Key = NameOf(key),
            Verb = HttpVerb.GET,
            Expires = until.UtcDateTime,
            Protocol = _connection.IsEncrypted ? Protocol.HTTPS : Protocol.HTTP,
        };
        return new StorageLink(await _connection.CallAsync($"No link to the object {key} could be signed", _ => Client.GetPreSignedURLAsync(request), cancellationToken), until);
    }

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _upload.DisposeAsync();
        _connection.Dispose();
    }

    /// <summary>The object's name in the bucket.</summary>
    internal string NameOf(StorageKey key) => Settings.Prefix + key.Value;

    /// <summary>What is said of an object, or null when it is not there.</summary>
    internal Task<GetObjectMetadataResponse?> HeadAsync(StorageKey key, CancellationToken cancellationToken) =>
        HeadAsync(_connection, NameOf(key), $"The object {key} could not be looked up", cancellationToken);

    private async Task<GetObjectMetadataResponse> RequireHeadAsync(StorageKey key, CancellationToken cancellationToken) =>
        await HeadAsync(key, cancellationToken) ?? throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The object {key} could not be looked up: it is not there");

    private static StorageReadiness ReadinessOf(GetObjectMetadataResponse head) =>
        head.RestoreInProgress == true ? StorageReadiness.Returning
        : head.RestoreExpiration is not null ? StorageReadiness.Ready
        : head.StorageClass == S3StorageClass.Glacier || head.StorageClass == S3StorageClass.DeepArchive || head.ArchiveStatus is not null ? StorageReadiness.Archived
        : StorageReadiness.Ready;

    internal static Task<GetObjectMetadataResponse?> HeadAsync(S3Connection connection, string name, string what, CancellationToken cancellationToken)
    {
        GetObjectMetadataRequest request = new() { BucketName = connection.Settings.Bucket, Key = name, RequestPayer = connection.Payer };
        connection.Settings.Encryption.Ask(request);
        return connection.CallAsync<GetObjectMetadataResponse?>(what, async patience =>
        {
            try
            {
                return await connection.Client.GetObjectMetadataAsync(request, patience.Token);
            }
            catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.NotFound && e.ErrorCode != "NoSuchBucket")
            {
                return null;
            }
        }, cancellationToken);
    }

    private async Task ReadAsync(GetObjectRequest request, Memory<byte> destination, Action<int> moved, Patience patience)
    {
        GetObjectResponse response;
        try
        {
            response = await Client.GetObjectAsync(request, patience.Token);
        }
        catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            // The object ends before the range begins.
            return;
        }

        using (response)
        {
            if (response.HttpStatusCode != HttpStatusCode.PartialContent && request.ByteRange.Start > 0)
            {
                throw new StorageException(ErrorCodes.Storage, "The storage cannot read parts of objects", "What lies between here and the storage may have dropped the range.");
            }

            // What the answer says of its range is compared with its length: a shorter one would look like the end of the object.
            int expected = (int)Math.Min(destination.Length, response.ContentLength);
            if (ContentRangeHeaderValue.TryParse(response.ContentRange, out ContentRangeHeaderValue? range) && range.To - range.From + 1 != response.ContentLength)
            {
                throw new IOException("The answer's length is not that of its range.");
            }

            int done = 0;
            while (done < expected)
            {
                int read = await response.ResponseStream.ReadAsync(destination[done..expected], patience.Token);
                if (read == 0)
                {
                    throw new IOException("The answer ended early.");
                }

                patience.Renew();
                done += read;
                moved(done);
            }
        }
    }

    private static StorageException Locked(StorageKey key, GetObjectMetadataResponse head)
    {
        StorageException refusal = new(
            ErrorCodes.RetentionRefused,
            $"The object {key} is locked by the storage",
            "It can be deleted when its lock has ended; run again then.");
        if (head.ObjectLockRetainUntilDate is { } until)
        {
            refusal.With("until", AsUtc(until).ToString("u", System.Globalization.CultureInfo.InvariantCulture));
        }

        return refusal;
    }

    // Listings tell fractions of a second, other answers do not.
    private static DateTimeOffset StoredAt(DateTime? moment)
    {
        DateTimeOffset at = AsUtc(moment ?? DateTime.UnixEpoch);
        return at.AddTicks(-(at.Ticks % TimeSpan.TicksPerSecond));
    }

    internal static DateTimeOffset AsUtc(DateTime moment) =>
        new(moment.Kind == DateTimeKind.Local ? moment.ToUniversalTime() : DateTime.SpecifyKind(moment, DateTimeKind.Utc));
}
