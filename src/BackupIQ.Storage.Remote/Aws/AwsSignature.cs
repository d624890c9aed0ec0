using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace BackupIQ.Storage.Remote.Aws;

/// <summary>
/// AWS Signature Version 4 in the header Authorization, of requests whose body is at hand and whose path needs no escaping. Amazon's SDK signs what it
/// composes itself; its clients for key and secret stores would be a package each.
/// </summary>
internal static class AwsSignature
{
    private const string Algorithm = "AWS4-HMAC-SHA256";

    /// <summary>Signs: adds X-Amz-Date, the session's token where there is one, and Authorization. All headers that are signed must be there.</summary>
    /// <param name="request">The request.</param>
    /// <param name="body">Its body.</param>
    /// <param name="scope">Region and service.</param>
    /// <param name="accessKey">Who asks.</param>
    /// <param name="secretKey">The secret of that.</param>
    /// <param name="token">The token of temporary credentials, or null.</param>
    /// <param name="now">This machine's time.</param>
    public static void Sign(
        HttpRequestMessage request, ReadOnlySpan<byte> body, (string Region, string Service) scope, string accessKey, string secretKey, string? token, DateTimeOffset now)
    {
        string moment = now.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        request.Headers.TryAddWithoutValidation("X-Amz-Date", moment);
        if (!string.IsNullOrEmpty(token))
        {
            request.Headers.TryAddWithoutValidation("X-Amz-Security-Token", token);
        }

        Uri target = request.RequestUri!;
        SortedDictionary<string, string> headers = new(StringComparer.Ordinal) { ["host"] = target.Authority };
        if (request.Content?.Headers.ContentType is { } type)
        {
            headers["content-type"] = type.ToString();
        }

        foreach ((string name, IEnumerable<string> values) in request.Headers.Where(static header => header.Key.StartsWith("X-Amz-", StringComparison.OrdinalIgnoreCase)))
        {
            headers[name.ToLowerInvariant()] = string.Join(',', values).Trim();
        }

        string names = string.Join(';', headers.Keys);
        string canonical = string.Join('\n',
            request.Method.Method, target.AbsolutePath, target.Query.TrimStart('?'), string.Concat(headers.Select(static header => $"{header.Key}:{header.Value}\n")), names,
            Convert.ToHexStringLower(SHA256.HashData(body)));
        string place = $"{moment[..8]}/{scope.Region}/{scope.Service}/aws4_request";
        string toSign = $"{Algorithm}\n{moment}\n{place}\n{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(canonical)))}";
        byte[] key = Encoding.UTF8.GetBytes("AWS4" + secretKey);
        foreach (string part in place.Split('/'))
        {
            byte[] next = HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(part));
            CryptographicOperations.ZeroMemory(key);
            key = next;
        }

        string signature = Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(toSign)));
        CryptographicOperations.ZeroMemory(key);
        request.Headers.TryAddWithoutValidation("Authorization", $"{Algorithm} Credential={accessKey}/{place}, SignedHeaders={names}, Signature={signature}");
    }
}
