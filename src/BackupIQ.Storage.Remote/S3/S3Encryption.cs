using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>
/// Server-side encryption, as the URL asks for it, beside the repository's own. What the server says it did is compared with what it was asked:
/// some ignore it without a word.
/// </summary>
internal sealed class S3Encryption
{
    /// <summary>Bytes of a customer's key.</summary>
    public const int KeyLength = 32;

    /// <summary>The bucket's own default.</summary>
    public static readonly S3Encryption None = new(null, null, null);

    private readonly ServerSideEncryptionMethod? _method;
    private readonly string? _kmsKey;
    private readonly string? _customerKey;
    private readonly string? _customerKeyMd5;

    private S3Encryption(ServerSideEncryptionMethod? method, string? kmsKey, byte[]? customerKey)
    {
        _method = method;
        _kmsKey = kmsKey;
        if (customerKey is not null)
        {
            _customerKey = Convert.ToBase64String(customerKey);
            _customerKeyMd5 = Convert.ToBase64String(ContentHash.Md5(customerKey));
        }
    }

    /// <summary>Whether anything is asked of the server.</summary>
    public bool IsAsked => _method is not null || _customerKey is not null;

    /// <summary>Whether nothing is read without a key that goes with each request.</summary>
    public bool HasCustomerKey => _customerKey is not null;

    /// <summary>What is asked, as the URL says it.</summary>
    public string Name => _customerKey is not null ? "customer" : _method?.Value ?? "none";

    public static S3Encryption ByServer(ServerSideEncryptionMethod method, string? kmsKey) => new(method, kmsKey, null);

    public static S3Encryption WithCustomerKey(byte[] key) => new(null, null, key);

    public void Ask(PutObjectRequest request)
    {
        request.ServerSideEncryptionMethod = _method;
        request.ServerSideEncryptionKeyManagementServiceKeyId = _kmsKey;
        if (_customerKey is not null)
        {
            request.ServerSideEncryptionCustomerMethod = ServerSideEncryptionCustomerMethod.AES256;
            request.ServerSideEncryptionCustomerProvidedKey = _customerKey;
            request.ServerSideEncryptionCustomerProvidedKeyMD5 = _customerKeyMd5;
        }
    }

    public void Ask(InitiateMultipartUploadRequest request)
    {
        request.ServerSideEncryptionMethod = _method;
        request.ServerSideEncryptionKeyManagementServiceKeyId = _kmsKey;
        if (_customerKey is not null)
        {
            request.ServerSideEncryptionCustomerMethod = ServerSideEncryptionCustomerMethod.AES256;
            request.ServerSideEncryptionCustomerProvidedKey = _customerKey;
            request.ServerSideEncryptionCustomerProvidedKeyMD5 = _customerKeyMd5;
        }
    }

    public void Ask(UploadPartRequest request)
    {
        if (_customerKey is not null)
        {
            request.ServerSideEncryptionCustomerMethod = ServerSideEncryptionCustomerMethod.AES256;
            request.ServerSideEncryptionCustomerProvidedKey = _customerKey;
            request.ServerSideEncryptionCustomerProvidedKeyMD5 = _customerKeyMd5;
        }
    }

    public void Ask(GetObjectRequest request)
    {
        if (_customerKey is not null)
        {
            request.ServerSideEncryptionCustomerMethod = ServerSideEncryptionCustomerMethod.AES256;
            request.ServerSideEncryptionCustomerProvidedKey = _customerKey;
            request.ServerSideEncryptionCustomerProvidedKeyMD5 = _customerKeyMd5;
        }
    }

    public void Ask(GetObjectMetadataRequest request)
    {
        if (_customerKey is not null)
        {
            request.ServerSideEncryptionCustomerMethod = ServerSideEncryptionCustomerMethod.AES256;
            request.ServerSideEncryptionCustomerProvidedKey = _customerKey;
            request.ServerSideEncryptionCustomerProvidedKeyMD5 = _customerKeyMd5;
        }
    }

    /// <summary>Compares the answer with what was asked.</summary>
    /// <exception cref="StorageException">The server did not do it.</exception>
    public void RequireEcho(ServerSideEncryptionMethod? method, ServerSideEncryptionCustomerMethod? customerMethod)
    {
        bool isDone = _customerKey is not null ? customerMethod == ServerSideEncryptionCustomerMethod.AES256 : _method is null || method == _method;
        if (!isDone)
        {
            throw new StorageException(
                ErrorCodes.Storage,
                $"The storage does not encrypt as the URL asks (sse={Name})",
                "It ignored the request. Take sse out of the URL (what is stored is sealed before it leaves this machine), or use storage that does it.");
        }
    }

    /// <summary>Compares what the server says it stored with what was sent, where its answer tells.</summary>
    /// <param name="what">What failed if they differ, as the beginning of a sentence.</param>
    /// <param name="etag">The answer's.</param>
    /// <param name="expected">The MD5 in lower case, of parts with their number.</param>
    /// <param name="method">How the server encrypted it.</param>
    /// <exception cref="StorageException">They differ.</exception>
    public void RequireEtag(string what, string? etag, string expected, ServerSideEncryptionMethod? method)
    {
        string told = (etag ?? "").Trim('"');
        if (HasMd5(method) && told.Length == expected.Length && !told.AsSpan(0, 32).ContainsAnyExcept("0123456789abcdef") && told != expected)
        {
            StorageException failure = new(
                ErrorCodes.Storage, $"{what}: the storage says that it stored other bytes", "Something between here and the storage changes what is sent; 'backupiq check' tells what is damaged.");
            failure.With("etag", told);
            throw failure;
        }
    }

    // Whether an ETag of such an answer is the MD5 of what was put in one piece.
    private bool HasMd5(ServerSideEncryptionMethod? method) =>
        _customerKey is null && (method is null || string.IsNullOrEmpty(method.Value) || method == ServerSideEncryptionMethod.AES256);
}
