using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// Until when objects are known to be locked, in a file of the local cache: a backup that relies on the same packs every hour asks for the lock of each but now and
/// then. Locks only become longer, so what is known stays true; without the file each is asked for again. Thread-safe.
/// </summary>
internal sealed class LockMemory
{
    private readonly string? _path;
    private readonly ConcurrentDictionary<string, long> _until = new(StringComparer.Ordinal);
    private volatile bool _isChanged;

    /// <param name="path">The file; null: nothing is remembered.</param>
    public LockMemory(string? path)
    {
        _path = path;
        try
        {
            foreach (string line in path is null || !File.Exists(path) ? [] : File.ReadLines(path))
            {
                // A line that is none is a file that was damaged: what it says is asked for again.
                if (line.Split(' ') is [var name, var seconds] && long.TryParse(seconds, NumberStyles.None, CultureInfo.InvariantCulture, out long until))
                {
                    _until[name] = until;
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _path = null;
        }
    }

    /// <summary>
    /// What is known of a repository's locks; nothing where its storage has none, or there is no cache. By the storage, too: a copy of the repository elsewhere
    /// has locks of its own.
    /// </summary>
    public static LockMemory Of(BackupRepository repository, string? cacheFolder) => new(
        cacheFolder is null || !repository.Storage.Capabilities.ExtendsLocks ? null
        : Path.Combine(cacheFolder, repository.Id.ToString(), "locks-" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(repository.Storage.Location)))[..16]));

    /// <summary>Whether the object is known to be locked at least so long.</summary>
    public bool IsLocked(StorageKey key, DateTimeOffset atLeast) => _until.TryGetValue(key.Value, out long until) && until >= atLeast.ToUnixTimeSeconds();

    /// <summary>Remembers that an object is locked at least so long.</summary>
    public void Note(StorageKey key, DateTimeOffset until)
    {
        _until[key.Value] = until.ToUnixTimeSeconds();
        _isChanged = true;
    }

    /// <summary>Writes what is known and not over yet. Where that cannot be done it is asked for again.</summary>
    public void Save(DateTimeOffset now)
    {
        if (_path is null || !_isChanged)
        {
            return;
        }

        try
        {
            string temporary = $"{_path}.{Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}";
            File.WriteAllLines(
                temporary,
                _until.Where(one => one.Value > now.ToUnixTimeSeconds()).Select(static one => string.Create(CultureInfo.InvariantCulture, $"{one.Key} {one.Value}")));
            File.Move(temporary, _path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // As without a cache.
        }
    }
}
