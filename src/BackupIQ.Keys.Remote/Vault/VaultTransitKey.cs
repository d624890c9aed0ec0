using System.Net;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Keys.Remote.Vault;

/// <summary>
/// A key of Vault's transit engine: <c>vault://host:port/MOUNT/keys/NAME</c>, or <c>vault:MOUNT/keys/NAME</c> at <c>VAULT_ADDR</c>. What is stored
/// is Vault's own text, <c>vault:v3:…</c>, which says by which version it was wrapped. Rotating there rewraps nothing by Vault's rewrap, which
/// takes no associated data: the slot is made anew.
/// </summary>
internal sealed class VaultTransitKey : ServiceKey
{
    public const string Scheme = "vault";

    private const string TooOld = "disallowed by policy (too old)";

    private static readonly string[] OwnOptions = ["endpoint", "namespace", "token-from"];
    private static readonly string[] Binding = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305"];

    private readonly VaultClient _vault;
    private readonly string _mount;

    private VaultTransitKey(VaultClient vault, string mount, string name)
    {
        _vault = vault;
        _mount = mount;
        Key = name;
    }

    /// <inheritdoc/>
    /// <remarks>Without the host: a Vault that moved, or its replica, has the same keys.</remarks>
    public override string Service => $"{Scheme}:{_mount}";

    /// <inheritdoc/>
    public override string Key { get; }

    /// <summary>Reads the URL.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>, <c>SecretUnavailable</c>.</exception>
    public static VaultTransitKey Open(string text, Func<string, string?> environment, TimeProvider time)
    {
        // The place is Vault's host, or nothing is said of it.
        bool hasHost = text[(Scheme.Length + 1)..].StartsWith("//", StringComparison.Ordinal);
        StorageUrl url = StorageUrl.Parse(hasHost ? text : $"{Scheme}://-/{text[(Scheme.Length + 1)..]}");
        url.RequireOptions([.. OwnOptions, .. HttpTransport.Options], "Set VAULT_TOKEN, or name a reference with token-from=env:NAME or token-from=file:PATH.");
        string[] segments = url.Path.Split('/');
        if (segments.Length < 3 || segments[^2] != "keys")
        {
            throw new BackupIQException(ErrorCodes.Usage, "The vault: URL does not name a key of a transit engine", "Write it as vault://host:8200/transit/keys/NAME, or vault:transit/keys/NAME where VAULT_ADDR is set.");
        }

        Uri? address = url.Text("endpoint") is { } endpoint ? HttpTransport.ParseEndpoint(endpoint) : hasHost ? HttpTransport.ParseEndpoint(url.Place) : null;
        SecretReference? token = url.Text("token-from") is { } from ? SecretReference.Parse(from) : null;
        if (token is { Scheme: SecretReference.Vault })
        {
            throw new BackupIQException(ErrorCodes.Usage, "token-from names a secret in Vault, for which a token is needed first", "Name another place of the token, such as file:PATH.");
        }

        VaultClient vault = VaultClient.Open(address, token, url.Text("namespace"), url.Text("ca"), url.Flag("insecure"), environment, time);
        return new VaultTransitKey(vault, string.Join('/', segments[..^2]), segments[^1]);
    }

    /// <inheritdoc/>
    public override async Task<KeyState> DescribeAsync(CancellationToken cancellationToken)
    {
        string what = $"Key '{Key}' could not be looked at";
        using JsonAnswer answer = await _vault.SendAsync(HttpMethod.Get, $"{_mount}/keys/{Key}", null, what, cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess)
        {
            throw Failure(answer, what);
        }

        if (answer.Text("data", "type") is { } type && !Binding.Contains(type))
        {
            throw new BackupIQException(
                ErrorCodes.Validation, $"Key '{Key}' is of a type that binds nothing to what it wraps", $"Make one of type aes256-gcm96: vault write -f {_mount}/keys/NAME");
        }

        // The moment of each version: a number of seconds, or an object where the key is asymmetric.
        string newest = answer.Find("data", "latest_version")?.GetRawText() ?? "";
        DateTimeOffset? rotated = answer.Find("data", "keys", newest) is { ValueKind: JsonValueKind.Number } moment && moment.TryGetInt64(out long seconds) && seconds is > 0 and < 100_000_000_000
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : null;
        return new KeyState(answer.Find("data", "soft_deleted") is not { ValueKind: JsonValueKind.True }, rotated);
    }

    /// <inheritdoc/>
    public override ValueTask DisposeAsync()
    {
        _vault.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> WrapAsync(byte[] plain, KeyContext context, CancellationToken cancellationToken)
    {
        await RequireThereAsync(cancellationToken).ConfigureAwait(false);
        string what = $"Key '{Key}' could not wrap";
        using JsonAnswer answer = await _vault.SendAsync(
            HttpMethod.Post, $"{_mount}/encrypt/{Key}", writer =>
            {
                writer.WriteBase64String("plaintext", plain);
                writer.WriteBase64String("associated_data", BoundSecret.BytesOf(context));
            },
            what, cancellationToken).ConfigureAwait(false);
        return answer.IsSuccess && answer.Text("data", "ciphertext") is { Length: > 0 and <= 8192 } text && text.StartsWith("vault:v", StringComparison.Ordinal)
            ? Encoding.UTF8.GetBytes(text)
            : throw Failure(answer, what);
    }

    /// <inheritdoc/>
    protected override async Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        string text = Encoding.UTF8.GetString(wrapped);
        if (!text.StartsWith("vault:v", StringComparison.Ordinal) || text.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            throw NotOurs();
        }

        string what = $"Key '{Key}' could not unwrap";
        using JsonAnswer answer = await _vault.SendAsync(
            HttpMethod.Post, $"{_mount}/decrypt/{Key}", writer =>
            {
                writer.WriteString("ciphertext", text);
                writer.WriteBase64String("associated_data", BoundSecret.BytesOf(context));
            },
            what, cancellationToken).ConfigureAwait(false);
        return answer.IsSuccess && answer.Bytes("data", "plaintext") is { } plain ? plain : throw Failure(answer, what);
    }

    // Whoever may create keys makes one by wrapping under a name that is not there. Who may not look may most likely not create either.
    private async Task RequireThereAsync(CancellationToken cancellationToken)
    {
        try
        {
            await DescribeAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
        {
        }
    }

    private BackupIQException Failure(JsonAnswer answer, string what)
    {
        string said = VaultClient.ErrorOf(answer);
        BackupIQException failure =
            said.Contains("key not found", StringComparison.Ordinal) || said.Contains("policy not found", StringComparison.Ordinal)
                || (answer.Status == HttpStatusCode.NotFound && !said.Contains("no handler", StringComparison.Ordinal))
                ? new(ErrorCodes.KeyNotFound, $"{what}: Vault has no such key", $"Make it with 'vault write -f {_mount}/keys/{Key}', or check --kms.")
            : answer.Status == HttpStatusCode.NotFound
                ? new(ErrorCodes.KeyNotFound, $"{what}: Vault has no transit engine at '{_mount}'", "Enable it with 'vault secrets enable transit', or check mount and namespace in --kms.")
            : said.Contains(TooOld, StringComparison.Ordinal)
                ? new(ErrorCodes.KeyDisabled, $"{what}: Vault allows its older versions no more", $"Lower min_decryption_version of {_mount}/keys/{Key}, then run 'backupiq key rotate'; or open the repository another way.")
            : said.Contains("soft deleted", StringComparison.Ordinal) || said.Contains("soft-deleted", StringComparison.Ordinal)
                ? new(ErrorCodes.KeyDisabled, $"{what}: it was deleted softly", "Restore it in Vault, or open the repository another way.")
            : answer.Status == HttpStatusCode.BadRequest && (said.Contains("invalid ciphertext", StringComparison.Ordinal) || said.Contains("message authentication failed", StringComparison.Ordinal))
                ? NotOurs()
            : new(ErrorCodes.KeyService, $"{what}: Vault's answer was {(int)answer.Status}", "See Vault's own log.");
        return failure.With("vault", _vault.Host);
    }
}
