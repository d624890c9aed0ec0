using BackupIQ.Jobs.Browsing;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace BackupIQ.Server.WebDav;

/// <summary>The names that a URL leads through, as bytes, and the URL of what is found there.</summary>
internal static class RequestTarget
{
    /// <summary>
    /// The names of the request's path. Taken from the line that was sent: whatever is decoded before would be decoded twice. False when
    /// it can lead nowhere.
    /// </summary>
    public static bool TryRead(HttpContext context, out IReadOnlyList<byte[]> names)
    {
        List<byte[]> found = [];
        names = found;
        foreach (string part in PathOf(context).Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            byte[] name = ViewNames.Read(Uri.UnescapeDataString(part));
            if (name is [(byte)'.'] or [(byte)'.', (byte)'.'] || name.AsSpan().IndexOfAny((byte)'/', (byte)0) >= 0)
            {
                return false;
            }

            found.Add(name);
        }

        return true;
    }

    /// <summary>Whether the request's path ends like a folder's.</summary>
    public static bool EndsWithSlash(HttpContext context) => PathOf(context).EndsWith('/');

    /// <summary>The URL's path to these names; of a folder with a slash at its end.</summary>
    public static string Write(IEnumerable<byte[]> names, bool isFolder)
    {
        string path = string.Concat(names.Select(static name => "/" + Uri.EscapeDataString(ViewNames.Spell(name))));
        return isFolder ? path + "/" : path;
    }

    // A target is a path, or a whole URL, whose host does not matter; '*' is neither.
    private static string PathOf(HttpContext context)
    {
        string target = context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "/";
        target = target.Split('?', '#')[0];
        if (!target.StartsWith('/'))
        {
            int scheme = target.IndexOf("://", StringComparison.Ordinal);
            int path = scheme < 0 ? -1 : target.IndexOf('/', scheme + 3);
            target = path < 0 ? "/" : target[path..];
        }

        return target;
    }
}
