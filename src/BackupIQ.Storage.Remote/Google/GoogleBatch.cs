using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>What one of several requests was answered.</summary>
internal sealed record GoogleBatchAnswer(HttpStatusCode Status, GoogleError Error);

/// <summary>Several requests in one (multipart/mixed, each part of type application/http): Google's documentation of batches.</summary>
internal static class GoogleBatch
{
    // An answer's id is that of its request with this before it.
    private const string Answers = "response-";

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
        foreach (BatchAnswer part in BatchAnswer.ReadAll(body, boundary))
        {
            if (part.Id.IndexOf(Answers, StringComparison.Ordinal) is var at and >= 0
                && int.TryParse(part.Id.AsSpan(at + Answers.Length).TrimEnd(" >"), NumberStyles.None, CultureInfo.InvariantCulture, out int number))
            {
                answers.TryAdd(number, new GoogleBatchAnswer(part.Status, part.Body is { } told && (int)part.Status >= 300 ? GoogleError.Read(told) : GoogleError.None));
            }
        }

        return answers;
    }
}
