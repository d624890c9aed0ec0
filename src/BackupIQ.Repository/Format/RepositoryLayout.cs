using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Repository.Logs;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>
/// Where each kind of object stands. Names are format. Ids of packs, snapshots and sessions are lower-case hex; whatever else stands
/// under these prefixes, or beside them, is unknown to this version: kept, never collected.
/// </summary>
public static class RepositoryLayout
{
    public const string ConfigurationPrefix = "config/";
    public const string KeyPrefix = "keys/";
    public const string DataPackPrefix = "d/";
    public const string MetadataPackPrefix = "m/";
    public const string IndexPrefix = "i/";
    public const string SessionPrefix = "l/";
    public const string SnapshotPrefix = "s/";
    public const string PartialSnapshotPrefix = "sp/";
    public const string AnnotationPrefix = "a/";
    public const string WithdrawalPrefix = "f/";
    public const string MarkPrefix = "g/";
    public const string LogPrefix = "w/";

    /// <summary>What the name of a piece of an unfinished file of a log ends with: it goes when that file is whole.</summary>
    public const string LogPieceSuffix = ".piece";

    public const string FactsPrefix = "x/";
    public const string PlanPrefix = "p/";
    public const string ParityPrefix = "e/";
    public const string LedgerPrefix = "v/";

    private const string MendedSuffix = ".mended";

    /// <summary>What stands behind a session's name: it was announced, a sign of life (and its number), it is over, it was fenced off.</summary>
    public const string OpenPart = "open";
    public const string BeatPart = "beat.";
    public const string EndPart = "end";
    public const string FencePart = "fence";

    /// <summary>
    /// What a writer has no need to put: configuration, key slots, what takes protection away, marks, plans. Whoever may only add is kept from these.
    /// </summary>
    public static IReadOnlyList<string> MaintainerPrefixes { get; } = [ConfigurationPrefix, KeyPrefix, WithdrawalPrefix, MarkPrefix, PlanPrefix];

    /// <summary>One of the two copies (<c>a</c> or <c>b</c>) of a generation of the configuration: <c>config/a.00000001</c>.</summary>
    public static StorageKey Configuration(char copy, int generation)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(generation);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(generation, 99_999_999);
        return copy is 'a' or 'b'
            ? new StorageKey($"{ConfigurationPrefix}{copy}.{generation:d8}")
            : throw new ArgumentOutOfRangeException(nameof(copy), copy, "The copies are a and b.");
    }

    /// <summary>Reads the copy and the generation out of a name under <see cref="ConfigurationPrefix"/>; false for other names.</summary>
    public static bool TryParseConfiguration(StorageKey key, out char copy, out int generation)
    {
        copy = default;
        generation = 0;
        string name = key.Value;
        if (name.Length != ConfigurationPrefix.Length + 10 || !name.StartsWith(ConfigurationPrefix, StringComparison.Ordinal))
        {
            return false;
        }

        ReadOnlySpan<char> rest = name.AsSpan(ConfigurationPrefix.Length);
        if (rest[0] is not ('a' or 'b') || rest[1] != '.' || rest[2..].ContainsAnyExceptInRange('0', '9'))
        {
            return false;
        }

        copy = rest[0];
        generation = int.Parse(rest[2..], CultureInfo.InvariantCulture);
        return generation > 0;
    }

    /// <summary>A key slot; its id is 32 hex digits.</summary>
    public static StorageKey KeySlot(string slotId) => new(KeyPrefix + slotId);

    /// <summary>One of the two copies (<c>a</c> or <c>b</c>) of the object that begins a key epoch: <c>keys/epoch.00002.a</c>.</summary>
    public static StorageKey KeyEpoch(ushort epoch, char copy) => new($"{KeyPrefix}epoch.{epoch:d5}.{copy}");

    /// <summary>Reads epoch and copy out of a name under <see cref="KeyPrefix"/>; false for other names.</summary>
    public static bool TryParseKeyEpoch(StorageKey key, out ushort epoch, out char copy)
    {
        epoch = 0;
        copy = key.Value[^1];
        string name = key.Value;
        return name.Length == KeyPrefix.Length + 13 && name.StartsWith(KeyPrefix + "epoch.", StringComparison.Ordinal) && name[^2] == '.' && copy is ('a' or 'b')
            && ushort.TryParse(name.AsSpan(KeyPrefix.Length + 6, 5), NumberStyles.None, CultureInfo.InvariantCulture, out epoch);
    }

    /// <summary>A pack by the BLAKE3 of its bytes; data and metadata stand apart, so that metadata may lie in a hotter tier.</summary>
    public static StorageKey Pack(PackKind kind, PackId pack)
    {
        string id = pack.ToString();
        return new StorageKey($"{PackPrefix(kind)}{id.AsSpan(0, 2)}/{id}");
    }

    /// <summary>Reads kind and id out of a pack's name; false for other names.</summary>
    public static bool TryParsePack(StorageKey key, out PackKind kind, out PackId pack)
    {
        string name = key.Value;
        kind = name.StartsWith(DataPackPrefix, StringComparison.Ordinal) ? PackKind.Data : PackKind.Metadata;
        return PackId.TryParse(name.AsSpan(name.LastIndexOf('/') + 1), out pack) && Pack(kind, pack) == key;
    }

    /// <summary>The prefix under which packs of a kind stand.</summary>
    public static string PackPrefix(PackKind kind) => kind switch
    {
        PackKind.Data => DataPackPrefix,
        PackKind.Metadata => MetadataPackPrefix,
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "Unknown kind of pack."),
    };

    /// <summary>
    /// An index segment by the session that wrote it, its level (0 what the session stored itself, above that what a compaction put together)
    /// and a running number.
    /// </summary>
    public static StorageKey Index(SessionId session, int level, int sequence) =>
        new($"{IndexPrefix}{session}.{NotNegative(level)}.{NotNegative(sequence)}");

    /// <summary>What opens a session.</summary>
    public static StorageKey SessionOpen(SessionId session) => new($"{SessionPrefix}{session}.{OpenPart}");

    /// <summary>A session's <paramref name="number"/>th sign of life.</summary>
    public static StorageKey SessionBeat(SessionId session, long number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        return new($"{SessionPrefix}{session}.{BeatPart}{number}");
    }

    /// <summary>What ends a session: nothing more will come of it.</summary>
    public static StorageKey SessionEnd(SessionId session) => new($"{SessionPrefix}{session}.{EndPart}");

    /// <summary>A session's snapshot, or the fence that keeps it from committing: the same name, so that only one of them can be there.</summary>
    public static StorageKey Snapshot(SessionId session) => new($"{SnapshotPrefix}{session}");

    /// <summary>A session's fence where puts are not conditional and it cannot stand in the snapshot's own place.</summary>
    public static StorageKey Fence(SessionId session) => new($"{SessionPrefix}{session}.{FencePart}");

    /// <summary>The annotation by which a snapshot counts for readers where puts are not conditional.</summary>
    public static StorageKey Confirmation(SessionId snapshot) => new($"{Annotations(snapshot)}confirmed");

    /// <summary>A session's <paramref name="number"/>th partial snapshot.</summary>
    public static StorageKey Partial(SessionId session, int number) =>
        new($"{PartialSnapshotPrefix}{session}.{NotNegative(number)}");

    /// <summary>The number of a partial snapshot among those of its session; -1 for other names.</summary>
    public static int PartialNumber(string name)
    {
        int dot = name.LastIndexOf('.');
        return name.StartsWith(PartialSnapshotPrefix, StringComparison.Ordinal) && dot > 0 &&
            int.TryParse(name.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : -1;
    }

    /// <summary>All that is said about one snapshot.</summary>
    public static string Annotations(SessionId snapshot) => $"{AnnotationPrefix}{snapshot}/";

    /// <summary>All that takes something away from one snapshot.</summary>
    public static string Withdrawals(SessionId snapshot) => $"{WithdrawalPrefix}{snapshot}/";

    /// <summary>
    /// One of the two copies (<c>a</c> or <c>b</c>) of something that is said about a snapshot: an annotation, or a withdrawal.
    /// <paramref name="unique"/> is a random id.
    /// </summary>
    public static StorageKey Annotation(SessionId snapshot, SessionId unique, bool isWithdrawal, char copy) => copy is 'a' or 'b'
        ? new StorageKey($"{(isWithdrawal ? Withdrawals(snapshot) : Annotations(snapshot))}{unique}.{copy}")
        : throw new ArgumentOutOfRangeException(nameof(copy), copy, "The copies are a and b.");

    /// <summary>
    /// Reads a name under <see cref="AnnotationPrefix"/> or <see cref="WithdrawalPrefix"/>. True when it belongs to a snapshot;
    /// <paramref name="unique"/> is null when the rest of the name is none that this version gives.
    /// </summary>
    public static bool TryParseAnnotation(StorageKey key, out SessionId snapshot, out bool isWithdrawal, out SessionId? unique, out char copy)
    {
        snapshot = default;
        unique = null;
        copy = default;
        string name = key.Value;
        isWithdrawal = name.StartsWith(WithdrawalPrefix, StringComparison.Ordinal);
        int prefix = isWithdrawal ? WithdrawalPrefix.Length : AnnotationPrefix.Length;
        const int id = 2 * SessionId.Size;
        if ((!isWithdrawal && !name.StartsWith(AnnotationPrefix, StringComparison.Ordinal)) || name.Length < prefix + id + 1 ||
            !SessionId.TryParse(name.AsSpan(prefix, id), out snapshot) || name[prefix + id] != '/')
        {
            return false;
        }

        ReadOnlySpan<char> rest = name.AsSpan(prefix + id + 1);
        if (rest.Length == id + 2 && rest[id] == '.' && rest[id + 1] is 'a' or 'b' && SessionId.TryParse(rest[..id], out SessionId parsed))
        {
            unique = parsed;
            copy = rest[id + 1];
        }

        return true;
    }

    /// <summary>A part of the plan of destructive work: <c>p/forget.&lt;random&gt;.&lt;n&gt;</c>.</summary>
    public static StorageKey Plan(string verb, SessionId unique, int part) => new($"{PlanPrefix}{verb}.{unique}.{NotNegative(part)}");

    /// <summary>A piece of the ledger of verifications, by the run that wrote it and a running number.</summary>
    public static StorageKey Ledger(SessionId run, int number) => new($"{LedgerPrefix}{run}.{NotNegative(number)}");

    /// <summary>Reads the run out of the name of a piece of the ledger; false for other names.</summary>
    public static bool TryParseLedger(StorageKey key, out SessionId run)
    {
        run = default;
        const int end = 2 * SessionId.Size;
        string name = key.Value;
        return name.StartsWith(LedgerPrefix, StringComparison.Ordinal) && name.Length > LedgerPrefix.Length + end + 1 &&
            name[LedgerPrefix.Length + end] == '.' && !name.AsSpan(LedgerPrefix.Length + end + 1).ContainsAnyExceptInRange('0', '9') &&
            SessionId.TryParse(name.AsSpan(LedgerPrefix.Length, end), out run);
    }

    /// <summary>The mark of a pack that will be collected.</summary>
    public static StorageKey Mark(PackId pack) => new(MarkPrefix + pack);

    /// <summary>Reads the pack out of a mark's name; false for other names.</summary>
    public static bool TryParseMark(StorageKey key, out PackId pack)
    {
        pack = default;
        string name = key.Value;
        return name.StartsWith(MarkPrefix, StringComparison.Ordinal) && name.Length >= MarkPrefix.Length + (2 * PackId.Size) &&
            PackId.TryParse(name.AsSpan(MarkPrefix.Length, 2 * PackId.Size), out pack);
    }

    /// <summary>Reads the session and what of it this is (<see cref="OpenPart"/> and so on) out of a name; false for other names.</summary>
    public static bool TryParseSession(StorageKey key, out SessionId session, out ReadOnlySpan<char> part)
    {
        session = default;
        part = default;
        const int At = 2 * SessionId.Size;
        ReadOnlySpan<char> name = key.Value;
        if (!name.StartsWith(SessionPrefix) || name.Length < SessionPrefix.Length + At + 2 || name[SessionPrefix.Length + At] != '.')
        {
            return false;
        }

        part = name[(SessionPrefix.Length + At + 1)..];
        return SessionId.TryParse(name.Slice(SessionPrefix.Length, At), out session);
    }

    /// <summary>Reads session, level and running number out of an index segment's name; false for other names.</summary>
    public static bool TryParseIndex(StorageKey key, out SessionId session, out int level, out int sequence)
    {
        session = default;
        level = sequence = 0;
        const int At = 2 * SessionId.Size;
        ReadOnlySpan<char> name = key.Value;
        if (!name.StartsWith(IndexPrefix) || name.Length < IndexPrefix.Length + At + 4 || name[IndexPrefix.Length + At] != '.' ||
            !SessionId.TryParse(name.Slice(IndexPrefix.Length, At), out session))
        {
            return false;
        }

        ReadOnlySpan<char> numbers = name[(IndexPrefix.Length + At + 1)..];
        int dot = numbers.IndexOf('.');
        return dot > 0 && int.TryParse(numbers[..dot], NumberStyles.None, CultureInfo.InvariantCulture, out level) &&
            int.TryParse(numbers[(dot + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out sequence);
    }

    /// <summary>The parity of another object with so many parity shards.</summary>
    public static StorageKey Parity(StorageKey subject, int parityShards) => new($"{ParityPrefix}{subject}.{NotNegative(parityShards)}");

    /// <summary>A mended copy of an object on its way to the object's own name.</summary>
    public static StorageKey MendedCopy(StorageKey subject) => new($"{ParityPrefix}{subject}{MendedSuffix}");

    /// <summary>
    /// Reads the name of a parity object: whose it is and its number of parity shards, 0 for a mended copy. False for other names.
    /// </summary>
    public static bool TryParseParity(StorageKey key, out StorageKey subject, out int parityShards)
    {
        subject = default;
        parityShards = 0;
        int dot = key.Value.LastIndexOf('.');
        if (!key.Value.StartsWith(ParityPrefix, StringComparison.Ordinal) || dot < ParityPrefix.Length)
        {
            return false;
        }

        ReadOnlySpan<char> end = key.Value.AsSpan(dot);
        bool isParity = end.Length is 2 or 3 or 4 && end[1] != '0' && int.TryParse(end[1..], NumberStyles.None, CultureInfo.InvariantCulture, out parityShards);
        return (isParity || end.SequenceEqual(MendedSuffix)) && StorageKey.TryCreate(key.Value[ParityPrefix.Length..dot], out subject);
    }

    /// <summary>All objects of a series of logs.</summary>
    public static string Logs(LogSeries series) => $"{LogPrefix}{series}/";

    /// <summary>One file of a series of logs; <paramref name="group"/> is what sets some of them apart, as a timeline: <c>w/&lt;series&gt;/00000001/…</c>.</summary>
    public static StorageKey Log(LogSeries series, string group, string name) => new($"{LogPrefix}{series}/{group}/{name}");

    /// <summary>One of the two copies (<c>a</c> or <c>b</c>) of what a series of logs says of itself.</summary>
    public static StorageKey LogDescription(LogSeries series, char copy) => copy is 'a' or 'b'
        ? new StorageKey($"{LogPrefix}{series}/{copy}.series")
        : throw new ArgumentOutOfRangeException(nameof(copy), copy, "The copies are a and b.");

    /// <summary>
    /// Reads the name of a file of a series of logs, or, with an empty <paramref name="group"/>, of what the series says of itself; false for other names.
    /// </summary>
    public static bool TryParseLog(StorageKey key, out LogSeries series, out string group, out string name)
    {
        const int end = 2 * LogSeries.Size;
        series = default;
        group = name = "";
        ReadOnlySpan<char> text = key.Value;
        if (!text.StartsWith(LogPrefix) || text.Length < LogPrefix.Length + end + 2 || text[LogPrefix.Length + end] != '/' ||
            !LogSeries.TryParse(text.Slice(LogPrefix.Length, end), out series))
        {
            return false;
        }

        ReadOnlySpan<char> rest = text[(LogPrefix.Length + end + 1)..];
        int slash = rest.IndexOf('/');
        if (slash < 0)
        {
            name = rest.ToString();
            return name is "a.series" or "b.series";
        }

        group = rest[..slash].ToString();
        name = rest[(slash + 1)..].ToString();
        return !name.Contains('/', StringComparison.Ordinal);
    }

    private static int NotNegative(int value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        return value;
    }
}
