using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>Many requests in one (multipart/mixed), as both services take them: at most 100, each answered by itself.</summary>
internal static class FakeGoogleBatch
{
    private const int Most = 100;

    public static async Task ServeAsync(HttpContext context, FakeGoogle service)
    {
        string boundary = HeaderUtilities.RemoveQuotes(MediaTypeHeaderValue.Parse(context.Request.ContentType).Boundary).ToString();
        MultipartReader reader = new(boundary, context.Request.Body);
        List<(string Id, string Request)> parts = [];
        while (await reader.ReadNextSectionAsync() is { } section)
        {
            using StreamReader text = new(section.Body, Encoding.UTF8);
            parts.Add((section.Headers?.GetValueOrDefault("Content-ID").ToString() ?? "", await text.ReadToEndAsync()));
        }

        if (parts.Count is 0 or > Most)
        {
            context.Response.StatusCode = 400;
            return;
        }

        StringBuilder answer = new();
        foreach ((string id, string request) in parts)
        {
            string[] lines = request.Split("\r\n");
            string[] words = lines[0].Split(' ');
            string authorization = lines.FirstOrDefault(static line => line.StartsWith("Authorization:", StringComparison.OrdinalIgnoreCase))?["Authorization:".Length..].Trim()
                ?? context.Request.Headers.Authorization.ToString();
            answer.Append(CultureInfo.InvariantCulture, $"--batch_answer\r\nContent-Type: application/http\r\nContent-ID: <response-{id.Trim('<', '>')}>\r\n\r\n");
            await service.ServeAsync(new FakeGoogleCall(context, words[0], words[1], authorization, answer));
        }

        answer.Append("--batch_answer--\r\n");
        context.Response.ContentType = "multipart/mixed; boundary=batch_answer";
        byte[] body = Encoding.UTF8.GetBytes(answer.ToString());
        context.Response.ContentLength = body.Length;
        await context.Response.Body.WriteAsync(body);
    }
}
