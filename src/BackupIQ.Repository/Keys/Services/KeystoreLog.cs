using System.Text.Json;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>
/// The log beside a keystore, or of the keys of other services: a line of JSON for each use, durable before the use has its effect; lines are only ever added. Whoever writes
/// holds the keystore's lock.
/// </summary>
internal sealed class KeystoreLog(string path, TimeProvider time)
{
    private const byte NewLine = (byte)'\n';

    /// <summary>Where it is.</summary>
    public string Path => path;

    /// <summary>Adds a line; time, user, host and process are filled in.</summary>
    /// <exception cref="IOException">It cannot be written, and then the use must not take place.</exception>
    public void Add(string operation, string? reason, string? key, int? version, KeyContext? context, string? service = null)
    {
        KeystoreAuditLine line = new()
        {
            Time = time.GetUtcNow(),
            Operation = operation,
            Outcome = reason is null ? "done" : "refused",
            Reason = reason,
            Service = service,
            Key = key,
            Version = version,
            Purpose = context?.Purpose,
            Repository = context?.Repository,
            Subject = context?.Subject,
            User = Environment.UserName,
            Host = Environment.MachineName,
            Process = Environment.ProcessId,
        };
        bool isNew = !File.Exists(path);
        using (FileStream file = DurableFile.OpenPrivate(path, FileMode.OpenOrCreate, FileShare.ReadWrite))
        {
            // A line that a power cut left half stays, and the next one begins on its own.
            bool isCut = file.Length > 0 && LastByte(file) != NewLine;
            file.Seek(0, SeekOrigin.End);
            byte[] bytes = JsonSerializer.SerializeToUtf8Bytes(line, KeyJson.Default.KeystoreAuditLine);
            file.Write([.. isCut ? [NewLine] : Array.Empty<byte>(), .. bytes, NewLine]);
            file.Flush(flushToDisk: true);
        }

        if (isNew)
        {
            DurableFile.SyncFolder(System.IO.Path.GetDirectoryName(path) ?? "/");
        }
    }

    private static int LastByte(FileStream file)
    {
        file.Seek(-1, SeekOrigin.End);
        return file.ReadByte();
    }
}
