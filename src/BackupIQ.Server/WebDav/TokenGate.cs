using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using Microsoft.AspNetCore.Http;

namespace BackupIQ.Server.WebDav;

/// <summary>Lets in who knows the token: as the password of Basic authentication, or as a Bearer token.</summary>
internal sealed class TokenGate
{
    private readonly byte[] _digest;

    /// <summary>Compares digests, so that neither length nor content shows in the time that it takes.</summary>
    public TokenGate(Secret token) => _digest = SHA256.HashData(token.Bytes);

    /// <summary>Whether the request may pass; if not, it is answered.</summary>
    public bool Admits(HttpContext context)
    {
        foreach (string? header in context.Request.Headers.Authorization)
        {
            if (header is not null && TryReadToken(header, out byte[] token) && CryptographicOperations.FixedTimeEquals(SHA256.HashData(token), _digest))
            {
                return true;
            }
        }

        context.Response.StatusCode = StatusCodes.Status401Unauthorized;
        context.Response.Headers.WWWAuthenticate = "Basic realm=\"BackupIQ\", charset=\"UTF-8\"";
        return false;
    }

    private static bool TryReadToken(string header, out byte[] token)
    {
        token = [];
        int space = header.IndexOf(' ');
        if (space < 0)
        {
            return false;
        }

        ReadOnlySpan<char> scheme = header.AsSpan(0, space);
        ReadOnlySpan<char> value = header.AsSpan(space + 1).Trim();
        if (scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase))
        {
            token = Encoding.UTF8.GetBytes(value.ToString());
            return true;
        }

        byte[] decoded = new byte[value.Length];
        if (!scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase) || !Convert.TryFromBase64Chars(value, decoded, out int length))
        {
            return false;
        }

        int colon = decoded.AsSpan(0, length).IndexOf((byte)':');
        token = decoded[(colon + 1)..length];
        return colon >= 0;
    }
}
