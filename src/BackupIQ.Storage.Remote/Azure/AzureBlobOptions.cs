using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>How an immutable blob may be changed before its time.</summary>
internal enum AzureImmutability
{
    /// <summary>Nobody may, whatever their rights.</summary>
    Locked,

    /// <summary>Who has the right to may shorten or take back the time.</summary>
    Unlocked,
}

/// <summary>Where a container is and how it is used: the URL <c>azblob://container/prefix?…</c>, and what the environment says.</summary>
internal sealed record AzureBlobOptions
{
    private const string Secrets =
        "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or name one with key-from or sas-from; on Azure itself a managed identity needs no secret.";

    // An account's key and a signature, by reference.
    private const string KeyFrom = "key-from";
    private const string SasFrom = "sas-from";

    private static readonly string[] Own =
        ["account", "endpoint", "auth", "client-id", "tier", "connections", "block-size", "immutable", "immutability-mode", KeyFrom, SasFrom, ObjectMetadata.Option];

    private static readonly string[] Tiers = ["hot", "cool", "cold", "archive"];

    /// <summary>The account's endpoint, <c>https://NAME.blob.core.windows.net</c> or the one given; without a slash at its end.</summary>
    public required Uri Endpoint { get; init; }

    public required string Account { get; init; }

    public required string Container { get; init; }

    /// <summary>What stands before every key: empty, or with a slash at its end.</summary>
    public required string Prefix { get; init; }

    public required IAzureCredential Credential { get; init; }

    /// <summary>The tier of data packs; metadata is always hot, since every run reads it. Null: the account's own.</summary>
    public string? DataTier { get; init; }

    /// <summary>Blocks of one object that are sent at once.</summary>
    public int Connections { get; init; }

    /// <summary>Bytes of a block; what is not longer goes in one request.</summary>
    public int BlockSize { get; init; }

    /// <summary>For how long an object may neither be deleted nor overwritten; null: no lock.</summary>
    public TimeSpan? Immutable { get; init; }

    public AzureImmutability Immutability { get; init; }

    /// <summary>What each object is to carry beside its bytes.</summary>
    public required IReadOnlyList<KeyValuePair<string, string>> Metadata { get; init; }

    /// <summary>For messages.</summary>
    public required string Location { get; init; }

    /// <summary>Reads the URL and the environment.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: an option is wrong, or nothing says who asks.</exception>
    public static AzureBlobOptions Read(StorageUrl url, Func<string, string?> environment, TimeProvider time)
    {
        url.RequireOptions([.. Own, .. Http.HttpTransport.Options], Secrets);
        Dictionary<string, string> connection = AzureConnectionString.Parse(environment("AZURE_STORAGE_CONNECTION_STRING"));
        string account = url.Text("account") ?? url.User ?? connection.GetValueOrDefault("AccountName") ?? environment("AZURE_STORAGE_ACCOUNT")
            ?? throw new BackupIQException(ErrorCodes.Usage, "Nothing names the storage account", "Write azblob://ACCOUNT@container/prefix, or set AZURE_STORAGE_ACCOUNT.");
        Uri endpoint = EndpointOf(url.Text("endpoint") ?? connection.GetValueOrDefault("BlobEndpoint"), account, connection);
        string? immutable = url.Text("immutable");
        return new AzureBlobOptions
        {
            Endpoint = endpoint,
            Account = account,
            Container = url.Place,
            Prefix = url.Path.Length == 0 ? "" : url.Path + "/",
            Credential = CredentialOf(url, environment, connection, account, time),
            DataTier = url.Choice("tier", Tiers),
            Connections = url.Number("connections", 1, 64) ?? 4,
            BlockSize = (url.Number("block-size", 1, 100) ?? 8) << 20,
            Immutable = immutable is null ? null : TimeSpan.FromDays(url.Number("immutable", 1, 36_500)!.Value),
            Immutability = url.Choice("immutability-mode", ["locked", "unlocked"]) == "unlocked" ? AzureImmutability.Unlocked : AzureImmutability.Locked,
            Metadata = ObjectMetadata.Read(url),
            Location = url.Show("account", "endpoint"),
        };
    }

    private static Uri EndpointOf(string? given, string account, Dictionary<string, string> connection)
    {
        string protocol = connection.GetValueOrDefault("DefaultEndpointsProtocol", "https");
        string text = given ?? $"{protocol}://{account}.blob.{connection.GetValueOrDefault("EndpointSuffix", "core.windows.net")}";
        return Uri.TryCreate(text.TrimEnd('/'), UriKind.Absolute, out Uri? endpoint) && endpoint.Scheme is "https" or "http" && endpoint.UserInfo.Length == 0 && endpoint.Query.Length == 0
            ? endpoint
            : throw new BackupIQException(ErrorCodes.Usage, "The storage's endpoint is no address", "Write it as https://NAME.blob.core.windows.net.");
    }

    private static IAzureCredential CredentialOf(
        StorageUrl url, Func<string, string?> environment, Dictionary<string, string> connection, string account, TimeProvider time)
    {
        if (url.Text(KeyFrom) is not null || url.Text(SasFrom) is not null)
        {
            return ByReference(url, environment, account, time);
        }

        string? key = connection.GetValueOrDefault("AccountKey") ?? environment("AZURE_STORAGE_KEY");
        string? sas = connection.GetValueOrDefault("SharedAccessSignature") ?? environment("AZURE_STORAGE_SAS_TOKEN");
        string way = url.Choice("auth", ["key", "sas", "identity", "environment"])
            ?? (key is not null ? "key" : sas is not null ? "sas" : environment("AZURE_TENANT_ID") is not null ? "environment" : "identity");
        return way switch
        {
            "key" => new SharedKeyCredential(account, key ?? throw NoSecret("no account key")),
            "sas" => new SasCredential(sas ?? throw NoSecret("no shared access signature")),
            "environment" => new TokenCredential(EntraTokens.FromEnvironment(environment), time),
            _ => new TokenCredential(EntraTokens.FromManagedIdentity(environment, url.Text("client-id") ?? environment("AZURE_CLIENT_ID")), time),
        };
    }

    private static ReferencedCredential ByReference(StorageUrl url, Func<string, string?> environment, string account, TimeProvider time)
    {
        (string? key, string? sas) = (url.Text(KeyFrom), url.Text(SasFrom));
        if ((key is not null && sas is not null) || url.Text("auth") is { } way && way != (key is null ? "sas" : "key"))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The azblob: URL says in two ways who asks", $"Give one of {KeyFrom}, {SasFrom} and auth.");
        }

        CachedSecret secret = new(SecretReference.Parse((key ?? sas)!), environment, time);
        return key is not null ? new ReferencedCredential(secret, text => new SharedKeyCredential(account, text)) : new ReferencedCredential(secret, static text => new SasCredential(text));
    }

    private static BackupIQException NoSecret(string what) => new(ErrorCodes.SecretUnavailable, $"There is {what} for the storage account", Secrets);
}
