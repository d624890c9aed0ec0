using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>
/// Signs the address of an object, so that whoever has it may read the object for a time: Google's documentation "V4 signing process with your own
/// program", with the key of a service account (GOOG4-RSA-SHA256).
/// </summary>
internal static class GcsSignedAddress
{
    private const string Algorithm = "GOOG4-RSA-SHA256";

    /// <summary>The address.</summary>
    /// <param name="signer">Who signs, and may read the object.</param>
    /// <param name="endpoint">The server.</param>
    /// <param name="bucket">The bucket.</param>
    /// <param name="name">The object's name in it.</param>
    /// <param name="now">From when it holds.</param>
    /// <param name="lasts">For how long; the service takes at most seven days.</param>
    public static string Of(GoogleSigner signer, Uri endpoint, string bucket, string name, DateTimeOffset now, TimeSpan lasts)
    {
        string moment = now.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        string scope = $"{moment[..8]}/auto/storage/goog4_request";
        string path = $"/{Uri.EscapeDataString(bucket)}/{string.Join('/', name.Split('/').Select(Uri.EscapeDataString))}";

        // In the order in which they are signed, that of their names.
        string query = string.Create(
            CultureInfo.InvariantCulture,
            $"X-Goog-Algorithm={Algorithm}&X-Goog-Credential={Uri.EscapeDataString($"{signer.Account}/{scope}")}&X-Goog-Date={moment}&X-Goog-Expires={(long)lasts.TotalSeconds}&X-Goog-SignedHeaders=host");
        string request = $"GET\n{path}\n{query}\nhost:{endpoint.Authority}\n\nhost\nUNSIGNED-PAYLOAD";
        string signed = $"{Algorithm}\n{moment}\n{scope}\n{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(request)))}";
        return $"{endpoint.GetLeftPart(UriPartial.Authority)}{path}?{query}&X-Goog-Signature={Convert.ToHexStringLower(signer.Sign(Encoding.UTF8.GetBytes(signed)))}";
    }
}
