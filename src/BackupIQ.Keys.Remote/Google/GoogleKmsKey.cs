using System.Globalization;
using System.Net;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Keys.Remote.Google;

/// <summary>
/// A symmetric key of Google Cloud KMS: <c>gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K</c>. What is stored is the service's ciphertext, which names
/// the version; the context is its additional authenticated data. What is sent and what comes carries a CRC32C, which both sides compare.
/// </summary>
internal sealed class GoogleKmsKey : ServiceKey
{
    public const string Scheme = "gcpkms";

    private const string Scope = "https://www.googleapis.com/auth/cloudkms";
    private const string Cure = "Set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, run 'gcloud auth application-default login', or name a file with credentials=FILE in --kms.";

    private static readonly string[] OwnOptions = ["endpoint", "credentials", "auth"];

    private readonly JsonService _service;
    private readonly ServiceIdentity _identity;
    private readonly Uri _endpoint;

    private GoogleKmsKey(JsonService service, ServiceIdentity identity, Uri endpoint, string name)
    {
        _service = service;
        _identity = identity;
        _endpoint = endpoint;
        Key = name;
    }

    /// <inheritdoc/>
    public override string Service => Scheme;

    /// <inheritdoc/>
    public override string Key { get; }

    private string Short => Key[(Key.LastIndexOf('/') + 1)..];

    /// <summary>Reads the URL.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>, <c>SecretUnavailable</c>.</exception>
    public static GoogleKmsKey Open(string text, Func<string, string?> environment, TimeProvider time)
    {
        StorageUrl url = StorageUrl.Parse(text);
        url.RequireOptions([.. OwnOptions, .. HttpTransport.Options], Cure);
        string name = $"{url.Place}/{url.Path}";
        if (url.User is not null || name.Split('/') is not ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _] || name.AsSpan().ContainsAnyExcept(NameCharacters))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The gcpkms: URL does not name a key", "Write it as gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K.");
        }

        Uri endpoint = HttpTransport.ParseEndpoint(url.Text("endpoint") ?? "https://cloudkms.googleapis.com");
        JsonService service = new(HttpTransport.Create(endpoint, url), time);
        return new GoogleKmsKey(service, ServiceIdentity.OfGoogle(Scope, Cure, url, environment, time), endpoint, name);
    }

    // Projects of a domain have a colon in their names.
    private static readonly System.Buffers.SearchValues<char> NameCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:");

    /// <inheritdoc/>
    public override async Task<KeyState> DescribeAsync(CancellationToken cancellationToken)
    {
        string what = $"Key '{Short}' could not be looked at";
        using JsonAnswer answer = await CallAsync(HttpMethod.Get, "", null, what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);
        DateTimeOffset? made = DateTimeOffset.TryParse(answer.Text("primary", "createTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset moment) ? moment : null;
        return new KeyState(answer.Text("primary", "state") is null or "ENABLED", made);
    }

    /// <inheritdoc/>
    public override ValueTask DisposeAsync()
    {
        _service.Dispose();
        _identity.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> WrapAsync(byte[] plain, KeyContext context, CancellationToken cancellationToken)
    {
        string what = $"Key '{Short}' could not wrap";
        byte[] associated = BoundSecret.BytesOf(context);
        using JsonAnswer answer = await CallAsync(
            HttpMethod.Post, ":encrypt", writer =>
            {
                Write(writer, "plaintext", plain);
                Write(writer, "additionalAuthenticatedData", associated);
            },
            what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);
        bool isVerified = answer.Find("verifiedPlaintextCrc32c") is { ValueKind: JsonValueKind.True } && answer.Find("verifiedAdditionalAuthenticatedDataCrc32c") is { ValueKind: JsonValueKind.True };
        return isVerified ? Checked(answer, "ciphertext", what) : throw Garbled(what);
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        string what = $"Key '{Short}' could not unwrap";
        byte[] associated = BoundSecret.BytesOf(context);
        using JsonAnswer answer = await CallAsync(
            HttpMethod.Post, ":decrypt", writer =>
            {
                Write(writer, "ciphertext", wrapped);
                Write(writer, "additionalAuthenticatedData", associated);
            },
            what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);
        return Checked(answer, "plaintext", what);
    }

    // Numbers of 64 bits are text in Google's JSON.
    private static void Write(Utf8JsonWriter writer, string name, byte[] bytes)
    {
        writer.WriteBase64String(name, bytes);
        writer.WriteString(name + "Crc32c", Crc32C.Of(bytes).ToString(CultureInfo.InvariantCulture));
    }

    private static byte[] Checked(JsonAnswer answer, string name, string what) =>
        answer.Bytes(name) is { Length: > 0 and <= 8192 } bytes && uint.TryParse(answer.Text(name + "Crc32c"), NumberStyles.None, CultureInfo.InvariantCulture, out uint crc) && crc == Crc32C.Of(bytes)
            ? bytes
            : throw Garbled(what);

    private static BackupIQException Garbled(string what) =>
        new(ErrorCodes.KeyService, $"{what}: bytes were changed on the way", "Run again; when it stays so, look at what lies between here and Google.");

    private Task<JsonAnswer> CallAsync(HttpMethod method, string verb, Action<Utf8JsonWriter>? body, string what, CancellationToken cancellationToken) =>
        _identity.SendAsync(_service, method, new Uri(_endpoint, $"/v1/{Key}{verb}"), body, what, cancellationToken);

    private void Require(JsonAnswer answer, string what)
    {
        if (answer.IsSuccess)
        {
            return;
        }

        string status = answer.Text("error", "status") ?? "";
        string said = answer.Text("error", "message") ?? "";
        throw (answer.Status, status) switch
        {
            (HttpStatusCode.Unauthorized, _) => new BackupIQException(ErrorCodes.KeyServiceAuthentication, $"{what}: Google does not accept the token", "Run again; when it stays so, make a new key for the account."),
            (HttpStatusCode.Forbidden, _) when said.Contains("has not been used in project", StringComparison.Ordinal) || said.Contains("is disabled", StringComparison.Ordinal) =>
                new BackupIQException(ErrorCodes.Authorization, $"{what}: Cloud KMS is not enabled in the project", "Enable it: gcloud services enable cloudkms.googleapis.com"),
            (HttpStatusCode.Forbidden, _) => new BackupIQException(
                ErrorCodes.Authorization, $"{what}: Google does not allow it to this account", "It needs the role 'Cloud KMS CryptoKey Encrypter/Decrypter' on the key; a key that is not there is answered alike."),
            (HttpStatusCode.NotFound, _) => new BackupIQException(ErrorCodes.KeyNotFound, $"{what}: Cloud KMS has no such key", "Check the name in --kms; 'gcloud kms keys list' shows which there are."),
            (HttpStatusCode.BadRequest, "FAILED_PRECONDITION") => new BackupIQException(
                ErrorCodes.KeyDisabled, $"{what}: the version of it that is needed is disabled or destroyed", "'gcloud kms keys versions enable' allows it again; or open the repository another way."),
            (HttpStatusCode.BadRequest, _) when what.EndsWith("unwrap", StringComparison.Ordinal) => NotOurs(),
            (var code, _) => new BackupIQException(ErrorCodes.KeyService, $"{what}: Google's answer was {(int)code}"),
        };
    }
}
