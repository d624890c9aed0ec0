using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>
/// An account key: signs the request's headers with HMAC-SHA256 ("Authorize with Shared Key", Microsoft's reference of the Blob service).
/// </summary>
internal sealed class SharedKeyCredential : IAzureCredential
{
    private readonly string _account;
    private readonly byte[] _key;

    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: the key is no base64.</exception>
    public SharedKeyCredential(string account, string key)
    {
        _account = account;
        try
        {
            _key = Convert.FromBase64String(key);
        }
        catch (FormatException)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The storage account's key is none: it is not base64", "Copy it again from the account's page 'Access keys'.");
        }
    }

    /// <inheritdoc/>
    public ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken)
    {
        byte[] signature = HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(StringToSign(request)));
        request.Headers.Authorization = new AuthenticationHeaderValue("SharedKey", $"{_account}:{Convert.ToBase64String(signature)}");
        return ValueTask.CompletedTask;
    }

    /// <summary>What is signed.</summary>
    internal string StringToSign(HttpRequestMessage request)
    {
        HttpContentHeaders? content = request.Content?.Headers;
        long length = content?.ContentLength ?? 0;
        StringBuilder text = new();
        text.Append(request.Method.Method).Append('\n')
            .Append(Joined(content, "Content-Encoding")).Append('\n')
            .Append(Joined(content, "Content-Language")).Append('\n')
            .Append(length == 0 ? "" : length.ToString(CultureInfo.InvariantCulture)).Append('\n')
            .Append(Joined(content, "Content-MD5")).Append('\n')
            .Append(Joined(content, "Content-Type")).Append('\n')
            .Append('\n') // Date: x-ms-date stands for it.
            .Append(Joined(request.Headers, "If-Modified-Since")).Append('\n')
            .Append(Joined(request.Headers, "If-Match")).Append('\n')
            .Append(Joined(request.Headers, "If-None-Match")).Append('\n')
            .Append(Joined(request.Headers, "If-Unmodified-Since")).Append('\n')
            .Append(Joined(request.Headers, "Range")).Append('\n');
        foreach ((string name, IEnumerable<string> values) in request.Headers
            .Select(static header => (Name: header.Key.ToLowerInvariant(), header.Value))
            .Where(static header => header.Name.StartsWith("x-ms-", StringComparison.Ordinal))
            .OrderBy(static header => header.Name, StringComparer.Ordinal))
        {
            text.Append(name).Append(':').AppendJoin(',', values.Select(static value => value.Trim())).Append('\n');
        }

        AppendResource(text, request.RequestUri!);
        return text.ToString();
    }

    // The path as it is sent, and each parameter on a line, in the order of the names.
    private void AppendResource(StringBuilder text, Uri address)
    {
        text.Append('/').Append(_account).Append(address.AbsolutePath);
        foreach ((string name, string values) in address.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries)
            .Select(static part => part.Split('=', 2))
            .GroupBy(static part => Uri.UnescapeDataString(part[0]).ToLowerInvariant(), static part => part.Length > 1 ? Uri.UnescapeDataString(part[1]) : "", StringComparer.Ordinal)
            .OrderBy(static group => group.Key, StringComparer.Ordinal)
            .Select(static group => (group.Key, string.Join(',', group.Order(StringComparer.Ordinal)))))
        {
            text.Append('\n').Append(name).Append(':').Append(values);
        }
    }

    private static string Joined(HttpHeaders? headers, string name) =>
        headers is not null && headers.TryGetValues(name, out IEnumerable<string>? values) ? string.Join(",", values) : "";
}
