using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.KeyServices;

/// <summary>A fake of Azure Key Vault with RSA keys, and of the server of Entra's tokens.</summary>
public sealed class FakeKeyVault() : FakeService("azure-key-vault")
{
    private readonly HashSet<string> _tokens = new(StringComparer.Ordinal);
    private readonly List<(string Version, RSA Key)> _versions = [];

    /// <summary>The name of its only key.</summary>
    public string Name { get; init; } = "backup";

    /// <summary>The secret of the application.</summary>
    public string ClientSecret { get; set; } = "a-client-secret~of.azure";

    /// <summary>Whether the key may be used.</summary>
    public bool IsEnabled { get; set; } = true;

    /// <summary>Whether the identity may use the key.</summary>
    public bool IsAllowed { get; set; } = true;

    /// <summary>What was asked for with tokens.</summary>
    public string? Scope { get; private set; }

    /// <summary>Tokens that were given out.</summary>
    public int TokensGiven { get; private set; }

    /// <summary>Adds a version of the key.</summary>
    public void Rotate() => _versions.Add((RandomNumberGenerator.GetHexString(32, lowercase: true), RSA.Create(2048)));

    /// <summary>Deletes the oldest version.</summary>
    public void DropOldest() => _versions.RemoveAt(0);

    /// <summary>Takes all tokens back.</summary>
    public void RevokeTokens() => _tokens.Clear();

    /// <inheritdoc/>
    protected override FakeAnswer Answer(string operation, IReadOnlyDictionary<string, string> route, JsonObject? body, HttpRequest request)
    {
        if (operation == "token")
        {
            IFormCollection form = Form(request);
            if (form["client_secret"] != ClientSecret || form["grant_type"] != "client_credentials")
            {
                return new FakeAnswer(401, new JsonObject { ["error"] = "invalid_client", ["error_description"] = "AADSTS7000215: Invalid client secret provided." });
            }

            Scope = form["scope"];
            string token = RandomNumberGenerator.GetHexString(40);
            _tokens.Add(token);
            TokensGiven++;
            return new FakeAnswer(200, new JsonObject { ["access_token"] = token, ["expires_in"] = 3599, ["token_type"] = "Bearer" });
        }

        if (!_tokens.Contains(request.Headers.Authorization.ToString().Replace("Bearer ", "", StringComparison.Ordinal)))
        {
            return Error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.");
        }

        if (!IsAllowed)
        {
            return Error(403, "Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac");
        }

        string wanted = route.GetValueOrDefault("version") ?? (_versions.Count > 0 ? _versions[^1].Version : "");
        (string version, RSA key) = _versions.Find(one => one.Version == wanted);
        if (route["name"] != Name || key is null)
        {
            return Error(404, "KeyNotFound", $"A key with (name/id) {route["name"]}/{wanted} was not found in this key vault.");
        }

        string kid = $"https://myvault.vault.azure.net/keys/{Name}/{version}";
        switch (operation)
        {
            case "GetKey":
                return new FakeAnswer(200, new JsonObject
                {
                    ["key"] = new JsonObject { ["kid"] = kid, ["kty"] = "RSA", ["key_ops"] = new JsonArray("wrapKey", "unwrapKey") },
                    ["attributes"] = new JsonObject { ["enabled"] = IsEnabled, ["created"] = 1_780_000_000, ["updated"] = 1_780_000_000, ["recoveryLevel"] = "Recoverable+Purgeable" },
                });
            case "wrapKey":
                // Not refused for a disabled key: so does the service.
                return new FakeAnswer(200, new JsonObject { ["kid"] = kid, ["value"] = Base64Url.EncodeToString(key.Encrypt(Base64Url.DecodeFromChars((string)body!["value"]!), RSAEncryptionPadding.OaepSHA256)) });
            default:
                if (!IsEnabled)
                {
                    return Error(403, "Forbidden", "Operation unwrapKey is not allowed on a disabled key.", "KeyDisabled");
                }

                try
                {
                    return (string)body!["alg"]! == "RSA-OAEP-256"
                        ? new FakeAnswer(200, new JsonObject { ["kid"] = kid, ["value"] = Base64Url.EncodeToString(key.Decrypt(Base64Url.DecodeFromChars((string)body["value"]!), RSAEncryptionPadding.OaepSHA256)) })
                        : Error(400, "BadParameter", "Algorithm is not supported.");
                }
                catch (CryptographicException)
                {
                    return Error(400, "BadParameter", "The parameter is incorrect.");
                }
        }
    }

    private static FakeAnswer Error(int status, string code, string message, string? inner = null)
    {
        JsonObject error = new() { ["code"] = code, ["message"] = message };
        if (inner is not null)
        {
            error["innererror"] = new JsonObject { ["code"] = inner };
        }

        return new FakeAnswer(status, new JsonObject { ["error"] = error });
    }
}
