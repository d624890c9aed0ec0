using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using BackupIQ.Testing.Servers.Google;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.KeyServices;

/// <summary>A fake of Google Cloud KMS with one key, and of the server of tokens, which verifies the service account's assertion.</summary>
public sealed class FakeGoogleKms() : FakeService("google-kms")
{
    private readonly RSA _account = RSA.Create(2048);
    private readonly HashSet<string> _tokens = new(StringComparer.Ordinal);
    private readonly HashSet<int> _destroyed = [];

    /// <summary>Its key's name.</summary>
    public const string Name = "projects/fake/locations/europe-west3/keyRings/ring/cryptoKeys/backup";

    /// <summary>The key.</summary>
    public FakeKey Key { get; } = new();

    /// <summary>Whether the account may use it.</summary>
    public bool IsAllowed { get; set; } = true;

    /// <summary>A bit of the next answer is wrong.</summary>
    public bool Garbles { get; set; }

    /// <summary>Destroys a version.</summary>
    public void Destroy(int version) => _destroyed.Add(version);

    /// <summary>The key file of the service account; with <paramref name="isStrange"/> one whose key nobody knows.</summary>
    public string AccountFile(bool isStrange = false)
    {
        using RSA other = RSA.Create(2048);
        return new JsonObject
        {
            ["type"] = "service_account",
            ["private_key_id"] = "0123456789abcdef0123456789abcdef01234567",
            ["private_key"] = (isStrange ? other : _account).ExportPkcs8PrivateKeyPem(),
            ["client_email"] = "backup@fake.iam.gserviceaccount.com",
            ["token_uri"] = new Uri(Address, "/token").AbsoluteUri,
        }.ToJsonString();
    }

    /// <inheritdoc/>
    protected override FakeAnswer Answer(string operation, IReadOnlyDictionary<string, string> route, JsonObject? body, HttpRequest request)
    {
        if (operation == "token")
        {
            return Exchange(Form(request)["assertion"].ToString());
        }

        if (!_tokens.Contains(request.Headers.Authorization.ToString().Replace("Bearer ", "", StringComparison.Ordinal)))
        {
            return Error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        }

        string name = $"projects/{route["project"]}/locations/{route["location"]}/keyRings/{route["ring"]}/cryptoKeys/{route["key"]}";
        if (!IsAllowed)
        {
            return Error(403, "PERMISSION_DENIED", $"Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource '{name}' (or it may not exist).");
        }

        if (name != Name)
        {
            return Error(404, "NOT_FOUND", $"CryptoKey {name} not found.");
        }

        if (operation == "get")
        {
            return new FakeAnswer(200, new JsonObject
            {
                ["name"] = Name,
                ["purpose"] = "ENCRYPT_DECRYPT",
                ["primary"] = new JsonObject { ["name"] = $"{Name}/cryptoKeyVersions/{Key.Newest}", ["state"] = Key.IsEnabled ? "ENABLED" : "DISABLED", ["createTime"] = "2026-11-20T12:00:00.123456789Z" },
            });
        }

        byte[] associated = Checked(body!, "additionalAuthenticatedData");
        if (operation == "encrypt")
        {
            byte[] output = [(byte)Key.Newest, .. Key.Encrypt(Checked(body!, "plaintext"), associated)];
            return !Key.IsEnabled ? Disabled(Key.Newest) : new FakeAnswer(200, new JsonObject
            {
                ["name"] = $"{Name}/cryptoKeyVersions/{Key.Newest}",
                ["ciphertext"] = Convert.ToBase64String(output),
                ["ciphertextCrc32c"] = Crc(output),
                ["verifiedPlaintextCrc32c"] = true,
                ["verifiedAdditionalAuthenticatedDataCrc32c"] = true,
                ["protectionLevel"] = "SOFTWARE",
            });
        }

        byte[] input = Checked(body!, "ciphertext");
        if (!Key.IsEnabled || _destroyed.Contains(input[0]))
        {
            return Disabled(input[0]);
        }

        if (Key.Decrypt(input[0], input[1..], associated) is not { } plain)
        {
            return Error(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.");
        }

        string crc = Crc(plain);
        plain[^1] ^= Garbles ? (byte)1 : (byte)0;
        return new FakeAnswer(200, new JsonObject { ["plaintext"] = Convert.ToBase64String(plain), ["plaintextCrc32c"] = crc, ["usedPrimary"] = input[0] == Key.Newest, ["protectionLevel"] = "SOFTWARE" });
    }

    private FakeAnswer Exchange(string assertion)
    {
        string[] parts = assertion.Split('.');
        JsonObject claims = (JsonObject)JsonNode.Parse(Base64Url.DecodeFromChars(parts[1]))!;
        bool isGood = _account.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            && (string?)claims["scope"] == "https://www.googleapis.com/auth/cloudkms" && (string?)claims["aud"] == new Uri(Address, "/token").AbsoluteUri;
        if (!isGood)
        {
            return new FakeAnswer(400, new JsonObject { ["error"] = "invalid_grant", ["error_description"] = "Invalid JWT Signature." });
        }

        string token = RandomNumberGenerator.GetHexString(40);
        _tokens.Add(token);
        return new FakeAnswer(200, new JsonObject { ["access_token"] = token, ["expires_in"] = 3599, ["token_type"] = "Bearer" });
    }

    private static FakeAnswer Disabled(int version) => Error(400, "FAILED_PRECONDITION", $"{Name}/cryptoKeyVersions/{version} is not enabled, current state is: DISABLED.");

    private static byte[] Checked(JsonObject body, string name)
    {
        byte[] bytes = Convert.FromBase64String((string)body[name]!);
        return (string?)body[name + "Crc32c"] == Crc(bytes) ? bytes : throw new InvalidOperationException($"The checksum of {name} is wrong.");
    }

    private static string Crc(byte[] bytes) => GoogleChecksum.Of(bytes).ToString(CultureInfo.InvariantCulture);

    private static FakeAnswer Error(int status, string code, string message) =>
        new(status, new JsonObject { ["error"] = new JsonObject { ["code"] = status, ["message"] = message, ["status"] = code } });
}
