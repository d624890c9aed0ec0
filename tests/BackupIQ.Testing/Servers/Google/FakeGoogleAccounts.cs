using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>What somebody may do.</summary>
public enum GoogleRole
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Look and read.</summary>
    Viewer,

    /// <summary>Everything with objects.</summary>
    User,
}

/// <summary>
/// Google's sign-in, as far as programs use it: tokens for a service account's signed assertion, which is verified; for a refresh token; by the flow for devices
/// without a browser; and from the metadata server of a machine.
/// </summary>
public sealed class FakeGoogleAccounts : IDisposable
{
    /// <summary>The client of a person who signs in.</summary>
    public const string ClientId = "1234-abcd.apps.googleusercontent.com";

    /// <summary>Its secret.</summary>
    public const string ClientSecret = "client-secret-of-a-fake";

    private const string KeyId = "0123456789abcdef0123456789abcdef01234567";

    private readonly FakeGoogle _service;
    private readonly RSA _key = RSA.Create(2048);
    private readonly ConcurrentDictionary<string, (string Account, string? Scope, DateTimeOffset Expires)> _tokens = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _refresh = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Device> _devices = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, GoogleRole> _roles = new(StringComparer.Ordinal);

    internal FakeGoogleAccounts(FakeGoogle service) => _service = service;

    /// <summary>How long a token holds.</summary>
    public TimeSpan TokenLifetime { get; set; } = TimeSpan.FromHours(1);

    /// <summary>What a person answers who is asked whether the device may; null: they have not answered yet.</summary>
    public bool? Consent { get; set; }

    /// <summary>Tokens that were given out.</summary>
    public int TokensGiven => _tokens.Count;

    /// <summary>Whether the metadata server of a machine at Google answers.</summary>
    public bool HasMetadata { get; set; }

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();

    /// <summary>The key file of a service account, as its owner downloads it.</summary>
    public string ServiceAccount(string name, GoogleRole role = GoogleRole.User)
    {
        string account = $"{name}@fake.iam.gserviceaccount.com";
        _roles[account] = role;
        return new JsonObject
        {
            ["type"] = "service_account",
            ["project_id"] = "fake",
            ["private_key_id"] = KeyId,
            ["private_key"] = _key.ExportPkcs8PrivateKeyPem(),
            ["client_email"] = account,
            ["token_uri"] = TokenServer,
        }.ToJsonString();
    }

    /// <summary>What gcloud leaves behind for a person who signed in.</summary>
    public string Person(string name, GoogleRole role = GoogleRole.User)
    {
        _roles[name] = role;
        return new JsonObject
        {
            ["type"] = "authorized_user",
            ["client_id"] = ClientId,
            ["client_secret"] = ClientSecret,
            ["refresh_token"] = NewRefreshToken(name),
            ["token_uri"] = TokenServer,
        }.ToJsonString();
    }

    /// <summary>Takes all refresh tokens back, and the access tokens with them.</summary>
    public void RevokeAll()
    {
        _refresh.Clear();
        _tokens.Clear();
    }

    /// <summary>What somebody may do, from now on.</summary>
    public void SetRole(string account, GoogleRole role) => _roles[account] = role;

    /// <summary>What somebody may do.</summary>
    internal GoogleRole RoleOf(string account) => _roles.GetValueOrDefault(account);

    /// <summary>Whose token a header carries; null: it is none that is good.</summary>
    internal string? AccountOf(string authorization) =>
        authorization.StartsWith("Bearer ", StringComparison.Ordinal) && _tokens.TryGetValue(authorization["Bearer ".Length..], out (string Account, string? Scope, DateTimeOffset Expires) token) && token.Expires > _service.Now
            ? token.Account
            : null;

    /// <summary>What the token that a header carries is for; null: for everything that its owner may do.</summary>
    internal string? ScopeOf(string authorization) => _tokens.GetValueOrDefault(authorization["Bearer ".Length..]).Scope;

    /// <summary>Whether a service account signed these bytes.</summary>
    internal bool HasSigned(byte[] bytes, byte[] signature) => _key.VerifyData(bytes, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);

    /// <summary>Answers what has to do with tokens.</summary>
    internal async Task<bool> TryServeAsync(HttpContext context, string path)
    {
        JsonObject? answer = null;
        switch (path)
        {
            case "/token" when context.Request.Method == "POST":
                answer = Exchange(await context.Request.ReadFormAsync());
                break;
            case "/device/code" when context.Request.Method == "POST":
                answer = OpenDevice(await context.Request.ReadFormAsync());
                break;
            case "/computeMetadata/v1/instance/service-accounts/default/token" when HasMetadata:
                context.Response.Headers["Metadata-Flavor"] = "Google";
                answer = context.Request.Headers["Metadata-Flavor"] == "Google" ? NewToken("machine@fake.iam.gserviceaccount.com") : Error(403, "forbidden");
                _roles["machine@fake.iam.gserviceaccount.com"] = GoogleRole.User;
                break;
            default:
                return false;
        }

        int status = answer.Remove("status", out JsonNode? code) ? code!.GetValue<int>() : 200;
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json; charset=utf-8";
        byte[] body = JsonSerializer.SerializeToUtf8Bytes(answer);
        context.Response.ContentLength = body.Length;
        await context.Response.Body.WriteAsync(body);
        return true;
    }

    private string TokenServer => new Uri(_service.Address, "/token").AbsoluteUri;

    private JsonObject Exchange(IFormCollection form)
    {
        switch (form["grant_type"].ToString())
        {
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                return Verify(form["assertion"].ToString(), out string account, out string? scope) is { } wrong ? Error(400, "invalid_grant", wrong) : NewToken(account, scope);
            case "refresh_token":
                return !IsClient(form) ? Error(401, "invalid_client", "The OAuth client was not found.")
                    : _refresh.TryGetValue(form["refresh_token"].ToString(), out string? person) ? NewToken(person)
                    : Error(400, "invalid_grant", "Token has been expired or revoked.");
            case "urn:ietf:params:oauth:grant-type:device_code":
                return !IsClient(form) ? Error(401, "invalid_client", "The OAuth client was not found.")
                    : _devices.TryGetValue(form["device_code"].ToString(), out Device? device) ? Poll(form["device_code"].ToString(), device)
                    : Error(400, "invalid_grant", "Malformed auth code.");
            default:
                return Error(400, "unsupported_grant_type", "Invalid grant_type.");
        }
    }

    private JsonObject OpenDevice(IFormCollection form)
    {
        if (form["client_id"] != ClientId)
        {
            return Error(401, "invalid_client", "The OAuth client was not found.");
        }

        if (!form["scope"].ToString().StartsWith("https://www.googleapis.com/auth/", StringComparison.Ordinal))
        {
            return Error(400, "invalid_scope");
        }

        string code = RandomText();
        _devices[code] = new Device(form["scope"].ToString());
        return new JsonObject
        {
            ["device_code"] = code,
            ["user_code"] = "GQVQ-JKEC",
            ["verification_url"] = "https://www.google.com/device",
            ["expires_in"] = 1800,
            ["interval"] = 1,
        };
    }

    private JsonObject Poll(string code, Device device)
    {
        DateTimeOffset before = device.Polled;
        device.Polled = _service.Now;
        if (device.Polled - before < TimeSpan.FromMilliseconds(900))
        {
            return Error(403, "slow_down", "Rate limit exceeded.");
        }

        if (Consent is not { } consent)
        {
            return Error(428, "authorization_pending", "Precondition Required");
        }

        _devices.TryRemove(code, out _);
        if (!consent)
        {
            return Error(403, "access_denied", "Forbidden");
        }

        const string Person = "somebody@gmail.example";
        _roles.TryAdd(Person, GoogleRole.User);
        JsonObject token = NewToken(Person);
        token["refresh_token"] = NewRefreshToken(Person);
        token["scope"] = device.Scope;
        return token;
    }

    // As RFC 7523 and Google's "Using OAuth 2.0 for Server to Server Applications" say. Null: it is right.
    private string? Verify(string assertion, out string account, out string? scope)
    {
        account = "";
        scope = null;
        string[] parts = assertion.Split('.');
        if (parts.Length != 3)
        {
            return "Invalid JWT: not three parts.";
        }

        using JsonDocument header = JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[0]));
        using JsonDocument claims = JsonDocument.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[1]));
        account = claims.RootElement.GetProperty("iss").GetString()!;
        scope = claims.RootElement.GetProperty("scope").GetString();
        if (header.RootElement.GetProperty("alg").GetString() != "RS256" || header.RootElement.GetProperty("kid").GetString() != KeyId
            || !_key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), System.Buffers.Text.Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1))
        {
            return "Invalid JWT Signature.";
        }

        DateTimeOffset from = DateTimeOffset.FromUnixTimeSeconds(claims.RootElement.GetProperty("iat").GetInt64());
        DateTimeOffset until = DateTimeOffset.FromUnixTimeSeconds(claims.RootElement.GetProperty("exp").GetInt64());
        return until - from > TimeSpan.FromHours(1) || from - _service.Now > TimeSpan.FromMinutes(5) || until < _service.Now
            ? "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."
            : claims.RootElement.GetProperty("aud").GetString() != TokenServer ? "Invalid JWT: Failed audience check."
            : scope?.StartsWith("https://www.googleapis.com/auth/", StringComparison.Ordinal) != true ? "Invalid OAuth scope or ID token audience provided."
            : !_roles.ContainsKey(account) ? "Invalid grant: account not found"
            : null;
    }

    private JsonObject NewToken(string account, string? scope = null)
    {
        string token = "ya29." + RandomText();
        _tokens[token] = (account, scope, _service.Now + TokenLifetime);
        return new JsonObject { ["access_token"] = token, ["expires_in"] = (int)TokenLifetime.TotalSeconds, ["token_type"] = "Bearer" };
    }

    private string NewRefreshToken(string account)
    {
        string token = "1//" + RandomText();
        _refresh[token] = account;
        return token;
    }

    private static bool IsClient(IFormCollection form) => form["client_id"] == ClientId && form["client_secret"] == ClientSecret;

    private static JsonObject Error(int status, string error, string? description = null) => new() { ["status"] = status, ["error"] = error, ["error_description"] = description };

    private static string RandomText() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20)).ToString(CultureInfo.InvariantCulture);

    private sealed class Device(string scope)
    {
        public string Scope => scope;

        public DateTimeOffset Polled { get; set; }
    }
}
