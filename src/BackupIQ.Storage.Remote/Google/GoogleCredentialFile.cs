using System.Text.Json;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>
/// A file that says who asks, in the two forms of Google's own tools: the key of a service account, or what a person who signed in left there (a refresh
/// token).
/// </summary>
internal sealed record GoogleCredentialFile
{
    /// <summary>Where tokens come from when the file does not say.</summary>
    public const string DefaultTokenServer = "https://oauth2.googleapis.com/token";

    private const int Longest = 64 * 1024;

    private GoogleCredentialFile()
    {
    }

    /// <summary>The address of the service account; null for a person.</summary>
    public string? Account { get; private init; }

    /// <summary>The service account's key as PEM.</summary>
    public string PrivateKey { get; private init; } = "";

    public string? PrivateKeyId { get; private init; }

    public string ClientId { get; private init; } = "";

    public string ClientSecret { get; private init; } = "";

    public string RefreshToken { get; private init; } = "";

    /// <summary>Where tokens come from.</summary>
    public required Uri TokenServer { get; init; }

    /// <summary>Reads a file.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: it cannot be read, or is none. What it holds is not shown.</exception>
    public static GoogleCredentialFile Read(string path)
    {
        byte[] bytes;
        try
        {
            FileInfo file = new(path);
            bytes = file.Length <= Longest ? File.ReadAllBytes(path) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The file with the credentials for Google cannot be read", "Check the path and who may read it.", e).With("file", path);
        }

        return Parse(bytes) ?? throw new BackupIQException(
            ErrorCodes.SecretUnavailable,
            "The file with the credentials for Google is none that BackupIQ understands",
            "It is the key of a service account (type service_account), or what 'gcloud auth application-default login' writes (type authorized_user).").With("file", path);
    }

    /// <summary>Null: it is none.</summary>
    public static GoogleCredentialFile? Parse(ReadOnlyMemory<byte> json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !TryServer(Text("token_uri") ?? DefaultTokenServer, out Uri? server))
            {
                return null;
            }

            return (Text("type"), Text("client_email"), Text("private_key"), Text("client_id"), Text("client_secret"), Text("refresh_token")) switch
            {
                ("service_account", { } account, { } key, _, _, _) => new GoogleCredentialFile { Account = account, PrivateKey = key, PrivateKeyId = Text("private_key_id"), TokenServer = server },
                ("authorized_user", _, _, { } id, { } secret, { } refresh) => new GoogleCredentialFile { ClientId = id, ClientSecret = secret, RefreshToken = refresh, TokenServer = server },
                _ => null,
            };

            string? Text(string name) =>
                document.RootElement.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text ? text : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>Not what it holds: records are printed.</summary>
    public override string ToString() => Account ?? "a person who signed in";

    // What goes there is a secret: only encrypted, or to this machine.
    private static bool TryServer(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Uri? server) =>
        Uri.TryCreate(text, UriKind.Absolute, out server) && (server.Scheme == Uri.UriSchemeHttps || (server.Scheme == Uri.UriSchemeHttp && server.IsLoopback)) && server.UserInfo.Length == 0;
}
