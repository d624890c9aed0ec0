using System.Globalization;
using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// Databases of a server as <c>pg_dump</c> writes them in its directory format, uncompressed, so that what did not change is not stored twice. Below the server's
/// name stand <c>dump/DATABASE/</c>, each as pg_restore takes it, and <c>globals.sql</c> with roles and tablespaces. The files are read while they are written, and removed as soon as they are read: no
/// copy of a database ever lies on the disk.
/// </summary>
/// <remarks>
/// Each database is consistent in itself; two of them are not with each other. <see cref="Walk"/> may be asked for once. How a program ends decides: when one fails the
/// walk throws, and nothing is committed.
/// </remarks>
public sealed class PostgresDumpSource : IBackupSource
{
    /// <summary>So much may lie on the disk at once: what waits to be read, and as much again where the program had it in hand when it was paused.</summary>
    public const long MostWaiting = 2 * SpoolPipeline.MostWaiting;

    private const string TocName = "toc.dat";
    private const int MostTables = 10_000;

    private readonly PostgresDumpPlan _plan;
    private readonly TimeProvider _time;
    private readonly DateTimeOffset _started;
    private readonly SourceStat _folderStat;
    private readonly string? _password;
    private readonly OwnerNames _owners = new();
    private readonly List<DumpedDatabase> _databases = [];
    private readonly Lock _noticeGate = new();
    private DateTimeOffset? _stopped;
    private bool _isWalked;

    /// <summary>Starts nothing yet.</summary>
    public PostgresDumpSource(PostgresDumpPlan plan, TimeProvider time)
    {
        _plan = plan;
        _time = time;
        _started = time.GetUtcNow();
        _password = plan.Password is { } secret ? Encoding.UTF8.GetString(secret.Bytes) : null;
        _ = Syscalls.Stat(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(plan.Work.Folder), out StatX own);
        TimeSpan since = _started - DateTimeOffset.UnixEpoch;
        FileTime now = new((long)Math.Floor(since.TotalSeconds), (uint)(since.Ticks % TimeSpan.TicksPerSecond) * 100);
        _folderStat = own.ToSourceStat() with { Inode = 0, Device = 0, Modified = now, Changed = now, LinkCount = 1, Size = 0 };
        Paths = plan.IsWhole
            ? [Encoding.UTF8.GetBytes("/" + plan.Server)]
            : [.. plan.Databases.Select(database => Encoding.UTF8.GetBytes($"/{plan.Server}/dump/{FolderOf(database)}")).OrderBy(static path => path, ByteOrder.Instance)];
    }

    /// <inheritdoc/>
    public string Kind => "postgres-dump";

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths { get; }

    /// <inheritdoc/>
    public bool IsRepeatable => false;

    /// <inheritdoc/>
    public JsonElement? Document => _stopped is { } stopped ? Describe(stopped).ToJson() : null;

    /// <summary>The name of a database's folder.</summary>
    public static string FolderOf(string database)
    {
        string name = database.Replace("%", "%25", StringComparison.Ordinal).Replace("/", "%2F", StringComparison.Ordinal);
        return name.StartsWith('.') ? "%2E" + name[1..] : name;
    }

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        if (_isWalked)
        {
            throw new InvalidOperationException("A dump can be walked once.");
        }

        _isWalked = true;
        return WalkAll(cancellationToken);
    }

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry) => new()
    {
        Name = entry.Name,
        Type = entry.Stat.Type,
        Mode = entry.Stat.Mode,
        UserId = entry.Stat.UserId,
        GroupId = entry.Stat.GroupId,
        UserName = _owners.User(entry.Stat.UserId),
        GroupName = _owners.Group(entry.Stat.GroupId),
        Modified = entry.Stat.Modified,
    };

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry)
    {
        (SpoolPipeline spool, SpooledFile file) = ((SpoolPipeline, SpooledFile))entry.State!;
        return new SpooledContent(this, entry, spool, file);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // What runs ends with the walk; the folder is the caller's.
    }

    private IEnumerable<SourceEvent> WalkAll(CancellationToken cancellationToken)
    {
        SourceEntry top = Folder(_plan.Server, null);
        SourceEntry all = Folder("dump", top);
        yield return new SourceEvent(SourceEventKind.Enter, top, null);
        yield return new SourceEvent(SourceEventKind.Enter, all, null);

        // It is quick, and says whether the role may do this at all, before the long part.
        List<string> words = ["--globals-only", "--no-password", $"--database={ConnectionWord(_plan.Dsn.Database)}"];
        if (!_plan.RolePasswords)
        {
            words.Add("--no-role-passwords");
        }

        List<SourceEntry> globals = [];
        string place = _plan.Work.Make("globals");
        foreach (SourceEvent next in Run("pg_dumpall", [.. words, $"--file={place}/globals.sql"], _plan.Dsn, place, null, top, globals, cancellationToken))
        {
            yield return next;
        }

        foreach (string database in _plan.Databases.OrderBy(static name => Encoding.UTF8.GetBytes(FolderOf(name)), ByteOrder.Instance))
        {
            foreach (SourceEvent next in WalkDatabase(database, all, cancellationToken))
            {
                yield return next;
            }
        }

        yield return new SourceEvent(SourceEventKind.Leave, all, null);
        foreach (SourceEntry file in globals)
        {
            yield return new SourceEvent(SourceEventKind.Leaf, file, null);
        }

        yield return new SourceEvent(SourceEventKind.Leave, top, null);
        _stopped = _time.GetUtcNow();
    }

    private IEnumerable<SourceEvent> WalkDatabase(string name, SourceEntry parent, CancellationToken cancellationToken)
    {
        SourceEntry folder = Folder(FolderOf(name), parent);
        List<SourceEntry> files = [];
        PostgresDsn dsn = _plan.Dsn.Of(name);
        PostgresSession session = PostgresSession.OpenAsync(dsn, _password, cancellationToken).GetAwaiter().GetResult();
        try
        {
            // The session holds the moment that all of pg_dump's see, and knows where the log was then.
            session.QueryAsync("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", cancellationToken).GetAwaiter().GetResult();
            DumpedDatabase database = Look(name, session, files, cancellationToken);
            string place = _plan.Work.Make(string.Create(CultureInfo.InvariantCulture, $"{_databases.Count}"));
            string[] words =
            [
                "--format=directory", "--compress=0", "--no-sync", "--no-password", $"--snapshot={database.Snapshot}", $"--file={place}",
                string.Create(CultureInfo.InvariantCulture, $"--jobs={_plan.Jobs}"),
            ];
            foreach (SourceEvent next in Run("pg_dump", words, dsn, place, TocName, folder, files, cancellationToken))
            {
                yield return next;
            }

            database.Entries = DumpToc.Read(File.ReadAllBytes(Path.Combine(place, TocName)));
            _databases.Add(database);
        }
        finally
        {
            session.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }

        yield return new SourceEvent(SourceEventKind.Enter, folder, null);
        foreach (SourceEntry file in files.OrderBy(static file => file.Name, ByteOrder.Instance))
        {
            yield return new SourceEvent(SourceEventKind.Leaf, file, null);
        }

        yield return new SourceEvent(SourceEventKind.Leave, folder, null);
    }

    // Each file is read as soon as it begins; where it stands among the others is told when all are there.
    private IEnumerable<SourceEvent> Run(
        string program, IReadOnlyList<string> words, PostgresDsn dsn, string place, string? last, SourceEntry parent, List<SourceEntry> files, CancellationToken cancellationToken)
    {
        using FolderWatch watch = new(place);
        using SupervisedProgram running = SupervisedProgram.Start(_plan.Programs.Of(program), words, dsn.ToEnvironment(_password), Hear);
        using SpoolPipeline spool = new(place, last, running, watch);
        while (spool.TryTake(out SpooledFile file, cancellationToken))
        {
            SourceEntry entry = Entry(spool, file, parent);
            files.Add(entry);
            yield return new SourceEvent(SourceEventKind.Ahead, entry, null);
        }

        running.RequireSuccess(OfFailure);
        if (last is not null)
        {
            files.Add(Entry(spool, new SpooledFile(place, last) { IsWhole = true }, parent));
        }
    }

    private DumpedDatabase Look(string name, PostgresSession session, List<SourceEntry> files, CancellationToken cancellationToken)
    {
        const string Sql = """
            SELECT pg_export_snapshot(), (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text, now(),
                   pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, to_jsonb(d)->>'datlocprovider',
                   coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'), pg_database_size(oid)
            FROM pg_database d WHERE datname = current_database()
            """;
        object?[] row = session.QueryAsync(Sql, cancellationToken).GetAwaiter().GetResult()[0];
        if (!_plan.Work.CanGiveBack())
        {
            _plan.Work.Require((long)row[9]!, $"The dump of '{name}', on a file system where what was read cannot be given back before the file ends,");
        }

        return new DumpedDatabase(name, files, (string)row[0]!)
        {
            Lsn = row[1] as string ?? "0/0",
            Time = new DateTimeOffset((DateTime)row[2]!),
            Owner = (string)row[3]!,
            Encoding = (string)row[4]!,
            Collate = (string)row[5]!,
            CharacterType = (string)row[6]!,
            LocaleProvider = row[7] as string ?? "c",
            Locale = row[8] as string,
            Size = (long)row[9]!,
        };
    }

    private PostgresDumpDocument Describe(DateTimeOffset stopped) => new()
    {
        Server = _plan.Server,
        SystemIdentifier = _plan.Facts.SystemIdentifier.ToString(CultureInfo.InvariantCulture),
        ServerVersion = _plan.Facts.Version,
        Major = _plan.Facts.Major,
        DumpVersion = _plan.Programs.Version,
        DumpMajor = _plan.Programs.Major,
        Started = _started,
        Stopped = stopped,
        RolePasswords = _plan.RolePasswords,
        Databases = [.. _databases.Select(Describe)],
    };

    private static PostgresDumpedDatabase Describe(DumpedDatabase database)
    {
        Dictionary<string, SpooledFile> files = database.Files.Select(static entry => (((SpoolPipeline, SpooledFile File))entry.State!).File).ToDictionary(static file => file.Name, StringComparer.Ordinal);
        List<PostgresDumpedTable> tables =
        [
            .. (database.Entries ?? []).Where(static entry => entry is { Kind: "TABLE DATA", File: not null }).Select(entry => new PostgresDumpedTable(
                entry.Schema ?? "", entry.Tag, files.TryGetValue(entry.File!, out SpooledFile? file) ? Math.Max(0, file.Lines - EndLines) : 0)),
        ];
        return new PostgresDumpedDatabase
        {
            Name = database.Name,
            Folder = FolderOf(database.Name),
            Owner = database.Owner,
            Encoding = database.Encoding,
            Collate = database.Collate,
            CharacterType = database.CharacterType,
            LocaleProvider = database.LocaleProvider,
            Locale = database.Locale,
            Snapshot = database.Snapshot,
            Lsn = database.Lsn,
            Time = database.Time,
            Size = database.Size,
            LargeObjects = files.Keys.LongCount(static name => name.StartsWith("blob_", StringComparison.Ordinal)),
            TableCount = tables.Count,
            Tables = [.. tables.Take(MostTables)],
        };
    }

    /// <summary>A row of COPY is a line whatever is in it; behind the last pg_dump writes <c>\.</c> and two empty lines.</summary>
    private const long EndLines = 3;

    private static string ConnectionWord(string database) => PostgresDsn.Word("dbname", database);

    private static ErrorCode OfFailure(string said) =>
        said.Contains("No space left", StringComparison.Ordinal) ? ErrorCodes.Resource
        : said.Contains("permission denied", StringComparison.Ordinal) || said.Contains("authentication failed", StringComparison.Ordinal) || said.Contains("no password supplied", StringComparison.Ordinal) ? ErrorCodes.Authorization
        : ErrorCodes.SourceServer;

    // What it fails with is told by the failure itself.
    private void Hear(string line)
    {
        if (_plan.OnNotice is { } tell && !line.Contains("error:", StringComparison.Ordinal))
        {
            lock (_noticeGate)
            {
                tell(line);
            }
        }
    }

    private SourceEntry Folder(string name, SourceEntry? parent) => new() { Name = Encoding.UTF8.GetBytes(name), Stat = _folderStat, Parent = parent };

    private SourceEntry Entry(SpoolPipeline spool, SpooledFile file, SourceEntry parent) => new()
    {
        Name = Encoding.UTF8.GetBytes(file.Name),
        Stat = _folderStat with { Type = NodeType.File, Mode = 0x180, Blocks = 0 },
        Parent = parent,
        State = (spool, file),
    };

    private sealed class DumpedDatabase(string name, List<SourceEntry> files, string snapshot)
    {
        public string Name { get; } = name;

        public IReadOnlyList<SourceEntry> Files => files;

        public string Snapshot { get; } = snapshot;

        public required string Lsn { get; init; }

        public required DateTimeOffset Time { get; init; }

        public required string Owner { get; init; }

        public required string Encoding { get; init; }

        public required string Collate { get; init; }

        public required string CharacterType { get; init; }

        public required string LocaleProvider { get; init; }

        public required string? Locale { get; init; }

        public required long Size { get; init; }

        public IReadOnlyList<DumpTocEntry>? Entries { get; set; }
    }

    private sealed class ByteOrder : IComparer<byte[]>
    {
        public static readonly ByteOrder Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
