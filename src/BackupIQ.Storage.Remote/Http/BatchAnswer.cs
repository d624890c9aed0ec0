using System.Globalization;
using System.Net;
using System.Text;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>One of the answers in the answer to several requests (multipart/mixed with parts of type application/http), as Azure and Google give them. It comes from outside.</summary>
/// <param name="Id">The part's Content-ID, as it stands there; empty: it has none.</param>
/// <param name="Status">The answer's status.</param>
/// <param name="Head">The answer's headers, a line each.</param>
/// <param name="Body">The answer's body; null: it has none.</param>
internal sealed record BatchAnswer(string Id, HttpStatusCode Status, IReadOnlyList<string> Head, ReadOnlyMemory<byte>? Body)
{
    private const int LongestBoundary = 70;

    /// <summary>The answers in a body. A part that is none of an answer is left out, and so is what is cut off.</summary>
    /// <param name="body">The body of the whole answer.</param>
    /// <param name="boundary">As its Content-Type says; null: nothing is found.</param>
    public static IEnumerable<BatchAnswer> ReadAll(ReadOnlyMemory<byte> body, string? boundary)
    {
        if (boundary?.Trim('"') is not { Length: > 0 and <= LongestBoundary } mark)
        {
            yield break;
        }

        byte[] delimiter = Encoding.ASCII.GetBytes("--" + mark);
        ReadOnlyMemory<byte> rest = body;
        while (rest.Span.IndexOf(delimiter) is var start and >= 0)
        {
            rest = rest[(start + delimiter.Length)..];
            int end = rest.Span.IndexOf(delimiter);
            if (end < 0)
            {
                yield break;
            }

            if (ReadPart(rest[..end]) is { } answer)
            {
                yield return answer;
            }
        }
    }

    /// <summary>The boundary that an answer names; null: none.</summary>
    public static string? BoundaryOf(HttpResponseMessage answer) =>
        answer.Content.Headers.ContentType?.Parameters.FirstOrDefault(static parameter => parameter.Name.Equals("boundary", StringComparison.OrdinalIgnoreCase))?.Value;

    /// <summary>A header's value; null: there is none.</summary>
    public string? Header(string name) => ValueOf(Head, name);

    // Headers of the part, an empty line, a status line and headers, an empty line, a body.
    private static BatchAnswer? ReadPart(ReadOnlyMemory<byte> part)
    {
        ReadOnlySpan<byte> empty = "\r\n\r\n"u8;
        int outer = part.Span.IndexOf(empty);
        if (outer < 0)
        {
            return null;
        }

        ReadOnlyMemory<byte> inner = part[(outer + empty.Length)..];
        int end = inner.Span.IndexOf(empty);
        string[] head = Encoding.ASCII.GetString(inner.Span[..(end < 0 ? inner.Length : end)]).Split("\r\n");
        return head[0].Split(' ') is ["HTTP/1.1", { Length: 3 } code, ..] && int.TryParse(code, NumberStyles.None, CultureInfo.InvariantCulture, out int status)
            ? new BatchAnswer(ValueOf(Encoding.ASCII.GetString(part.Span[..outer]).Split("\r\n"), "Content-ID") ?? "", (HttpStatusCode)status, head[1..], end < 0 ? null : inner[(end + empty.Length)..])
            : null;
    }

    private static string? ValueOf(IEnumerable<string> lines, string name) => lines
        .Where(line => line.Length > name.Length && line[name.Length] == ':' && line.StartsWith(name, StringComparison.OrdinalIgnoreCase))
        .Select(line => line[(name.Length + 1)..].Trim()).FirstOrDefault();
}
