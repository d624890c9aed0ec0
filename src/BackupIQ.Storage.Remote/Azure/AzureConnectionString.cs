namespace BackupIQ.Storage.Remote.Azure;

/// <summary>The connection string that Azure's portal shows: <c>AccountName=…;AccountKey=…;…</c>.</summary>
internal static class AzureConnectionString
{
    // The storage emulator's account, which Microsoft publishes.
    private const string Development =
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

    /// <summary>Its parts; empty for null. A part without a value is left out.</summary>
    public static Dictionary<string, string> Parse(string? text)
    {
        Dictionary<string, string> parts = new(StringComparer.OrdinalIgnoreCase);
        foreach (string part in (text ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            int equals = part.IndexOf('=');
            if (equals > 0 && equals < part.Length - 1)
            {
                parts[part[..equals].Trim()] = part[(equals + 1)..].Trim();
            }
        }

        return parts.GetValueOrDefault("UseDevelopmentStorage") is "true" ? Parse(Development) : parts;
    }
}
