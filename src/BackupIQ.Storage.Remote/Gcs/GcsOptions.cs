using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>Where a bucket is and how it is used: the URL <c>gs://bucket/prefix?…</c>, and what the environment says.</summary>
internal sealed record GcsOptions
{
    private const string Scope = "https://www.googleapis.com/auth/devstorage.read_write";

    // To change what is said of an object, such as its lock, the service wants a token for everything.
    private const string LockScope = "https://www.googleapis.com/auth/devstorage.full_control";

    private const string Secrets =
        "Set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or name it with credentials=FILE; 'gcloud auth application-default login' and a machine's own service account serve as well.";

    private const string Cure =
        "Make a new key (gcloud iam service-accounts keys create), or sign in again: gcloud auth application-default login.";

    /// <summary>The lock that nobody takes back.</summary>
    public const string LockedMode = "Locked";

    private static readonly Uri Google = new("https://storage.googleapis.com");

    private static readonly string[] Own = ["endpoint", "credentials", "auth", "storage-class", "kms-key", "user-project", "lock", "lock-days", ObjectMetadata.Option];

    private static readonly string[] Classes = ["standard", "nearline", "coldline", "archive"];

    /// <summary>Locked longer than this is most likely a slip, and nobody can take it back.</summary>
    private const int MostLockDays = 3650;

    public required Uri Endpoint { get; init; }

    public required string Bucket { get; init; }

    /// <summary>What stands before every key: empty, or with a slash at its end.</summary>
    public required string Prefix { get; init; }

    public required GoogleTokens Tokens { get; init; }

    /// <summary>The class of data packs, as the service writes it; null: the bucket's default.</summary>
    public string? ColdClass { get; init; }

    /// <summary>The key of Cloud KMS under which the service encrypts; null: the bucket's default.</summary>
    public string? KmsKey { get; init; }

    /// <summary>Who pays for requests, where the bucket's owner does not.</summary>
    public string? UserProject { get; init; }

    /// <summary><c>Locked</c> or <c>Unlocked</c>; null: no lock.</summary>
    public string? LockMode { get; init; }

    public TimeSpan LockFor { get; init; }

    /// <summary>What each object is to carry beside its bytes.</summary>
    public required IReadOnlyList<KeyValuePair<string, string>> Metadata { get; init; }

    /// <summary>For messages.</summary>
    public required string Location { get; init; }

    /// <summary>Reads the URL and the environment.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: an option is wrong; <c>SecretUnavailable</c>: a file with credentials is none.</exception>
    public static GcsOptions Read(StorageUrl url, Func<string, string?> environment)
    {
        url.RequireOptions([.. Own, .. HttpTransport.Options], Secrets);
        if (url.User is not null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "A gs: URL takes no user: credentials are secrets, which have no place there", Secrets);
        }

        string? lockMode = url.Choice("lock", ["unlocked", "locked"]);
        int? days = url.Number("lock-days", 1, MostLockDays);
        if (lockMode is null != days is null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "lock and lock-days belong together in a gs: URL", "For example: lock=unlocked&lock-days=30.");
        }

        return new GcsOptions
        {
            Endpoint = url.Text("endpoint") is { } text ? HttpTransport.ParseEndpoint(text) : Google,
            Bucket = url.Place,
            Prefix = url.Path.Length == 0 ? "" : url.Path + "/",
            Tokens = GoogleTokens.Find(url, environment, lockMode is null ? Scope : LockScope, Cure, Secrets),
            ColdClass = url.Choice("storage-class", Classes)?.ToUpperInvariant(),
            KmsKey = KeyOf(url.Text("kms-key")),
            UserProject = url.Text("user-project"),
            LockMode = lockMode is null ? null : lockMode == "locked" ? LockedMode : "Unlocked",
            LockFor = TimeSpan.FromDays(days ?? 0),
            Metadata = ObjectMetadata.Read(url),
            Location = url.Show("endpoint"),
        };
    }

    private static string? KeyOf(string? name)
    {
        string[] parts = name?.Split('/') ?? [];
        return name is null || (parts is ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _] && parts.All(static part => part.Length > 0)) ? name
            : throw new BackupIQException(ErrorCodes.Usage, "kms-key in the gs: URL is no key's name", "Write it as projects/P/locations/L/keyRings/R/cryptoKeys/K.");
    }
}
