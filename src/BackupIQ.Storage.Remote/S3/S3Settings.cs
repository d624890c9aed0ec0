using System.Buffers.Text;
using System.Security.Cryptography;
using Amazon.S3;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>What an <c>s3://bucket/prefix?…</c> URL says; docs/storage/s3.md is its manual.</summary>
internal sealed record S3Settings
{
    private const string SecretsCure =
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), name a profile of ~/.aws/credentials with profile=NAME, or name secrets with key-id-from and secret-from.";

    private static readonly string[] OwnOptions =
    [
        "endpoint", "region", "style", "profile", "storage-class", "sse", "sse-kms-id", "sse-customer-file", "requester-pays", "lock", "lock-days",
    ];

    /// <summary>Locked longer than this is most likely a slip, and nobody can take it back.</summary>
    private const int MostLockDays = 3650;

    public required StorageUrl Url { get; init; }

    public required RemoteLayout Layout { get; init; }

    /// <summary>What lies before every key; empty or with a <c>/</c> at its end.</summary>
    public required string Prefix { get; init; }

    /// <summary>Null: Amazon's own, by region.</summary>
    public Uri? Endpoint { get; init; }

    public string? Region { get; init; }

    public bool UsesPathStyle { get; init; }

    public string? Profile { get; init; }

    public bool RequesterPays { get; init; }

    /// <summary>Of what is cold; null: the bucket's default.</summary>
    public S3StorageClass? ColdClass { get; init; }

    /// <summary>The same, where what lies in it has to be restored before it can be read; null otherwise.</summary>
    public StorageArchive? Archive { get; init; }

    public required S3Encryption Encryption { get; init; }

    /// <summary>What each object is to carry beside its bytes.</summary>
    public required IReadOnlyList<KeyValuePair<string, string>> Metadata { private get; init; }

    public ObjectLockMode? LockMode { get; init; }

    public TimeSpan LockFor { get; init; }

    public string Bucket => Url.Place;

    /// <summary>For messages; two storages that show alike are the same.</summary>
    public string Location => Url.Show("endpoint", "region");

    /// <summary>Gives an object that is put what the URL's <c>metadata=</c> says.</summary>
    public void Describe(Amazon.S3.Model.MetadataCollection metadata)
    {
        foreach ((string name, string value) in Metadata)
        {
            metadata[name] = value;
        }
    }

    /// <summary>Until when an object that is put now is to be locked; null: not at all. Whole seconds: what comes back has no more.</summary>
    public DateTime? LockedUntil(StorageKey key, DateTimeOffset now) =>
        LockMode is not null && Layout.IsLocked(key) ? DateTime.UnixEpoch.AddSeconds((now + LockFor).ToUnixTimeSeconds()) : null;

    /// <summary>Reads the URL.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: an option is wrong; or a file that it names cannot be read.</exception>
    public static S3Settings Parse(StorageUrl url, RemoteLayout layout)
    {
        url.RequireOptions([.. OwnOptions, .. S3ReferencedCredentials.Options, ObjectMetadata.Option, .. HttpTransport.Options], SecretsCure);
        if (url.User is not null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "An s3: URL takes no user: credentials are secrets, which have no place there", SecretsCure);
        }

        Uri? endpoint = url.Text("endpoint") is { } text ? HttpTransport.ParseEndpoint(text) : null;
        string? lockMode = url.Choice("lock", ["governance", "compliance"]);
        int? days = url.Number("lock-days", 1, MostLockDays);
        if (lockMode is null != days is null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "lock and lock-days belong together in an s3: URL", "For example: lock=governance&lock-days=30.");
        }

        return new S3Settings
        {
            Url = url,
            Layout = layout,
            Prefix = url.Path.Length == 0 ? "" : url.Path + "/",
            Endpoint = endpoint,
            Region = url.Text("region"),
            UsesPathStyle = (url.Choice("style", ["path", "virtual"]) ?? (endpoint is null ? "virtual" : "path")) == "path",
            Profile = url.Text("profile"),
            RequesterPays = url.Flag("requester-pays"),
            ColdClass = StorageClass(url.Text("storage-class")),
            Archive = ArchiveOf(url.Text("storage-class")),
            Encryption = ReadEncryption(url),
            Metadata = ObjectMetadata.Read(url),
            LockMode = lockMode is null ? null : ObjectLockMode.FindValue(lockMode.ToUpperInvariant()),
            LockFor = TimeSpan.FromDays(days ?? 0),
        };
    }

    // Amazon, "Understanding archive retrieval options": flexible retrieval in minutes, hours or half a day, deep archive in half a day or two.
    private static StorageArchive? ArchiveOf(string? name) => name switch
    {
        "GLACIER" => new StorageArchive(name, new Dictionary<RecallPriority, TimeSpan>
        {
            [RecallPriority.Expedited] = TimeSpan.FromMinutes(5),
            [RecallPriority.Standard] = TimeSpan.FromHours(5),
            [RecallPriority.Bulk] = TimeSpan.FromHours(12),
        }),
        "DEEP_ARCHIVE" => new StorageArchive(name, new Dictionary<RecallPriority, TimeSpan>
        {
            [RecallPriority.Standard] = TimeSpan.FromHours(12),
            [RecallPriority.Bulk] = TimeSpan.FromHours(48),
        }),
        _ => null,
    };

    private static S3StorageClass? StorageClass(string? name)
    {
        if (name is null)
        {
            return null;
        }

        if (name.Length == 0 || name.AsSpan().ContainsAnyExcept("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"))
        {
            throw new BackupIQException(ErrorCodes.Usage, "storage-class in the s3: URL is no storage class", "Such as STANDARD_IA, INTELLIGENT_TIERING or GLACIER_IR.");
        }

        return S3StorageClass.FindValue(name);
    }

    private static S3Encryption ReadEncryption(StorageUrl url)
    {
        string? kind = url.Choice("sse", ["AES256", "aws:kms", "aws:kms:dsse", "customer"]);
        string? file = url.Text("sse-customer-file");
        string? kmsKey = url.Text("sse-kms-id");
        if (kind == "customer" != file is not null || (kmsKey is not null && kind is not ("aws:kms" or "aws:kms:dsse")))
        {
            throw new BackupIQException(
                ErrorCodes.Usage, "The options of server-side encryption in the s3: URL do not fit together", "sse=customer needs sse-customer-file=FILE; sse-kms-id goes with sse=aws:kms.");
        }

        return file is not null ? S3Encryption.WithCustomerKey(ReadKey(file))
            : kind is null ? S3Encryption.None
            : S3Encryption.ByServer(ServerSideEncryptionMethod.FindValue(kind), kmsKey);
    }

    // 32 bytes as they are, or their base64 on one line.
    private static byte[] ReadKey(string file)
    {
        try
        {
            byte[] bytes = File.ReadAllBytes(file);
            if (bytes.Length == S3Encryption.KeyLength)
            {
                return bytes;
            }

            byte[] key = new byte[S3Encryption.KeyLength + 3];
            ReadOnlySpan<byte> text = bytes.AsSpan().Trim(" \r\n"u8);
            bool isKey = Base64.DecodeFromUtf8(text, key, out int consumed, out int written) == System.Buffers.OperationStatus.Done
                && consumed == text.Length && written == S3Encryption.KeyLength;
            CryptographicOperations.ZeroMemory(bytes);
            return isKey ? key[..S3Encryption.KeyLength]
                : throw new BackupIQException(ErrorCodes.SecretUnavailable, "The file that sse-customer-file names holds no key of 32 bytes", "32 random bytes, or their base64.").With("file", file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The file that sse-customer-file names cannot be read", null, e).With("file", file);
        }
    }
}
