using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Jobs;

/// <summary>
/// What a database server's next call for its log can be answered from without opening the repository: which segments were pushed ahead, and segments that
/// were fetched ahead. A cache: losing it costs time. What is older than ten minutes is not believed, for the repository may be another one by then.
/// </summary>
/// <remarks>
/// It lies beside the other caches, for its owner alone, in a folder for each repository and archive. Each thing is a file of its own, put there whole by
/// renaming it, so that calls which run at once, or are killed, do not hurt each other.
/// </remarks>
public sealed class WalSpool
{
    private static readonly TimeSpan Believed = TimeSpan.FromMinutes(10);

    private readonly string _folder;
    private readonly TimeProvider _time;

    private WalSpool(string folder, TimeProvider time)
    {
        _folder = folder;
        _time = time;
    }

    /// <summary>The spool of an archive in the repository at <paramref name="url"/>; null: there is no cache, or it cannot be written.</summary>
    public static WalSpool? Open(string? cacheFolder, string url, string archive, TimeProvider? time = null)
    {
        if (cacheFolder is null || OperatingSystem.IsWindows())
        {
            return null;
        }

        try
        {
            string id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{url}\n{archive}")))[..32];
            string folder = Path.Combine(cacheFolder, "wal", id);
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            return new WalSpool(folder, time ?? TimeProvider.System);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>
    /// Whether this very file was pushed ahead a moment ago and is durable. It is asked once: what was acknowledged is forgotten.
    /// </summary>
    public bool TakePushed(string path)
    {
        string note = NoteOf(path);
        try
        {
            if (!IsFresh(note) || File.ReadAllText(note) != IdentityOf(path))
            {
                return false;
            }

            File.Delete(note);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Whether it is noted that this file was pushed ahead.</summary>
    internal bool HasPushed(string path)
    {
        try
        {
            string note = NoteOf(path);
            return IsFresh(note) && File.ReadAllText(note) == IdentityOf(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>What tells a file from another of the same name; taken before it is read, so that one that changes meanwhile is another.</summary>
    internal static string IdentityOf(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        Span<byte> beginning = stackalloc byte[4096];
        int length = file.ReadAtLeast(beginning, beginning.Length, throwOnEndOfStream: false);
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.Hash(beginning[..length], digest);
        return string.Create(
            CultureInfo.InvariantCulture, $"{file.Length} {File.GetLastWriteTimeUtc(file.SafeFileHandle).Ticks} {Convert.ToHexStringLower(digest)}");
    }

    /// <summary>Notes that a file was pushed and is durable. Where that cannot be noted, it is pushed again.</summary>
    internal void NotePushed(string path, string identity)
    {
        try
        {
            string temporary = Temporary();
            File.WriteAllText(temporary, identity);
            File.Move(temporary, NoteOf(path), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A note saves time; nothing relies on it.
        }
    }

    /// <summary>Gives a segment that was fetched ahead, and forgets it. False: there is none.</summary>
    public bool TryTake(string name, string target)
    {
        try
        {
            foreach (string file in Directory.EnumerateFiles(_folder, name + ".*.segment"))
            {
                if (IsFresh(file) && Copy(file, target))
                {
                    File.Delete(file);
                    return true;
                }

                File.Delete(file);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody else took it, or it is gone: the repository has it.
        }

        return false;
    }

    /// <summary>Whether a segment was fetched ahead.</summary>
    internal bool Has(string name) => Directory.EnumerateFiles(_folder, name + ".*.segment").Any(IsFresh);

    /// <summary>Where what is received of a log is gathered until a segment is whole.</summary>
    internal string StreamFolder => Path.Combine(_folder, "stream");

    /// <summary>Empties a folder in which a log is received, for who holds what this returns.</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: another process receives there. <c>Resource</c>: it cannot be written.</exception>
    internal static FileStream TakeStream(string folder)
    {
        const string mark = "use";
        try
        {
            Directory.CreateDirectory(folder);
            FileStream alone = DurableFile.OpenPrivate(Path.Combine(folder, mark), FileMode.OpenOrCreate, FileShare.None);
            foreach (string file in Directory.EnumerateFiles(folder).Where(static file => Path.GetFileName(file) != mark))
            {
                File.Delete(file);
            }

            return alone;
        }
        catch (IOException e) when (File.Exists(Path.Combine(folder, mark)))
        {
            throw new BackupIQException(ErrorCodes.RepositoryBusy, "Another process receives this server's log on this machine", null, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Resource, $"The folder in which a log is received cannot be used: {e.Message}", null, e);
        }
    }

    /// <summary>A file of the spool to write something to that is not there yet as long as it has that name.</summary>
    internal string Temporary() => Path.Combine(_folder, $"{SessionId.New()}.tmp");

    /// <summary>Takes over what was written to a <see cref="Temporary"/> file, with the digest of its bytes, by which it is known when it is wanted.</summary>
    internal void Keep(string name, string temporary, ReadOnlySpan<byte> digest) =>
        File.Move(temporary, Path.Combine(_folder, $"{name}.{Convert.ToHexStringLower(digest)}.segment"), overwrite: true);

    /// <summary>Removes what is not believed any more.</summary>
    internal void Sweep()
    {
        try
        {
            foreach (string file in Directory.EnumerateFiles(_folder))
            {
                if (!IsFresh(file))
                {
                    File.Delete(file);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next one does it.
        }
    }

    private bool IsFresh(string file) =>
        File.Exists(file) && _time.GetUtcNow().UtcDateTime - File.GetLastWriteTimeUtc(file) is { } age && age >= -Believed && age <= Believed;

    private string NoteOf(string path) => Path.Combine(_folder, Path.GetFileName(path) + ".pushed");

    // The file was not synced: after a crash it may hold anything, but then its digest is another.
    private static bool Copy(string file, string target)
    {
        Blake3Hasher hasher = new();
        using WalTarget to = new(target);
        using (FileStream from = File.OpenRead(file))
        {
            var buffer = new byte[1 << 20];
            for (int length; (length = from.Read(buffer)) > 0;)
            {
                hasher.Update(buffer.AsSpan(0, length));
                to.Stream.Write(buffer.AsSpan(0, length));
            }
        }

        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        hasher.Finish(digest);
        if (Path.GetFileName(file).Split('.')[^2] != Convert.ToHexStringLower(digest))
        {
            return false;
        }

        to.Commit();
        return true;
    }
}
