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

    /// <inheritdoc/>
    public ValueTask<SharedKeyCredential?> FindKeyAsync(CancellationToken cancellationToken) => ValueTask.FromResult<SharedKeyCredential?>(this);

    /// <summary>
    /// The query by which anybody reads one blob for a time: a service SAS ("Create a service SAS", Microsoft's reference of the Blob service).
    /// </summary>
    /// <param name="container">The container.</param>
    /// <param name="name">The blob's name in it.</param>
    /// <param name="until">When it ends.</param>
    /// <param name="version">The service's version, 2020-12-06 or later.</param>
    /// <param name="isEncryptedOnly">Whether it holds over https alone.</param>
    public string SignRead(string container, string name, DateTimeOffset until, string version, bool isEncryptedOnly)
    {
        string end = until.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
        string protocol = isEncryptedOnly ? "https" : "https,http";

        // Rights, start, end, resource, policy, address, protocol, version, kind, snapshot, encryption scope, and five headers of the answer.
        string text = $"r\n\n{end}\n/blob/{_account}/{container}/{name}\n\n\n{protocol}\n{version}\nb\n\n\n\n\n\n\n";
        string signature = Convert.ToBase64String(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(text)));
        return $"sp=r&se={Uri.EscapeDataString(end)}&spr={Uri.EscapeDataString(protocol)}&sv={version}&sr=b&sig={Uri.EscapeDataString(signature)}";
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
