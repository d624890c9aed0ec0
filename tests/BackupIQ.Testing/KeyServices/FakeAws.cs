using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Testing.KeyServices;

/// <summary>A fake of AWS KMS and Secrets Manager; signatures are computed anew and compared.</summary>
public sealed class FakeAws() : FakeService("aws")
{
    private const string Account = "arn:aws:kms:eu-central-1:111122223333:";

    /// <summary>The keys by alias or id.</summary>
    public Dictionary<string, FakeKey> Keys { get; } = new(StringComparer.Ordinal);

    /// <summary>The secrets by name.</summary>
    public Dictionary<string, string> Secrets { get; } = new(StringComparer.Ordinal);

    /// <summary>Secrets of access keys.</summary>
    public Dictionary<string, string> Accounts { get; } = new(StringComparer.Ordinal);

    /// <summary>Operations that nobody may do.</summary>
    public HashSet<string> Forbidden { get; } = new(StringComparer.Ordinal);

    /// <summary>The next so many requests are answered with a throttle, which is no 429 here.</summary>
    public int Throttled { get; set; }

    /// <inheritdoc/>
    protected override FakeAnswer Answer(string operation, IReadOnlyDictionary<string, string> route, JsonObject? body, HttpRequest request)
    {
        if (WrongSignature(request, body!) is { } wrong)
        {
            return Error(wrong, "The request signature we calculated does not match, or the security token included in the request is invalid.");
        }

        if (Throttled > 0)
        {
            Throttled--;
            return Error("ThrottlingException", "Rate exceeded");
        }

        if (Forbidden.Contains(operation))
        {
            return Error("AccessDeniedException", $"User: arn:aws:iam::111122223333:user/backup is not authorized to perform: {operation}");
        }

        if (operation == "GetSecretValue")
        {
            string name = (string)body!["SecretId"]!;
            return Secrets.TryGetValue(name, out string? secret)
                ? new FakeAnswer(200, new JsonObject { ["ARN"] = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:" + name, ["Name"] = name, ["SecretString"] = secret, ["VersionStages"] = new JsonArray("AWSCURRENT") })
                : Error("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
        }

        byte[] blob = body!["CiphertextBlob"] is { } node ? Convert.FromBase64String((string)node!) : [];
        string id = body["KeyId"] is { } named ? Short((string)named!) : "";
        if (!Keys.TryGetValue(id, out FakeKey? key))
        {
            return Error("NotFoundException", $"{Account}{id} is not found.");
        }

        if (operation == "DescribeKey")
        {
            return new FakeAnswer(200, new JsonObject { ["KeyMetadata"] = new JsonObject { ["KeyId"] = id, ["Arn"] = Account + id, ["Enabled"] = key.IsEnabled, ["KeyState"] = key.IsEnabled ? "Enabled" : "Disabled" } });
        }

        if (!key.IsEnabled)
        {
            return Error("DisabledException", $"{Account}{id} is disabled.");
        }

        byte[] context = Encoding.UTF8.GetBytes(string.Join('\n', ((body["EncryptionContext"] as JsonObject) ?? []).OrderBy(static pair => pair.Key, StringComparer.Ordinal).Select(static pair => $"{pair.Key}={pair.Value}")));
        if (operation == "Encrypt")
        {
            byte[] name = Encoding.UTF8.GetBytes(id);
            byte[] wrapped = [(byte)name.Length, .. name, (byte)key.Newest, .. key.Encrypt(Convert.FromBase64String((string)body["Plaintext"]!), context)];
            return new FakeAnswer(200, new JsonObject { ["CiphertextBlob"] = Convert.ToBase64String(wrapped), ["KeyId"] = Account + id, ["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT" });
        }

        if (blob.Length < 2 || blob.Length < 2 + blob[0] || Encoding.UTF8.GetString(blob, 1, blob[0]) != id)
        {
            return Error(blob.Length > 2 && blob.Length > 2 + blob[0] ? "IncorrectKeyException" : "InvalidCiphertextException", "The ciphertext is of another key.");
        }

        return key.Decrypt(blob[1 + blob[0]], blob[(2 + blob[0])..], context) is { } plain
            ? new FakeAnswer(200, new JsonObject { ["KeyId"] = Account + id, ["Plaintext"] = Convert.ToBase64String(plain), ["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT" })
            : Error("InvalidCiphertextException", "");
    }

    private static string Short(string id)
    {
        id = id.Split(':')[^1];
        return id.StartsWith("key/", StringComparison.Ordinal) ? id["key/".Length..] : id;
    }

    private static FakeAnswer Error(string type, string message) =>
        new(400, new JsonObject { ["__type"] = "com.amazonaws.fake#" + type, ["message"] = message }) { ContentType = "application/x-amz-json-1.1" };

    private string? WrongSignature(HttpRequest request, JsonObject body)
    {
        // AWS4-HMAC-SHA256 Credential=KEY/20261126/eu-central-1/kms/aws4_request, SignedHeaders=…, Signature=…
        Dictionary<string, string> parts = request.Headers.Authorization.ToString()["AWS4-HMAC-SHA256 ".Length..].Split(", ").Select(static part => part.Split('=', 2)).ToDictionary(static part => part[0], static part => part[1], StringComparer.Ordinal);
        string[] credential = parts["Credential"].Split('/', 2);
        if (!Accounts.TryGetValue(credential[0], out string? secret))
        {
            return "UnrecognizedClientException";
        }

        string[] names = parts["SignedHeaders"].Split(';');
        string payload = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(RawBody(request))));
        string canonical = $"{request.Method}\n{request.Path}\n{request.QueryString.Value?.TrimStart('?')}\n{string.Concat(names.Select(name => $"{name}:{request.Headers[name].ToString().Trim()}\n"))}\n{parts["SignedHeaders"]}\n{payload}";
        string toSign = $"AWS4-HMAC-SHA256\n{request.Headers["X-Amz-Date"]}\n{credential[1]}\n{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(canonical)))}";
        byte[] key = credential[1].Split('/').Aggregate(Encoding.UTF8.GetBytes("AWS4" + secret), static (key, part) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(part)));
        bool isRight = names.Contains("host") && names.Contains("x-amz-date") && names.Contains("x-amz-target") && body is not null
            && Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(toSign))) == parts["Signature"];
        return isRight ? null : "InvalidSignatureException";
    }
}
