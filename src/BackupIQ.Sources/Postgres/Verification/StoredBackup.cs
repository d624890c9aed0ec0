using System.Collections.Concurrent;
using System.Globalization;
using System.Numerics;
using System.Text;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Verification;

/// <summary>A page of a stored backup that is not what PostgreSQL writes.</summary>
/// <param name="Path">The relation's file, below the data directory.</param>
/// <param name="Block">The page's number in the relation's fork.</param>
public sealed record UnsoundPage(string Path, long Block);

/// <summary>
/// What a stored backup of a server must have so that it recovers, and whether what it has agrees: its WAL, <c>backup_label</c>, <c>pg_control</c> and pages.
/// It is told of files and of their content by whoever reads the snapshot. Pages may be told from several threads.
/// </summary>
public sealed class StoredBackup
{
    private const string LabelPath = "tail/backup_label";
    private const string MapPath = "tail/tablespace_map";
    private const string ControlPath = "tail/global/pg_control";
    private const string WalFolder = "tail/pg_wal/";
    private const uint DefaultTablespace = 1663;

    /// <summary>Far more than a label, a map or a history has.</summary>
    private const int LongestText = 1 << 20;

    /// <summary>Of 16 MiB they are 4 TiB: more is not written while a backup is made.</summary>
    private const ulong MostSegments = 1 << 18;

    /// <summary>Who has so many holes needs no more to be told.</summary>
    private const int MostProblems = 100;

    /// <summary>So many pages are named; all are counted.</summary>
    private const int MostPages = 1000;

    private static readonly string[] Forks = ["main", "fsm", "vm", "init"];

    private readonly PostgresDocument _document;
    private readonly string _prefix;
    private readonly Lsn _start;
    private readonly Lsn _end;
    private readonly Dictionary<string, long> _tail = new(StringComparer.Ordinal);
    private readonly Dictionary<string, byte[]> _texts = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<RelationPage, UnsoundPage> _unsound = new();
    private long _pages;
    private long _unsoundCount;

    /// <summary>For the backup of which this is the document.</summary>
    /// <exception cref="BackupIQException"><c>CorruptData</c>: the document says what cannot be.</exception>
    public StoredBackup(PostgresDocument document)
    {
        _document = document;
        _prefix = $"/{document.Server}/";
        bool isPossible = document.BlockSize is >= 1024 and <= 32768 && BitOperations.IsPow2(document.BlockSize) && document.SegmentBlocks is > 0 and <= uint.MaxValue
            && document.WalSegmentSize is >= WalSegmentHeader.SmallestSegment and <= WalSegmentHeader.LargestSegment && BitOperations.IsPow2(document.WalSegmentSize)
            && document.Timeline is > 0 and <= uint.MaxValue && Lsn.TryParse(document.WalStartLsn, out _start) && Lsn.TryParse(document.WalEndLsn, out _end) && _start < _end
            && ulong.TryParse(document.SystemIdentifier, NumberStyles.None, CultureInfo.InvariantCulture, out _);
        if (!isPossible || SegmentCount > MostSegments)
        {
            throw new BackupIQException(ErrorCodes.CorruptData, "The snapshot says of the server what cannot be: sizes, timeline or places in the WAL");
        }
    }

    /// <summary>Pages that were looked at.</summary>
    public long Pages => Interlocked.Read(ref _pages);

    /// <summary>The segments of the WAL from the beginning to the end of the backup, which it must have, or its archive.</summary>
    public IReadOnlyList<string> Segments => [.. Names()];

    private ulong SegmentCount => ((_end.Value - 1) / (ulong)_document.WalSegmentSize) - (_start.Value / (ulong)_document.WalSegmentSize) + 1;

    /// <summary>The few bytes that are read even where content is not: label and histories, as far as they were seen.</summary>
    public IReadOnlyList<byte[]> Texts => [.. _tail.Keys.Where(static path => path == LabelPath || path.EndsWith(".history", StringComparison.Ordinal)).Select(path => Encoding.UTF8.GetBytes(_prefix + path))];

    /// <summary>Where <c>pg_control</c> stands in the snapshot.</summary>
    public byte[] Control => Encoding.UTF8.GetBytes(_prefix + ControlPath);

    /// <summary>Tells of a file that is there.</summary>
    public void See(byte[] path, long size)
    {
        if (Below(path) is { } name && name.StartsWith("tail/", StringComparison.Ordinal))
        {
            _tail[name] = size;
        }
    }

    /// <summary>Hears of the content of one of <see cref="Texts"/>, or of <see cref="Control"/>.</summary>
    public ContentListener TextOf(byte[] path)
    {
        string name = Below(path) ?? "";
        _texts[name] = [];
        return (_, bytes) => _texts[name] = _texts[name].Length + bytes.Length > LongestText ? [] : [.. _texts[name], .. bytes];
    }

    /// <summary>What is wrong with the WAL that the snapshot has, as far as names and sizes tell: a sentence each.</summary>
    public IReadOnlyList<string> LogProblems()
    {
        List<string> problems = [];
        HashSet<string> listed = new(_document.Wal, StringComparer.Ordinal);
        foreach (string name in Names().TakeWhile(_ => problems.Count < MostProblems))
        {
            if (!listed.Contains(name))
            {
                problems.Add($"{name} is not in the backup's list: its WAL has a hole there.");
            }
            else if (!_tail.TryGetValue(WalFolder + name, out long there))
            {
                problems.Add($"{name} is missing in the snapshot: its WAL has a hole there.");
            }
            else if (there != _document.WalSegmentSize)
            {
                problems.Add($"{name} has {there} bytes where a segment has {_document.WalSegmentSize}.");
            }
        }

        return problems;
    }

    /// <summary>Where in the snapshot a segment stands.</summary>
    public byte[] PathOf(string segment) => Encoding.UTF8.GetBytes($"{_prefix}{WalFolder}{segment}");

    /// <summary>What is wrong with the histories: a timeline that came from another one has one that leads to it. A sentence each.</summary>
    public IReadOnlyList<string> HistoryProblems()
    {
        if (_document.Timeline == 1)
        {
            return [];
        }

        string name = WalFileName.OfHistory((uint)_document.Timeline).ToString();
        return !_texts.TryGetValue(WalFolder + name, out byte[]? bytes) ? [$"{name} is missing: it is not known where timeline {_document.Timeline} comes from."]
            : TimelineHistory.Read((uint)_document.Timeline, bytes, out string problem) is not { Ancestors.Count: > 0 } ? [$"{name} does not say where timeline {_document.Timeline} comes from{(problem.Length > 0 ? ": " + problem : "")}."]
            : [];
    }

    /// <summary>Where <c>backup_label</c>, <c>tablespace_map</c> and the document do not agree: a sentence each.</summary>
    public IReadOnlyList<string> LabelProblems()
    {
        if (!_texts.TryGetValue(LabelPath, out byte[]? bytes))
        {
            return ["backup_label is missing: a server that starts from this would not know where to recover from, and be damaged."];
        }

        List<string> problems = [];
        try
        {
            BackupLabel label = BackupLabel.Parse(Encoding.UTF8.GetString(bytes));
            string start = new Lsn(label.StartLsn).ToString();
            Differ(problems, "the WAL begins", start, _document.WalStartLsn);
            Differ(problems, "the first segment", label.StartSegment, WalFileName.OfPlace((uint)_document.Timeline, _start, (uint)_document.WalSegmentSize).ToString());
            Differ(problems, "the timeline", $"{label.Timeline}", $"{_document.Timeline}");
        }
        catch (BackupIQException)
        {
            problems.Add("backup_label says neither where the WAL begins nor on which timeline.");
        }

        if (_document.Tablespaces.Count > 0 && !_tail.ContainsKey(MapPath))
        {
            problems.Add("tablespace_map is missing, and the backup has tablespaces.");
        }

        return problems;

        static void Differ(List<string> problems, string what, string label, string document)
        {
            if (label != document)
            {
                problems.Add($"Of {what} backup_label says {label}, the snapshot {document}.");
            }
        }
    }

    /// <summary>What is wrong with <c>pg_control</c>, whose content must have been told: a sentence each.</summary>
    public IReadOnlyList<string> ControlProblems()
    {
        if (!_texts.TryGetValue(ControlPath, out byte[]? bytes))
        {
            return ["global/pg_control is missing: no server starts without it."];
        }

        if (ControlFile.TryRead(bytes) is not { } control)
        {
            return ["The checksum of global/pg_control does not hold, or it is of a version that is not known."];
        }

        List<string> problems = [];
        Differ("system identifier", control.SystemIdentifier.ToString(CultureInfo.InvariantCulture), _document.SystemIdentifier);
        Differ("catalog version", $"{control.CatalogVersion}", $"{_document.CatalogVersion}");
        Differ("block size", $"{control.BlockSize}", $"{_document.BlockSize}");
        Differ("size of WAL segments", $"{control.WalSegmentSize}", $"{_document.WalSegmentSize}");
        Differ("timeline", $"{control.Timeline}", $"{_document.Timeline}");
        return problems;

        void Differ(string what, string inControl, string inDocument)
        {
            if (inControl != inDocument)
            {
                problems.Add($"global/pg_control is of {what} {inControl}, the backup of {inDocument}.");
            }
        }
    }

    /// <summary>Who hears of a file's content and looks at its pages; null: it is no relation's.</summary>
    public ContentListener? PagesOf(byte[] path)
    {
        if (Below(path) is not { } below || Locate(below) is not { } found || !RelationName.TryParse(Encoding.UTF8.GetBytes(found.File), out RelationName relation))
        {
            return null;
        }

        int size = _document.BlockSize;
        return (offset, bytes) =>
        {
            Interlocked.Add(ref _pages, (bytes.Length + size - 1) / size);
            for (int at = 0; at < bytes.Length; at += size)
            {
                ReadOnlySpan<byte> page = bytes[at..Math.Min(at + size, bytes.Length)];
                uint block = unchecked((uint)((relation.Segment * (ulong)_document.SegmentBlocks) + (ulong)((offset + at) / size)));
                if (page.Length < size || !PageCheck.IsSound(page, block, _document.Checksums))
                {
                    Note(new RelationPage(found.Tablespace, found.Database, relation.Number, Array.IndexOf(Forks, relation.Fork), block), new UnsoundPage(found.Relative, block));
                }
            }
        };
    }

    /// <summary>
    /// The log, to be told of from its first segment to its last, when all pages were: a page that is not sound and that the log writes anew was torn by the backup
    /// that read it, and recovery mends it.
    /// </summary>
    public StoredLog OpenLog() => new(_document, _end, page => _unsound.TryRemove(page, out _));

    /// <summary>The pages that are not sound and that the log does not mend, sorted, with how many of them the backup did not tell of.</summary>
    public (IReadOnlyList<UnsoundPage> Pages, long Untold) UnsoundPages()
    {
        UnsoundPage[] pages = [.. _unsound.Values.OrderBy(static page => page.Path, StringComparer.Ordinal).ThenBy(static page => page.Block)];
        HashSet<UnsoundPage> told = [.. _document.PageErrors.Select(static error => new UnsoundPage(error.Path, error.Block))];
        return (pages, pages.Count(page => !told.Contains(page)));
    }

    /// <summary>Pages that were not sound when they were read, those that the log mends among them.</summary>
    public long UnsoundCount => Interlocked.Read(ref _unsoundCount);

    private IEnumerable<string> Names() => Enumerable.Range(0, (int)SegmentCount)
        .Select(number => WalFileName.OfSegment((uint)_document.Timeline, (_start.Value / (ulong)_document.WalSegmentSize) + (ulong)number, (uint)_document.WalSegmentSize).ToString());

    private void Note(RelationPage key, UnsoundPage page)
    {
        if (Interlocked.Increment(ref _unsoundCount) <= MostPages)
        {
            _unsound[key] = page;
        }
    }

    private string? Below(byte[] path)
    {
        string text = Encoding.UTF8.GetString(path);
        return text.StartsWith(_prefix, StringComparison.Ordinal) ? text[_prefix.Length..] : null;
    }

    // Where relations' files lie: base/DATABASE, global, and in a tablespace VERSION/DATABASE.
    private static (string Relative, string File, uint Tablespace, uint Database)? Locate(string below)
    {
        string[] names = below.Split('/');
        return names switch
        {
            ["data", "global", var file] => ($"global/{file}", file, PostgresProbe.GlobalTablespace, 0),
            ["data", "base", var database, var file] when Oid(database, out uint oid) => ($"base/{database}/{file}", file, DefaultTablespace, oid),
            ["data", "pg_tblspc", var space, var version, var database, var file] when Oid(space, out uint place) && Oid(database, out uint oid) =>
                ($"pg_tblspc/{space}/{version}/{database}/{file}", file, place, oid),
            ["tablespaces", var space, var version, var database, var file] when Oid(space, out uint place) && Oid(database, out uint oid) =>
                ($"pg_tblspc/{space}/{version}/{database}/{file}", file, place, oid),
            _ => null,
        };

        static bool Oid(string text, out uint oid) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out oid);
    }
}
