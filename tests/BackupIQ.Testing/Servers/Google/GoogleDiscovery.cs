using System.Text.Json;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>A method of one of Google's interfaces, as its discovery document says.</summary>
/// <param name="Id">As <c>storage.objects.get</c>.</param>
/// <param name="HttpMethod">As <c>GET</c>.</param>
/// <param name="Path">With the names of what stands in it, below the service's path.</param>
/// <param name="UploadPath">Where bytes are sent; null for methods that take none.</param>
/// <param name="Parameters">What a query may say beside what every method understands.</param>
/// <param name="Scopes">What a token must be for, where not every token of the service does.</param>
public sealed record GoogleMethod(string Id, string HttpMethod, string Path, string? UploadPath, IReadOnlyList<string> Parameters, IReadOnlyList<string>? Scopes = null);

/// <summary>
/// Routes and parameters out of Google's own published descriptions; the fakes answer nothing else, so that a client which asks for something that the real service
/// does not have is found out.
/// </summary>
public sealed class GoogleDiscovery
{
    private sealed record Document(string Source, string ServicePath, string BatchPath, IReadOnlyList<string> Parameters, IReadOnlyList<GoogleMethod> Methods);

    private readonly Document _document;

    private GoogleDiscovery(Document document) => _document = document;

    /// <summary>Cloud Storage.</summary>
    public static GoogleDiscovery Storage => Load("google-storage-v1.json");

    /// <summary>Drive.</summary>
    public static GoogleDiscovery Drive => Load("google-drive-v3.json");

    /// <summary>Where it was taken from.</summary>
    public string Source => _document.Source;

    /// <summary>The address of batches.</summary>
    public string BatchPath => _document.BatchPath;

    /// <summary>The methods.</summary>
    public IReadOnlyList<GoogleMethod> Methods => _document.Methods;

    /// <summary>Whether every method understands a parameter.</summary>
    public bool IsCommon(string parameter) => _document.Parameters.Contains(parameter);

    /// <summary>The method of a request with the names in its path, undone of their escapes; null: there is none.</summary>
    /// <param name="verb">As <c>GET</c>.</param>
    /// <param name="path">As it stands on the wire.</param>
    public (GoogleMethod Method, IReadOnlyDictionary<string, string> Names, bool IsUpload)? Find(string verb, string path)
    {
        foreach (GoogleMethod method in Methods)
        {
            if (method.HttpMethod == verb && Match(_document.ServicePath + method.Path, path) is { } names)
            {
                return (method, names, false);
            }

            // Bytes of a session go by PUT to the address at which it was opened.
            if (method.UploadPath is { } upload && (method.HttpMethod == verb || verb is "PUT" or "DELETE") && Match(upload, path) is { } uploaded)
            {
                return (method, uploaded, true);
            }
        }

        return null;
    }

    private static Dictionary<string, string>? Match(string template, string path)
    {
        string[] expected = template.Split('/');
        string[] given = path.Split('/');
        if (expected.Length != given.Length)
        {
            return null;
        }

        Dictionary<string, string> names = new(StringComparer.Ordinal);
        for (int i = 0; i < given.Length; i++)
        {
            if (expected[i].StartsWith('{'))
            {
                names[expected[i].Trim('{', '}')] = Uri.UnescapeDataString(given[i]);
            }
            else if (expected[i] != given[i])
            {
                return null;
            }
        }

        return names;
    }

    private static GoogleDiscovery Load(string name)
    {
        using Stream json = typeof(GoogleDiscovery).Assembly.GetManifestResourceStream(name)!;
        return new GoogleDiscovery(JsonSerializer.Deserialize<Document>(json, JsonSerializerOptions.Web)!);
    }
}
