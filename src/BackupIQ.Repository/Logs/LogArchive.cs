using System.Runtime.CompilerServices;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Logs;

/// <summary>What came of putting a file into a series of logs.</summary>
public enum LogPut
{
    /// <summary>It is there now, durable.</summary>
    Stored,

    /// <summary>It was there before, with the very same bytes.</summary>
    SameThere,

    /// <summary>Another one has that name; nothing was changed.</summary>
    OtherThere,
}

/// <summary>A file of a series of logs, as a listing tells of it.</summary>
/// <param name="Group">What sets some of them apart, as a timeline.</param>
/// <param name="Name">Its name within that.</param>
/// <param name="Stored">Key, size and time of the object.</param>
public readonly record struct LogFile(string Group, string Name, StoredObject Stored);

/// <summary>
/// A series of logs in a repository: files that a database server gives away in order, each put once under its own name. No session is announced for
/// them, and collectors leave them alone: nothing that they hold stands anywhere else. May be used from any thread.
/// </summary>
public sealed class LogArchive
{
    // Objects are read through a window of this size: most are fetched by one request or two.
    private const int Window = 8 << 20;

    private const string SpoolSuffix = ".log";
    private static readonly TimeSpan Abandoned = TimeSpan.FromHours(1);

    private int _isSwept;

    private readonly BackupRepository _repository;
    private readonly TimeProvider _time;

    private readonly LogHeadCache? _heads;

    /// <summary>The series that people call <paramref name="name"/>; nothing is asked of the storage.</summary>
    /// <param name="repository">The repository.</param>
    /// <param name="name">Its name.</param>
    /// <param name="time">Says when a file is stored.</param>
    /// <param name="cacheFolder">Where heads that were read are remembered; null: nowhere.</param>
    public LogArchive(BackupRepository repository, string name, TimeProvider time, string? cacheFolder = null)
        : this(repository, LogSeries.Of(repository.Keys, name), time)
    {
        _heads = cacheFolder is null ? null : new LogHeadCache(Path.Combine(cacheFolder, repository.Id.ToString(), "logs"));
    }

    private LogArchive(BackupRepository repository, LogSeries series, TimeProvider time)
    {
        _repository = repository;
        _time = time;
        Series = series;
    }

    /// <summary>Its id.</summary>
    public LogSeries Series { get; }

    /// <summary>A hasher of contents: what it says of a file's bytes is the file's content id, see <see cref="IdOf"/>.</summary>
    public Blake3Hasher CreateHasher() => Blake3Hasher.CreateKeyed(_repository.Keys.DataIdKey);

    /// <summary>The id of what <paramref name="hasher"/> has seen.</summary>
    public static ChunkId IdOf(Blake3Hasher hasher) => LogObject.Finish(hasher);

    /// <summary>
    /// Puts a file if its name is free. It is durable when this returns <see cref="LogPut.Stored"/> or <see cref="LogPut.SameThere"/>.
    /// </summary>
    /// <param name="group">What sets some of them apart.</param>
    /// <param name="name">Its name within that.</param>
    /// <param name="head">What it is; the time is set here.</param>
    /// <param name="open">Opens the content, from its beginning.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException"><c>SourceChanged</c>: the content is not what the head says; <c>KeyOutdated</c>; or the storage failed.</exception>
    public Task<LogPut> PutAsync(string group, string name, LogHead head, Func<Stream> open, CancellationToken cancellationToken) =>
        PutAsync(RepositoryLayout.Log(Series, group, name), head with { StoredAt = _time.GetUtcNow() }, open, cancellationToken);

    /// <summary>
    /// Copies a file of a series of another repository, whatever its keys: proven by its seals, and with the time at which it was stored there. In between it is a
    /// temporary file of this machine, in the clear.
    /// </summary>
    /// <returns>Null: it is gone.</returns>
    /// <exception cref="CorruptDataException">It is damaged; nothing was put.</exception>
    public async Task<LogPut?> CopyAsync(LogArchive from, LogFile file, CancellationToken cancellationToken)
    {
        FileStreamOptions options = new() { Mode = FileMode.CreateNew, Access = FileAccess.ReadWrite, Share = FileShare.None, Options = FileOptions.DeleteOnClose };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        await using FileStream plain = new(Path.Combine(Path.GetTempPath(), $"backupiq-{SessionId.New()}"), options);
        Blake3Hasher hasher = CreateHasher();
        LogHead? head = await from.ReadAsync(
            file.Group,
            file.Name,
            piece =>
            {
                hasher.Update(piece.Span);
                return plain.WriteAsync(piece, cancellationToken);
            },
            cancellationToken);
        if (head is null)
        {
            return null;
        }

        plain.Position = 0;
        return await PutAsync(RepositoryLayout.Log(Series, file.Group, file.Name), head with { Content = IdOf(hasher) }, () => plain, cancellationToken);
    }

    /// <summary>The names that people gave to the series of a repository, ascending. What is damaged is told.</summary>
    /// <exception cref="StorageException">The storage does not tell.</exception>
    public static async Task<IReadOnlyList<string>> ListNamesAsync(BackupRepository repository, TimeProvider time, Action<string> onDamage, CancellationToken cancellationToken)
    {
        HashSet<LogSeries> all = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.LogPrefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseLog(stored.Key, out LogSeries series, out _, out _))
            {
                all.Add(series);
            }
        }

        List<string> names = [];
        foreach (LogSeries series in all)
        {
            try
            {
                if (await new LogArchive(repository, series, time).ReadDescriptionAsync(cancellationToken) is { } said)
                {
                    string name = Encoding.UTF8.GetString(said.Content);
                    names.AddRange(LogSeries.Of(repository.Keys, name) == series ? [name] : []);
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                onDamage(e.Message);
            }
        }

        return [.. names.Order(StringComparer.Ordinal)];
    }

    /// <summary>Says what the series is, unless somebody has said so; each of two copies.</summary>
    /// <returns>What is said of it: this, or what was said before.</returns>
    /// <exception cref="CorruptDataException">What was said before is damaged.</exception>
    public async Task<(LogHead Head, byte[] Content)> DescribeAsync(byte[] facts, byte[] content, CancellationToken cancellationToken)
    {
        if (await ReadDescriptionAsync(cancellationToken) is { } said)
        {
            return said;
        }

        Blake3Hasher hasher = CreateHasher();
        hasher.Update(content);
        LogHead head = new(LogKind.Description, content.Length, default, IdOf(hasher), facts);
        foreach (char copy in "ab")
        {
            await PutAsync(RepositoryLayout.LogDescription(Series, copy), head with { StoredAt = _time.GetUtcNow() }, () => new MemoryStream(content, writable: false), cancellationToken);
        }

        // The first copy decides between two who say something at once.
        return await ReadDescriptionAsync(cancellationToken) ?? throw new StorageException(
            ErrorCodes.StorageObjectNotFound, "What the archive says of itself was put and cannot be read.");
    }

    /// <summary>What the series says of itself; null: nothing was ever put into it.</summary>
    /// <exception cref="CorruptDataException">It is damaged, both copies of it.</exception>
    public async Task<(LogHead Head, byte[] Content)?> ReadDescriptionAsync(CancellationToken cancellationToken)
    {
        BackupIQException? damage = null;
        foreach (char copy in "ab")
        {
            MemoryStream content = new();
            try
            {
                if (await ReadAsync(RepositoryLayout.LogDescription(Series, copy), WriteTo(content), cancellationToken) is { } head)
                {
                    return (head, content.ToArray());
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                damage = e;
            }
        }

        return damage is null ? null : throw damage;
    }

    /// <summary>The files of a group, or of all, in no particular order. An empty listing is a listing: nothing is there.</summary>
    /// <exception cref="StorageException">The storage does not tell.</exception>
    public async IAsyncEnumerable<LogFile> ListAsync(string? group, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string prefix = RepositoryLayout.Logs(Series) + (group is null ? "" : group + "/");
        await foreach (StoredObject stored in _repository.Storage.ListAsync(prefix, cancellationToken))
        {
            if (RepositoryLayout.TryParseLog(stored.Key, out LogSeries series, out string found, out string name) && series == Series && found.Length > 0)
            {
                yield return new LogFile(found, name, stored);
            }
        }
    }

    /// <summary>Deletes files; that one is not there is success.</summary>
    /// <returns>What could not be deleted, and why.</returns>
    /// <exception cref="StorageException"><c>AppendOnly</c>: this process may only add; or the storage cannot be reached.</exception>
    public async Task<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAsync(IReadOnlyList<LogFile> files, CancellationToken cancellationToken)
    {
        _repository.Configuration.Require(RepositoryOperation.Delete);
        return await _repository.Storage.DeleteAllAsync([.. files.Select(file => RepositoryLayout.Log(Series, file.Group, file.Name))], cancellationToken);
    }

    /// <summary>Extends the locks of files, and of what says what the series is, where the storage has locks (see <see cref="LockPipeline"/>).</summary>
    /// <exception cref="StorageException">The storage cannot be reached. That it refuses is in the result.</exception>
    public Task<LockExtension> ExtendLocksAsync(IReadOnlyList<LogFile> files, CancellationToken cancellationToken) => new LockPipeline(_repository, _time).RunAsync(
        files.Select(static file => file.Stored.Key).Concat("ab".Select(copy => RepositoryLayout.LogDescription(Series, copy))), [], cancellationToken);

    private string SpoolFolder => _repository.Storage.SpoolFolder ?? Path.GetTempPath();

    /// <summary>Waits, where listings lag, until what was put before this call is listed.</summary>
    public Task SettleAsync(CancellationToken cancellationToken) => _repository.WaitForListingsAsync(_time, cancellationToken);

    /// <summary>What is known of a file without reading it; null: it is not there.</summary>
    /// <exception cref="CorruptDataException">It is damaged.</exception>
    public Task<LogHead?> ReadHeadAsync(string group, string name, CancellationToken cancellationToken) =>
        ReadHeadAsync(RepositoryLayout.Log(Series, group, name), cancellationToken);

    /// <summary>The same of a file that was listed, from the cache if it is there: what is remembered is proven by its seal, and read anew where it is not sound.</summary>
    /// <exception cref="CorruptDataException">It is damaged.</exception>
    public async Task<LogHead?> ReadHeadAsync(LogFile file, CancellationToken cancellationToken)
    {
        StorageKey key = RepositoryLayout.Log(Series, file.Group, file.Name);
        if (_heads?.Find(file) is { } known)
        {
            try
            {
                return LogObject.OpenHead(_repository.Keys, key, known);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                // The cache's damage, not the object's.
            }
        }

        if (await ReadHeadBytesAsync(_repository, key, cancellationToken) is not { } bytes)
        {
            return null;
        }

        LogHead head = LogObject.OpenHead(_repository.Keys, key, bytes);
        _heads?.Note(file, bytes[..LogObject.HeadEnd(key, bytes)]);
        return head;
    }

    /// <summary>Remembers the heads that were read.</summary>
    public void SaveHeads() => _heads?.Save();

    /// <summary>
    /// Reads a file whole and gives it to <paramref name="write"/> piece by piece; what was given counts only when this returns. Null: it is not there.
    /// </summary>
    /// <exception cref="CorruptDataException">It is damaged.</exception>
    public Task<LogHead?> ReadAsync(string group, string name, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken) =>
        ReadAsync(RepositoryLayout.Log(Series, group, name), write, cancellationToken);

    /// <summary>Writes pieces to a stream.</summary>
    public static Func<ReadOnlyMemory<byte>, ValueTask> WriteTo(Stream stream) => piece => stream.WriteAsync(piece);

    /// <summary>
    /// Looks at a file of a log: its head, or with <paramref name="readData"/> all of it. Null: it is whole, or gone; else what is wrong.
    /// </summary>
    internal static async Task<string?> CheckAsync(BackupRepository repository, StorageKey key, bool readData, CancellationToken cancellationToken)
    {
        try
        {
            _ = readData
                ? await ReadAsync(repository, key, static _ => ValueTask.CompletedTask, cancellationToken)
                : await ReadHeadAsync(repository, key, cancellationToken);
            return null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return DamageReading.Problem(key.Value, e);
        }
    }

    private async Task<LogPut> PutAsync(StorageKey key, LogHead head, Func<Stream> open, CancellationToken cancellationToken)
    {
        _repository.Configuration.Require(RepositoryOperation.Write);
        if (await CompareAsync(key, head, cancellationToken) is { } there)
        {
            return there;
        }

        Sweep(SpoolFolder);
        string file = Path.Combine(SpoolFolder, SessionId.New() + SpoolSuffix);
        StorageContent content;
        try
        {
            using Stream source = open();
            using FileStream spool = DurableFile.OpenPrivate(file, FileMode.CreateNew, FileShare.None);
            LogObject.Write(_repository.Keys, key, head, source, spool);
            content = StorageContent.FromFile(file);
        }
        catch
        {
            File.Delete(file);
            throw;
        }

        return await _repository.Storage.PutAsync(key, content, cancellationToken) == PutOutcome.Stored
            ? LogPut.Stored
            : await CompareAsync(key, head, cancellationToken) ?? throw new StorageException(
                ErrorCodes.StorageObjectNotFound, $"{key} was there a moment ago, and is not there now.");
    }

    // What pushes left that were killed: no session tells of them.
    private void Sweep(string folder)
    {
        if (Interlocked.Exchange(ref _isSwept, 1) != 0)
        {
            return;
        }

        foreach (string file in Directory.EnumerateFiles(folder, "*" + SpoolSuffix))
        {
            string name = Path.GetFileNameWithoutExtension(file);
            if (SessionId.TryParse(name, out _) && _time.GetUtcNow().UtcDateTime - File.GetLastWriteTimeUtc(file) > Abandoned)
            {
                File.Delete(file);
            }
        }
    }

    // Sealed anew each time, the same file has other bytes: what is compared is what was sealed.
    private async Task<LogPut?> CompareAsync(StorageKey key, LogHead head, CancellationToken cancellationToken) =>
        await ReadHeadAsync(key, cancellationToken) is not { } there ? null
        : there.Content == head.Content && there.Length == head.Length && there.Kind == head.Kind ? LogPut.SameThere
        : LogPut.OtherThere;

    private Task<LogHead?> ReadHeadAsync(StorageKey key, CancellationToken cancellationToken) => ReadHeadAsync(_repository, key, cancellationToken);

    private static async Task<LogHead?> ReadHeadAsync(BackupRepository repository, StorageKey key, CancellationToken cancellationToken) =>
        await ReadHeadBytesAsync(repository, key, cancellationToken) is { } bytes ? LogObject.OpenHead(repository.Keys, key, bytes) : null;

    // At least prefix and head, or what there is of them.
    private static async Task<byte[]?> ReadHeadBytesAsync(BackupRepository repository, StorageKey key, CancellationToken cancellationToken)
    {
        var bytes = new byte[LogObject.HeadRead];
        try
        {
            int length = await repository.Storage.ReadAsync(key, 0, bytes, cancellationToken);
            int end = LogObject.HeadEnd(key, bytes.AsSpan(0, length));
            if (end > length && length == bytes.Length)
            {
                bytes = new byte[end];
                length = await repository.Storage.ReadAsync(key, 0, bytes, cancellationToken);
            }

            return bytes[..length];
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
    }

    private Task<LogHead?> ReadAsync(StorageKey key, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken) =>
        ReadAsync(_repository, key, write, cancellationToken);

    private static async Task<LogHead?> ReadAsync(
        BackupRepository repository, StorageKey key, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken)
    {
        if (await repository.Storage.StatAsync(key, cancellationToken) is not { } stored)
        {
            return null;
        }

        using NativeBuffer buffer = new();
        Memory<byte> window = buffer.Room((int)Math.Min(Window, Math.Max(1, stored.Size)));
        long next = 0;
        int from = 0, to = 0;

        async ValueTask<int> Read(Memory<byte> wanted)
        {
            int given = 0;
            while (given < wanted.Length)
            {
                if (from == to)
                {
                    from = 0;
                    to = next >= stored.Size ? 0 : await repository.Storage.ReadAsync(key, next, window, cancellationToken);
                    next += to;
                    if (to == 0)
                    {
                        break;
                    }
                }

                int count = Math.Min(wanted.Length - given, to - from);
                window.Slice(from, count).CopyTo(wanted[given..]);
                from += count;
                given += count;
            }

            return given;
        }

        try
        {
            return await LogObject.ReadAsync(repository.Keys, key, Read, write);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
    }
}
