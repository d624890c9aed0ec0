using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>What one of several requests was answered.</summary>
internal sealed record GoogleBatchAnswer(HttpStatusCode Status, GoogleError Error);

/// <summary>Several requests in one (multipart/mixed, each part of type application/http): Google's documentation of batches.</summary>
internal static class GoogleBatch
{
    /// <summary>The requests, each by its method and path; they are numbered from 0.</summary>
    public static MultipartContent Body(IEnumerable<string> requests)
    {
        MultipartContent all = new("mixed", $"backupiq-{Guid.NewGuid():n}");
        int number = 0;
        foreach (string request in requests)
        {
            ByteArrayContent part = new(Encoding.ASCII.GetBytes($"{request} HTTP/1.1\r\n\r\n"));
            part.Headers.ContentType = new MediaTypeHeaderValue("application/http");
            part.Headers.TryAddWithoutValidation("Content-ID", string.Create(CultureInfo.InvariantCulture, $"<{number++}>"));
            all.Add(part);
        }

        return all;
    }

    /// <summary>The answers by the numbers of their requests. It comes from outside: a part that is none of an answer is left out.</summary>
    /// <param name="body">The body of the whole answer.</param>
    /// <param name="boundary">As its Content-Type says; null: nothing is found.</param>
    public static IReadOnlyDictionary<int, GoogleBatchAnswer> Read(ReadOnlyMemory<byte> body, string? boundary)
    {
        Dictionary<int, GoogleBatchAnswer> answers = [];
        if (boundary?.Trim('"') is not { Length: > 0 and <= 70 } mark)
        {
            return answers;
        }

        byte[] delimiter = Encoding.ASCII.GetBytes("--" + mark);
        ReadOnlyMemory<byte> rest = body;
        while (rest.Span.IndexOf(delimiter) is var start and >= 0)
        {
            rest = rest[(start + delimiter.Length)..];
            int end = rest.Span.IndexOf(delimiter);
            if (end < 0)
            {
                // What is cut off is no answer.
                break;
            }

            if (ReadPart(rest[..end]) is { } part)
            {
                answers.TryAdd(part.Number, part.Answer);
            }
        }

        return answers;
    }

    // Headers of the part, an empty line, a status line and headers, an empty line, a body.
    private static (int Number, GoogleBatchAnswer Answer)? ReadPart(ReadOnlyMemory<byte> part)
    {
        ReadOnlySpan<byte> empty = "\r\n\r\n"u8;
        int outer = part.Span.IndexOf(empty);
        if (outer < 0)
        {
            return null;
        }

        string? id = Encoding.ASCII.GetString(part.Span[..outer]).Split("\r\n").FirstOrDefault(static line => line.StartsWith("Content-ID:", StringComparison.OrdinalIgnoreCase));
        ReadOnlyMemory<byte> inner = part[(outer + empty.Length)..];
        string status = Encoding.ASCII.GetString(inner.Span[..Math.Max(0, inner.Span.IndexOf("\r\n"u8))]);
        int head = inner.Span.IndexOf(empty);
        return id?.IndexOf("response-", StringComparison.Ordinal) is { } at and >= 0
            && int.TryParse(id.AsSpan(at + "response-".Length).TrimEnd(" >"), NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && status.Split(' ') is ["HTTP/1.1", { Length: 3 } code, ..] && int.TryParse(code, NumberStyles.None, CultureInfo.InvariantCulture, out int value)
                ? (number, new GoogleBatchAnswer((HttpStatusCode)value, head < 0 || value < 300 ? GoogleError.None : GoogleError.Read(inner[(head + empty.Length)..])))
                : null;
    }
}
