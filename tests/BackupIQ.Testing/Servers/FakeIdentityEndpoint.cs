using System.Net;
using System.Text;
using System.Text.Json;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A FAKE of the endpoint at which Azure's App Service gives tokens of a managed identity (IDENTITY_ENDPOINT, IDENTITY_HEADER). Its tokens are signed by nobody, which Azurite does not ask for.
/// </summary>
public sealed class FakeIdentityEndpoint : IDisposable
{
    private const string Header = "a header that only this service knows";

    private readonly HttpListener _listener = new();

    /// <summary>Starts it.</summary>
    public FakeIdentityEndpoint()
    {
        string root = $"http://127.0.0.1:{ServerProcess.FreePort()}/";
        Address = root + "msi/token";
        _listener.Prefixes.Add(root);
        _listener.Start();
        _ = ServeAsync();
    }

    /// <summary>Where it is.</summary>
    public string Address { get; }

    /// <summary>The variables that name it.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal) { ["IDENTITY_ENDPOINT"] = Address, ["IDENTITY_HEADER"] = Header };

    /// <summary>A token such as Microsoft Entra gives for Azure Storage.</summary>
    public static string NewToken()
    {
        long now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        string claims = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["aud"] = "https://storage.azure.com", ["iss"] = "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/", ["iat"] = now - 60, ["nbf"] = now - 60, ["exp"] = now + 3600,
            ["oid"] = "11059fcc-5514-4800-b5f8-49808b9cfab6", ["tid"] = "ab1f708d-50f6-404c-a006-d71b2ac7a606",
        });
        return $"{Encode("""{"alg":"none","typ":"JWT"}""")}.{Encode(claims)}.{Encode("nobody")}";
    }

    /// <inheritdoc/>
    public void Dispose() => _listener.Close();

    private static string Encode(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text)).TrimEnd('=').Replace('+', '-').Replace('/', '_');

    private async Task ServeAsync()
    {
        while (_listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await _listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            bool isAsked = context.Request.Headers["X-IDENTITY-HEADER"] == Header && context.Request.QueryString["resource"]?.TrimEnd('/') == "https://storage.azure.com";
            context.Response.StatusCode = isAsked ? 200 : 400;
            byte[] answer = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string>
            {
                ["access_token"] = NewToken(), ["expires_in"] = "3600", ["token_type"] = "Bearer",
            });
            await context.Response.OutputStream.WriteAsync(isAsked ? answer : default);
            context.Response.Close();
        }
    }
}
