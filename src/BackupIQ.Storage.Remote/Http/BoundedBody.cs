namespace BackupIQ.Storage.Remote.Http;

/// <summary>Reads what a server says, but never more than expected: a server that goes on is cut off.</summary>
internal static class BoundedBody
{
    /// <summary>The body, or as much of it as <paramref name="most"/> bytes.</summary>
    public static async Task<byte[]> ReadAsync(HttpContent content, int most, CancellationToken cancellationToken)
    {
        await using Stream stream = await content.ReadAsStreamAsync(cancellationToken);
        using MemoryStream body = new();
        byte[] buffer = new byte[Math.Min(most, 16 * 1024)];
        while (body.Length < most)
        {
            int read = await stream.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, most - body.Length)), cancellationToken);
            if (read == 0)
            {
                break;
            }

            body.Write(buffer, 0, read);
        }

        return body.ToArray();
    }
}
