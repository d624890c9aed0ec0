using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.KeyServices;

/// <summary>A fake of HashiCorp Vault: transit at <c>transit/</c>, key-value version 2 at <c>secret/</c> and version 1 at <c>kv1/</c>, tokens with paths that they may not use, and roles (AppRole at <c>approle/</c>) that get some.</summary>
public sealed class FakeVault() : FakeService("vault")
{
    private readonly Dictionary<string, HashSet<string>> _tokens = new(StringComparer.Ordinal);

    /// <summary>The keys of the transit engine.</summary>
    public Dictionary<string, FakeKey> Keys { get; } = new(StringComparer.Ordinal);

    /// <summary>The secrets by path, with their fields.</summary>
    public Dictionary<string, Dictionary<string, string>> Secrets { get; } = new(StringComparer.Ordinal);

    /// <summary>The secret ids of roles, by the roles' ids.</summary>
    public Dictionary<string, string> Roles { get; } = new(StringComparer.Ordinal);

    /// <summary>How long the token of a role holds.</summary>
    public int RoleTokenSeconds { get; set; } = 1200;

    /// <summary>Whether it needs to be unsealed.</summary>
    public bool IsSealed { get; set; }

    /// <summary>The namespace that requests must name; null: none.</summary>
    public string? Namespace { get; set; }

    /// <summary>Makes a token, or takes paths from one.</summary>
    public void AllowToken(string token, params string[] forbidden) => _tokens[token] = [.. forbidden];

    /// <summary>Revokes a token.</summary>
    public void RevokeToken(string token) => _tokens.Remove(token);

    /// <summary>Revokes every token, those of roles too.</summary>
    public void RevokeAll() => _tokens.Clear();

    /// <inheritdoc/>
    protected override FakeAnswer BusyAnswer => Errors(503, "Vault is sealed");

    /// <inheritdoc/>
    protected override FakeAnswer Answer(string operation, IReadOnlyDictionary<string, string> route, JsonObject? body, HttpRequest request)
    {
        string path = request.Path.Value!["/v1/".Length..];
        if (IsSealed)
        {
            return BusyAnswer;
        }

        if (operation == "login")
        {
            return route["mount"] == "approle" ? SignIn(body!) : Errors(404, $"no handler for route \"{path}\". route entry not found.");
        }

        if (!_tokens.TryGetValue(request.Headers["X-Vault-Token"].ToString(), out HashSet<string>? forbidden) || (Namespace is not null && request.Headers["X-Vault-Namespace"] != Namespace))
        {
            return Errors(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
        }

        if (forbidden.Contains(path))
        {
            return Errors(403, "1 error occurred:\n\t* permission denied\n\n");
        }

        return operation switch
        {
            "lookup self" => Data(new JsonObject { ["id"] = "the token", ["policies"] = new JsonArray("default"), ["ttl"] = 3600 }),
            "mounts" => Mount(route["path"]),
            "read version 2" => Secrets.TryGetValue("secret/" + route["path"], out Dictionary<string, string>? second)
                ? Data(new JsonObject { ["data"] = FieldsOf(second), ["metadata"] = new JsonObject { ["version"] = 1, ["created_time"] = "2026-11-20T12:00:00Z", ["deletion_time"] = "", ["custom_metadata"] = null, ["destroyed"] = false } })
                : Errors(404),
            "read version 1" => Secrets.TryGetValue("kv1/" + route["path"], out Dictionary<string, string>? first)
                ? new FakeAnswer(200, new JsonObject { ["auth"] = null, ["data"] = FieldsOf(first), ["lease_duration"] = 2_764_800, ["lease_id"] = "", ["renewable"] = false })
                : Errors(404),
            _ when route["mount"] != "transit" => Errors(404, $"no handler for route \"{path}\". route entry not found."),
            "read key" => Keys.TryGetValue(route["name"], out FakeKey? known) ? Describe(route["name"], known) : Errors(404),
            _ => Use(operation, route["name"], body!),
        };
    }

    private FakeAnswer SignIn(JsonObject body)
    {
        if (!Roles.TryGetValue((string)body["role_id"]!, out string? secretId) || secretId != (string?)body["secret_id"])
        {
            return Errors(400, "invalid role or secret ID");
        }

        string token = $"hvs.role-{Guid.NewGuid():n}";
        _tokens[token] = [];
        return new FakeAnswer(200, new JsonObject
        {
            ["auth"] = new JsonObject
            {
                ["renewable"] = true,
                ["lease_duration"] = RoleTokenSeconds,
                ["metadata"] = null,
                ["token_policies"] = new JsonArray("default"),
                ["accessor"] = Guid.NewGuid().ToString(),
                ["client_token"] = token,
            },
            ["warnings"] = null,
            ["wrap_info"] = null,
            ["data"] = null,
            ["lease_duration"] = 0,
            ["renewable"] = false,
            ["lease_id"] = "",
        });
    }

    private FakeAnswer Use(string operation, string name, JsonObject body)
    {
        if (!Keys.TryGetValue(name, out FakeKey? key))
        {
            return Errors(400, "encryption key not found");
        }

        byte[] associated = Convert.FromBase64String((string?)body["associated_data"] ?? "");
        if (operation == "encrypt")
        {
            byte[] output = key.Encrypt(Convert.FromBase64String((string)body["plaintext"]!), associated);
            return Data(new JsonObject { ["ciphertext"] = string.Create(CultureInfo.InvariantCulture, $"vault:v{key.Newest}:{Convert.ToBase64String(output)}") });
        }

        string[] parts = ((string)body["ciphertext"]!).Split(':');
        int version = int.Parse(parts[1][1..], CultureInfo.InvariantCulture);
        if (!Convert.TryFromBase64String(parts[2], new byte[parts[2].Length], out _))
        {
            return Errors(400, "invalid ciphertext: could not decode base64");
        }

        return version < key.Oldest ? Errors(400, "ciphertext or signature version is disallowed by policy (too old)")
            : key.Decrypt(version, Convert.FromBase64String(parts[2]), associated) is { } plain ? Data(new JsonObject { ["plaintext"] = Convert.ToBase64String(plain) })
            : Errors(400, "cipher: message authentication failed");
    }

    private static FakeAnswer Describe(string name, FakeKey key) => Data(new JsonObject
    {
        ["name"] = name,
        ["type"] = "aes256-gcm96",
        ["derived"] = false,
        ["deletion_allowed"] = false,
        ["exportable"] = false,
        ["latest_version"] = key.Newest,
        ["min_decryption_version"] = key.Oldest,
        ["min_encryption_version"] = 0,
        ["supports_encryption"] = true,
        ["supports_decryption"] = true,
        ["keys"] = new JsonObject(Enumerable.Range(1, key.Newest).Select(static version => KeyValuePair.Create(version.ToString(CultureInfo.InvariantCulture), (JsonNode?)(1_780_000_000 + version)))),
    });

    private static FakeAnswer Mount(string path) => path.Split('/')[0] switch
    {
        "secret" => Data(new JsonObject { ["path"] = "secret/", ["type"] = "kv", ["options"] = new JsonObject { ["version"] = "2" } }),
        "kv1" => Data(new JsonObject { ["path"] = "kv1/", ["type"] = "kv", ["options"] = null }),
        _ => Errors(403, "preflight capability check returned 403, please ensure client's policies grant access to path \"" + path + "/\""),
    };

    private static JsonObject FieldsOf(Dictionary<string, string> fields) => new(fields.Select(static field => KeyValuePair.Create(field.Key, (JsonNode?)field.Value)));

    private static FakeAnswer Data(JsonObject data) => new(200, new JsonObject { ["data"] = data });

    private static FakeAnswer Errors(int status, params string[] errors) => new(status, new JsonObject { ["errors"] = new JsonArray([.. errors.Select(static e => (JsonNode?)e)]) });
}
