using System.Net;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>Puts objects: small ones whole and under a condition, large ones in parts (<see cref="S3Multipart"/>).</summary>
internal sealed class S3Upload(S3Backend backend, S3Connection connection, S3Limits limits) : IAsyncDisposable
{
    /// <summary>What <c>If-None-Match</c> says where nothing may have the name yet.</summary>
    internal const string Free = "*";

    private readonly S3Multipart _multipart = new(backend, connection, limits);

    private S3Settings Settings => connection.Settings;

    public async Task<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        long length = content.GetLength();
        bool isWhole = length <= limits.Whole;
        bool isConditional = backend.Capabilities.ConditionalPut;

        // Where the server itself refuses a taken name, nothing is asked before.
        if (!(isWhole && isConditional) && await backend.HeadAsync(key, cancellationToken) is not null)
        {
            await _multipart.ForgetAsync(key);
            return await StoredBytes.CompareAsync(backend, key, content, cancellationToken);
        }

        return (isWhole ? await PutWholeAsync(key, content, length, isConditional, cancellationToken) : await _multipart.PutAsync(key, content, length, isConditional, cancellationToken))
            ? PutOutcome.Stored
            : await StoredBytes.CompareAsync(backend, key, content, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _multipart.DisposeAsync();

    internal static string Failed(StorageKey key) => $"The object {key} could not be put";

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
            Settings.Describe(request.Metadata);
            if (Settings.LockedUntil(key, connection.Time.GetUtcNow()) is { } until)
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
        Settings.Encryption.RequireEtag(Failed(key), answer.ETag, Convert.ToHexStringLower(md5), answer.ServerSideEncryptionMethod);
        return true;
    }
}
