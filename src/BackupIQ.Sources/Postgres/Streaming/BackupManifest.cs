using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>What a server says that it sent: each file with its size and the CRC-32C of its bytes (PostgreSQL's manual, "Backup Manifest Format").</summary>
internal static class BackupManifest
{
    /// <summary>The largest that is read: some million files.</summary>
    public const int MostBytes = 512 << 20;

    /// <summary>Compares it with what came.</summary>
    /// <param name="manifest">Its bytes.</param>
    /// <param name="received">Size and CRC-32C of each file that came, by its path; what the manifest names is taken out of it.</param>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it is none, or a file did not come as it was sent.</exception>
    public static void Verify(ReadOnlyMemory<byte> manifest, IDictionary<string, (long Size, uint Checksum)> received)
    {
        RequireWhole(manifest.Span);
        try
        {
            using JsonDocument document = JsonDocument.Parse(manifest);
            foreach (JsonElement file in document.RootElement.GetProperty("Files").EnumerateArray())
            {
                if (file.ValueKind != JsonValueKind.Object || !file.TryGetProperty("Path", out JsonElement named) || named.GetString() is not { } path)
                {
                    // A name that is no text, in hexadecimal digits: such a file is no relation of the server's.
                    continue;
                }

                if (!received.Remove(path, out (long Size, uint Checksum) file2) || file.GetProperty("Size").GetInt64() != file2.Size)
                {
                    throw Wrong($"{path} did not come whole");
                }

                if (file.TryGetProperty("Checksum-Algorithm", out JsonElement algorithm) && algorithm.GetString() == "CRC32C"
                    && !string.Equals(file.GetProperty("Checksum").GetString(), Hex(file2.Checksum), StringComparison.OrdinalIgnoreCase))
                {
                    throw Wrong($"{path} did not come as it was sent: its checksum does not hold");
                }
            }
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw Wrong($"its list of files is none: {e.Message}");
        }
    }

    // The last line has the SHA-256 of all before it.
    private static void RequireWhole(ReadOnlySpan<byte> manifest)
    {
        ReadOnlySpan<byte> key = "\"Manifest-Checksum\": \""u8;
        int at = manifest.LastIndexOf(key);
        if (at < 0 || manifest.Length < at + key.Length + (2 * SHA256.HashSizeInBytes))
        {
            throw Wrong("its list of files has no checksum");
        }

        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(manifest[..at], digest);
        Span<byte> said = stackalloc byte[SHA256.HashSizeInBytes];
        if (Convert.FromHexString(manifest.Slice(at + key.Length, 2 * SHA256.HashSizeInBytes), said, out _, out _) != System.Buffers.OperationStatus.Done || !said.SequenceEqual(digest))
        {
            throw Wrong("its list of files did not come as it was sent");
        }
    }

    // In the order of the bytes in memory.
    private static string Hex(uint checksum) => System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(checksum).ToString("x8", CultureInfo.InvariantCulture);

    private static BackupIQException Wrong(string what) => new(ErrorCodes.SourceServer, $"What the server sent is no backup: {what}", "Run it again; nothing was committed.");
}
