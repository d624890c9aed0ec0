using System.Net;
using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>
/// HashiCorp Vault, or OpenBao, over HTTP. The token is that of <c>VAULT_TOKEN</c>, of the reference <c>BACKUPIQ_VAULT_TOKEN_FROM</c>, of a role
/// (<see cref="VaultAppRole"/>), or of <c>~/.vault-token</c>; it is got again when Vault refuses it. Namespace and authority are <c>VAULT_NAMESPACE</c> and <c>VAULT_CACERT</c>.
/// </summary>
public sealed class VaultClient : IDisposable
{
    private const string TokenCure = "Set VAULT_TOKEN, or BACKUPIQ_VAULT_TOKEN_FROM to a reference such as file:/run/vault/token, or sign in by a role: BACKUPIQ_VAULT_ROLE_ID and BACKUPIQ_VAULT_SECRET_ID_FROM.";

    private readonly Uri _address;
    private readonly string? _namespace;
    private readonly IRenewedSecret _token;
    private readonly JsonService _service;

    private VaultClient(Uri address, string? inNamespace, SecretReference? token, JsonService service, Func<string, string?> environment, TimeProvider time)
    {
        _address = address;
        _namespace = inNamespace;
        _service = service;
        _token = token is null ? FindToken(environment, time) : new CachedSecret(token, environment, time);
    }

    /// <summary>Host and port, for messages.</summary>
    public string Host => _address.Authority;

    /// <summary>Sets a client up; nothing is sent yet.</summary>
    /// <param name="address">The server; null: <c>VAULT_ADDR</c>.</param>
    /// <param name="token">Where the token comes from; null: see above.</param>
    /// <param name="inNamespace">Its namespace; null: <c>VAULT_NAMESPACE</c>.</param>
    /// <param name="authorities">A file with the authorities to trust; null: <c>VAULT_CACERT</c>, or the system's.</param>
    /// <param name="isInsecureAllowed">Whether plain HTTP to another machine is allowed.</param>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="time">For time-outs.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: there is no address. <c>SecretUnavailable</c>: there is no token.</exception>
    public static VaultClient Open(
        Uri? address, SecretReference? token, string? inNamespace, string? authorities, bool isInsecureAllowed, Func<string, string?> environment, TimeProvider time)
    {
        address ??= environment("VAULT_ADDR") is { Length: > 0 } text
            ? HttpTransport.ParseEndpoint(text)
            : throw new BackupIQException(ErrorCodes.Usage, "Nothing says where Vault is", "Set VAULT_ADDR, such as https://vault.example.com:8200.");
        JsonService service = new(HttpTransport.Create(address, isInsecureAllowed, authorities ?? NotEmpty(environment("VAULT_CACERT"))), time);
        try
        {
            return new VaultClient(address, inNamespace ?? NotEmpty(environment("VAULT_NAMESPACE")), token, service, environment, time);
        }
        catch
        {
            service.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request below <c>/v1/</c> and returns Vault's answer, but for what means a wrong token or no rights. The caller disposes it.</summary>
    /// <exception cref="BackupIQException"><c>KeyServiceAuthentication</c>, <c>Authorization</c>, <c>KeyService</c>.</exception>
    public async Task<JsonAnswer> SendAsync(HttpMethod method, string path, Action<Utf8JsonWriter>? body, string what, CancellationToken cancellationToken)
    {
        using Secret token = await _token.GetAsync(cancellationToken).ConfigureAwait(false);
        JsonAnswer answer = await SendAsync(method, path, body, token, what, cancellationToken).ConfigureAwait(false);
        if (answer.Status != HttpStatusCode.Forbidden)
        {
            return answer;
        }

        answer.Dispose();
        using Secret? renewed = await _token.RenewAsync(token, cancellationToken).ConfigureAwait(false);
        if (renewed is not null)
        {
            answer = await SendAsync(method, path, body, renewed, what, cancellationToken).ConfigureAwait(false);
            if (answer.Status != HttpStatusCode.Forbidden)
            {
                return answer;
            }

            answer.Dispose();
        }

        // Vault says 403 to both: a token that it knows may at least look at itself.
        using JsonAnswer self = await SendAsync(HttpMethod.Get, "auth/token/lookup-self", null, renewed ?? token, what, cancellationToken).ConfigureAwait(false);
        throw self.IsSuccess
            ? new BackupIQException(
                ErrorCodes.Authorization, $"{what}: Vault does not allow it to this token", $"Its policy needs '{(method == HttpMethod.Get ? "read" : "update")}' on {path}; docs/keys-kms.md has the whole policy.")
                .With("vault", Host)
            : new BackupIQException(ErrorCodes.KeyServiceAuthentication, $"{what}: Vault does not know the token of {_token.Origin}", "It may have expired or been revoked: get a new one.").With("vault", Host);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _token.Dispose();
        _service.Dispose();
    }

    /// <summary>The first of Vault's own words for what went wrong, empty where it says none. Not for messages: they may quote the request.</summary>
    public static string ErrorOf(JsonAnswer answer) =>
        answer.Find("errors") is { ValueKind: JsonValueKind.Array } errors ? string.Join(' ', errors.EnumerateArray().Select(static e => JsonAnswer.TextOf(e))) : "";

    private Task<JsonAnswer> SendAsync(HttpMethod method, string path, Action<Utf8JsonWriter>? body, Secret token, string what, CancellationToken cancellationToken)
    {
        string shown = Encoding.UTF8.GetString(token.Bytes);
        if (shown.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, $"What {_token.Origin} holds is no token of Vault's", TokenCure);
        }

        return SendPlainAsync(method, path, body, shown, what, cancellationToken);
    }

    // Without a token where there is none yet: for who signs in.
    private Task<JsonAnswer> SendPlainAsync(HttpMethod method, string path, Action<Utf8JsonWriter>? body, string? token, string what, CancellationToken cancellationToken)
    {
        Uri target = new(_address, "/v1/" + string.Join('/', path.Split('/').Select(Uri.EscapeDataString)));
        return _service.SendAsync(
            what,
            (_, _) =>
            {
                HttpRequestMessage request = new(method, target) { Content = body is null ? null : JsonService.Body(body) };
                request.Headers.Add("X-Vault-Request", "true");
                if (token is not null)
                {
                    request.Headers.Add("X-Vault-Token", token);
                }

                if (_namespace is not null)
                {
                    request.Headers.Add("X-Vault-Namespace", _namespace);
                }

                return ValueTask.FromResult(request);
            },
            cancellationToken);
    }

    private IRenewedSecret FindToken(Func<string, string?> environment, TimeProvider time)
    {
        if (NotEmpty(environment("VAULT_TOKEN")) is not null)
        {
            return new CachedSecret(SecretReference.Parse("env:VAULT_TOKEN"), environment, time);
        }

        if (NotEmpty(environment("BACKUPIQ_VAULT_TOKEN_FROM")) is { } named)
        {
            SecretReference reference = SecretReference.Parse(named);
            return reference.Scheme != SecretReference.Vault ? new CachedSecret(reference, environment, time)
                : throw new BackupIQException(ErrorCodes.Usage, "BACKUPIQ_VAULT_TOKEN_FROM names a secret in Vault, for which a token is needed first", TokenCure);
        }

        if (VaultAppRole.Find(environment, time, (path, body, stop) => SendPlainAsync(HttpMethod.Post, path, body, null, "Signing in to Vault failed", stop)) is { } role)
        {
            return role;
        }

        string helper = Path.Combine(environment("HOME") ?? "/", ".vault-token");
        return File.Exists(helper) ? new CachedSecret(SecretReference.Parse("file:" + helper), environment, time)
            : throw new BackupIQException(ErrorCodes.SecretUnavailable, "There is no token for Vault", TokenCure);
    }

    private static string? NotEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;
}
