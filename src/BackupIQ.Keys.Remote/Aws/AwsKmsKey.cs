using System.Globalization;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Aws;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Keys.Remote.Aws;

/// <summary>
/// A symmetric key of AWS KMS: <c>awskms://alias/NAME?region=…</c>, by its id, or by its ARN. What is stored is the service's ciphertext, which names key and
/// version; the context is its encryption context, so policies and CloudTrail see it.
/// </summary>
internal sealed class AwsKmsKey : ServiceKey
{
    public const string Scheme = "awskms";

    private static readonly string[] OwnOptions = ["region", "endpoint", "profile"];

    private readonly AwsJsonService _kms;
    private readonly string _id;

    private AwsKmsKey(AwsJsonService kms, string id)
    {
        _kms = kms;
        _id = id;

        // By its ARN or by its short name it is the same key.
        string[] parts = id.Split(':', 6);
        Key = parts is ["arn", _, _, _, _, { } resource] ? (resource.StartsWith("key/", StringComparison.Ordinal) ? resource["key/".Length..] : resource) : id;
    }

    /// <inheritdoc/>
    public override string Service => Scheme;

    /// <inheritdoc/>
    public override string Key { get; }

    /// <summary>Reads the URL.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>.</exception>
    public static AwsKmsKey Open(string text, Func<string, string?> environment, TimeProvider time)
    {
        StorageUrl url = StorageUrl.Parse(text);
        url.RequireOptions([.. OwnOptions, .. HttpTransport.Options], "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with profile=NAME.");
        string id = url.Path.Length == 0 ? url.Place : $"{url.Place}/{url.Path}";
        bool isName = id.StartsWith("alias/", StringComparison.Ordinal) || (id.StartsWith("arn:", StringComparison.Ordinal) && id.Split(':').Length == 6) || !id.AsSpan().ContainsAny('/', ':');
        return isName && url.User is null
            ? new AwsKmsKey(AwsJsonService.Open("kms", "TrentService", id, url, environment, time), id)
            : throw new BackupIQException(ErrorCodes.Usage, "The awskms: URL does not name a key", "Write it as awskms://alias/NAME?region=REGION, or with the key's id or ARN.");
    }

    /// <inheritdoc/>
    public override async Task<KeyState> DescribeAsync(CancellationToken cancellationToken)
    {
        string what = $"Key '{Key}' could not be looked at";
        using JsonAnswer answer = await _kms.CallAsync("DescribeKey", writer => writer.WriteString("KeyId", _id), what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);

        // When it was last rotated is not told; when it was made is no answer to that.
        return new KeyState(answer.Text("KeyMetadata", "KeyState") == "Enabled", null);
    }

    /// <inheritdoc/>
    public override ValueTask DisposeAsync()
    {
        _kms.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> WrapAsync(byte[] plain, KeyContext context, CancellationToken cancellationToken)
    {
        string what = $"Key '{Key}' could not wrap";
        using JsonAnswer answer = await _kms.CallAsync(
            "Encrypt", writer =>
            {
                writer.WriteString("KeyId", _id);
                writer.WriteBase64String("Plaintext", plain);
                Write(writer, context);
            },
            what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);
        return answer.Bytes("CiphertextBlob") is { Length: > 0 and <= 6144 } wrapped ? wrapped : throw new BackupIQException(ErrorCodes.KeyService, $"{what}: the answer is none of KMS's");
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        string what = $"Key '{Key}' could not unwrap";
        using JsonAnswer answer = await _kms.CallAsync(
            "Decrypt", writer =>
            {
                // Named, so that what another key of the account wrapped is refused.
                writer.WriteString("KeyId", _id);
                writer.WriteBase64String("CiphertextBlob", wrapped);
                Write(writer, context);
            },
            what, cancellationToken).ConfigureAwait(false);
        Require(answer, what);
        return answer.Bytes("Plaintext") ?? throw new BackupIQException(ErrorCodes.KeyService, $"{what}: the answer is none of KMS's");
    }

    private static void Write(Utf8JsonWriter writer, KeyContext context)
    {
        writer.WriteStartObject("EncryptionContext");
        foreach ((string name, string value) in context.Pairs)
        {
            writer.WriteString(name, value);
        }

        writer.WriteEndObject();
    }

    private void Require(JsonAnswer answer, string what)
    {
        if (answer.IsSuccess)
        {
            return;
        }

        string error = AwsJsonService.ErrorOf(answer);
        BackupIQException failure = error switch
        {
            "NotFoundException" => new(ErrorCodes.KeyNotFound, $"{what}: KMS has no such key in this region and account", "Check key and region in --kms."),
            "DisabledException" => new(ErrorCodes.KeyDisabled, $"{what}: it is disabled", $"'aws kms enable-key --key-id …' allows it again; or open the repository another way."),
            "KMSInvalidStateException" => new(ErrorCodes.KeyDisabled, $"{what}: its state does not allow it, it may be pending deletion", "'aws kms cancel-key-deletion' and 'enable-key' bring it back before its day; or open the repository another way."),
            "InvalidCiphertextException" or "IncorrectKeyException" => NotOurs(),
            "InvalidKeyUsageException" => new(ErrorCodes.Validation, $"{what}: it is no symmetric key for encryption", "Make one: aws kms create-key"),
            _ => new(ErrorCodes.KeyService, $"{what}: Amazon's answer was {((int)answer.Status).ToString(CultureInfo.InvariantCulture)} {error}".TrimEnd()),
        };
        throw failure;
    }
}
