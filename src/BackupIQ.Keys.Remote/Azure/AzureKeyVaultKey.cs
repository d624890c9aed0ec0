using System.Buffers.Text;
using System.Net;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Keys.Remote.Azure;

/// <summary>
/// A key of Azure Key Vault, RSA, or of a Managed HSM, RSA or AES: <c>azurekeyvault://VAULT.vault.azure.net/keys/NAME</c>, with a version behind it where it is not
/// to be the newest that wraps. What is stored: JSON with version, algorithm and the wrapped bytes. Wrapping takes no context there: it is inside.
/// </summary>
internal sealed class AzureKeyVaultKey : ServiceKey
{
    public const string Scheme = "azurekeyvault";

    private const string ApiVersion = "7.4";
    private const string RsaAlgorithm = "RSA-OAEP-256";
    private const string Secrets = "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE; on Azure itself a managed identity needs no secret.";
    private const string Cure = "Check that the identity exists and has the role 'Key Vault Crypto User' on the key.";

    private static readonly string[] OwnOptions = ["endpoint", "auth", "client-id"];

    private readonly JsonService _service;
    private readonly ServiceIdentity _identity;
    private readonly Uri _vault;
    private readonly string? _version;

    private AzureKeyVaultKey(JsonService service, ServiceIdentity identity, Uri vault, string host, string name, string? version)
    {
        _service = service;
        _identity = identity;
        _vault = vault;
        _version = version;
        Service = $"{Scheme}:{host}";
        Key = name;
    }

    /// <inheritdoc/>
    public override string Service { get; }

    /// <inheritdoc/>
    public override string Key { get; }

    /// <summary>Reads the URL.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>, <c>SecretUnavailable</c>.</exception>
    public static AzureKeyVaultKey Open(string text, Func<string, string?> environment, TimeProvider time)
    {
        StorageUrl url = StorageUrl.Parse(text);
        url.RequireOptions([.. OwnOptions, .. HttpTransport.Options], Secrets);
        string[] segments = url.Path.Split('/');
        if (url.User is not null || segments is not (["keys", _] or ["keys", _, _]) || segments.Any(static segment => segment.AsSpan().ContainsAnyExcept(NameCharacters)))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The azurekeyvault: URL does not name a key", "Write it as azurekeyvault://VAULT.vault.azure.net/keys/NAME, or with /VERSION behind it.");
        }

        Uri vault = HttpTransport.ParseEndpoint(url.Text("endpoint") ?? url.Place);
        string resource = url.Place.EndsWith(".managedhsm.azure.net", StringComparison.OrdinalIgnoreCase) ? "https://managedhsm.azure.net/" : $"https://{CloudOf(url.Place)}/";
        JsonService service = new(HttpTransport.Create(vault, url), time);
        return new AzureKeyVaultKey(
            service, ServiceIdentity.OfEntra(resource, Cure, url, environment, time), vault, url.Place.ToLowerInvariant(), segments[1], segments.Length == 3 ? segments[2] : null);
    }

    private static readonly System.Buffers.SearchValues<char> NameCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

    /// <inheritdoc/>
    public override async Task<KeyState> DescribeAsync(CancellationToken cancellationToken)
    {
        using JsonAnswer answer = await LookAsync($"Key '{Key}' could not be looked at", cancellationToken).ConfigureAwait(false);
        DateTimeOffset? made = answer.Find("attributes", "created") is { ValueKind: JsonValueKind.Number } created && created.TryGetInt64(out long seconds) && seconds is > 0 and < 100_000_000_000
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : null;
        return new KeyState(IsEnabled(answer), made);
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
        string what = $"Key '{Key}' could not wrap";
        string version;
        string algorithm;
        using (JsonAnswer key = await LookAsync(what, cancellationToken).ConfigureAwait(false))
        {
            // A disabled key still wraps there, and nothing that it wrapped would open.
            if (!IsEnabled(key))
            {
                throw Disabled(what);
            }

            string id = key.Text("key", "kid") ?? "";
            version = id[(id.LastIndexOf('/') + 1)..];
            algorithm = key.Text("key", "kty") switch
            {
                "RSA" or "RSA-HSM" => RsaAlgorithm,
                "oct" or "oct-HSM" => "A256KW",
                _ => throw new BackupIQException(ErrorCodes.Validation, $"{what}: it is of a kind that does not wrap", "Make one of type RSA: az keyvault key create --kty RSA --size 3072").With("vault", _vault.Host),
            };
        }

        using JsonAnswer answer = await CallAsync(HttpMethod.Post, $"keys/{Key}/{version}/wrapkey", algorithm, plain, what, cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess || answer.Text("value") is not { Length: > 0 and <= 4096 } value)
        {
            throw Failure(answer, what);
        }

        return JsonService.Write(writer =>
        {
            writer.WriteString("version", version);
            writer.WriteString("algorithm", algorithm);
            writer.WriteString("value", value);
        });
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        (string version, string algorithm, byte[] value) = Read(wrapped) ?? throw NotOurs();
        string what = $"Key '{Key}' could not unwrap";
        using JsonAnswer answer = await CallAsync(HttpMethod.Post, $"keys/{Key}/{version}/unwrapkey", algorithm, value, what, cancellationToken).ConfigureAwait(false);
        return answer.IsSuccess && answer.Text("value") is { } plain && TryDecode(plain) is { } bytes ? bytes : throw Failure(answer, what);
    }

    /// <summary>What is stored of a wrapped secret; null where it is none.</summary>
    internal static (string Version, string Algorithm, byte[] Value)? Read(byte[] wrapped)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(wrapped, new JsonDocumentOptions { MaxDepth = 4 });
            JsonElement root = document.RootElement;
            return root.ValueKind == JsonValueKind.Object && Text("version") is { Length: > 0 } version && !version.AsSpan().ContainsAnyExcept(NameCharacters)
                && Text("algorithm") is RsaAlgorithm or "A256KW" && Text("value") is { } value && TryDecode(value) is { } bytes
                ? (version, Text("algorithm")!, bytes)
                : null;

            string? Text(string name) => root.TryGetProperty(name, out JsonElement found) && found.ValueKind == JsonValueKind.String ? found.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    // Azure writes base64url, its examples sometimes base64.
    private static byte[]? TryDecode(string text)
    {
        string url = text.TrimEnd('=').Replace('+', '-').Replace('/', '_');
        return Base64Url.IsValid(url) ? Base64Url.DecodeFromChars(url) : null;
    }

    private static bool IsEnabled(JsonAnswer key) => key.Find("attributes", "enabled") is not { ValueKind: JsonValueKind.False };

    // The vaults of each of Azure's clouds have a name of their own, and that is what tokens are for.
    private static string CloudOf(string host)
    {
        string name = host.Split(':')[0];
        int dot = name.IndexOf('.');
        return dot > 0 && name[(dot + 1)..].StartsWith("vault.", StringComparison.OrdinalIgnoreCase) ? name[(dot + 1)..] : "vault.azure.net";
    }

    private async Task<JsonAnswer> LookAsync(string what, CancellationToken cancellationToken)
    {
        JsonAnswer answer = await CallAsync(HttpMethod.Get, _version is null ? $"keys/{Key}" : $"keys/{Key}/{_version}", null, null, what, cancellationToken).ConfigureAwait(false);
        if (answer.IsSuccess)
        {
            return answer;
        }

        using (answer)
        {
            throw Failure(answer, what);
        }
    }

    private Task<JsonAnswer> CallAsync(HttpMethod method, string path, string? algorithm, byte[]? value, string what, CancellationToken cancellationToken)
    {
        Action<Utf8JsonWriter>? body = value is null ? null : writer =>
        {
            writer.WriteString("alg", algorithm);
            writer.WriteString("value", Base64Url.EncodeToString(value));
        };
        return _identity.SendAsync(_service, method, new Uri(_vault, $"/{path}?api-version={ApiVersion}"), body, what, cancellationToken);
    }

    private BackupIQException Failure(JsonAnswer answer, string what)
    {
        string inner = answer.Text("error", "innererror", "code") ?? answer.Text("error", "innerError", "code") ?? "";
        BackupIQException failure = answer.Status switch
        {
            HttpStatusCode.Unauthorized => new(ErrorCodes.KeyServiceAuthentication, $"{what}: the vault does not accept the token", "Check that the identity is of the vault's own tenant."),
            HttpStatusCode.Forbidden when inner is "KeyDisabled" => Disabled(what),
            HttpStatusCode.Forbidden when inner is "KeyNotYetValid" or "KeyExpired" => new(ErrorCodes.KeyDisabled, $"{what}: it is outside of the dates for which it holds", "Change them (az keyvault key set-attributes), or open the repository another way."),
            HttpStatusCode.Forbidden when inner is "ForbiddenByFirewall" or "ForbiddenByConnection" => new(ErrorCodes.Authorization, $"{what}: the vault's firewall does not let this machine in", "Add its address or network to the vault."),
            HttpStatusCode.Forbidden => new(ErrorCodes.Authorization, $"{what}: the vault does not allow it to this identity", "It needs the role 'Key Vault Crypto User' on the key, or the permissions get, wrapKey and unwrapKey."),
            HttpStatusCode.NotFound => new(ErrorCodes.KeyNotFound, $"{what}: the vault has no such key, or no longer that version of it", "Check --kms; 'az keyvault key list-deleted' shows what can be recovered."),
            HttpStatusCode.BadRequest when what.EndsWith("unwrap", StringComparison.Ordinal) => NotOurs(),
            _ => new(ErrorCodes.KeyService, $"{what}: the vault's answer was {(int)answer.Status}"),
        };
        return failure.With("vault", _vault.Host);
    }

    private static BackupIQException Disabled(string what) => new(
        ErrorCodes.KeyDisabled, $"{what}: it is disabled", "'az keyvault key set-attributes --enabled true' allows it again; or open the repository another way.");
}
