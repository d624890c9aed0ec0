using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Snapshots;

/// <summary>One thing that is said about a snapshot and still holds.</summary>
public sealed record Annotation
{
    /// <summary>Its own id.</summary>
    public required SessionId Id { get; init; }

    public required AnnotationKind Kind { get; init; }

    /// <summary>When it was said, by the clock of who said it.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>When it was stored, by the storage's clock where it has one.</summary>
    public DateTimeOffset StoredAt { get; init; }

    public string Hostname { get; init; } = "";

    public string Username { get; init; } = "";

    /// <summary>Why; may be empty.</summary>
    public string Reason { get; init; } = "";

    /// <summary>Of a tag.</summary>
    public string Tag { get; init; } = "";

    /// <summary>Of a hold: when it ends by itself; null: never.</summary>
    public DateTimeOffset? Until { get; init; }

    /// <summary>Of a verdict: how deep it was verified.</summary>
    public string Level { get; init; } = "";

    /// <summary>Of a verdict.</summary>
    public bool Passed { get; init; }

    /// <summary>Of a forgetting: how long it can be taken back.</summary>
    public TimeSpan Grace { get; init; }
}

/// <summary>
/// All that is said about one snapshot, put together: a union from which only what is named as withdrawn is missing, so that neither order nor
/// clocks matter. Of an adding and a withdrawing that do not know of each other the adding wins.
/// </summary>
public sealed record SnapshotAnnotations
{
    /// <summary>Nothing is said.</summary>
    public static SnapshotAnnotations None { get; } = new();

    /// <summary>Tags that were added, beside those of the snapshot's own document.</summary>
    public IReadOnlyList<Annotation> Tags { get; init; } = [];

    /// <summary>Tags of the snapshot's own document that no longer hold.</summary>
    public IReadOnlySet<string> WithdrawnOwnTags { get; init; } = new HashSet<string>(0);

    public IReadOnlyList<Annotation> Holds { get; init; } = [];

    public IReadOnlyList<Annotation> Pins { get; init; } = [];

    /// <summary>Verifications of its restore, oldest first.</summary>
    public IReadOnlyList<Annotation> Verdicts { get; init; } = [];

    /// <summary>Forgettings that nobody took back. With one of them the snapshot is forgotten.</summary>
    public IReadOnlyList<Annotation> Forgettings { get; init; } = [];

    /// <summary>Somebody is, or was, about to remove the snapshot for good.</summary>
    public bool IsCondemned { get; init; }

    /// <summary>What stands there and cannot be read: it may be a hold, so the snapshot counts as held.</summary>
    public IReadOnlyList<AnnotationObject> Unreadable { get; init; } = [];

    /// <summary>Shown no more, and removed for good when the grace time is over.</summary>
    public bool IsForgotten => Forgettings.Count > 0;

    /// <summary>When the first forgetting's grace time is over: the later of the two clocks that saw it, and the grace.</summary>
    public DateTimeOffset? RemovedFrom => Forgettings.Count == 0 ? null : Forgettings.Min(static f => End(Later(f.Time, f.StoredAt), f.Grace));

    /// <summary>Whether the snapshot may not be removed, whoever asks.</summary>
    public bool IsHeld(DateTimeOffset now) => Unreadable.Count > 0 || Holds.Any(hold => IsInForce(hold, now));

    /// <summary>Whether a hold has not ended by itself.</summary>
    public static bool IsInForce(Annotation hold, DateTimeOffset now) => hold.Until is not { } until || until > now;

    /// <summary>The tags that a snapshot with these of its own has.</summary>
    public IReadOnlyList<string> TagsOf(IReadOnlyList<string> own) =>
        Tags.Count == 0 && WithdrawnOwnTags.Count == 0
            ? own
            : [.. own.Where(tag => !WithdrawnOwnTags.Contains(tag)).Concat(Tags.Select(static t => t.Tag)).Distinct(StringComparer.Ordinal)];

    /// <summary>Puts together what stands about one snapshot.</summary>
    internal static SnapshotAnnotations Of(IEnumerable<AnnotationObject> objects)
    {
        List<(AnnotationObject Object, AnnotationDocument? Document)> read = [.. objects.Select(static o => (o, TryRead(o)))];
        HashSet<string> withdrawn = [.. Named(read, AnnotationKind.Withdraw)];
        HashSet<string> undone = [.. Named(read, AnnotationKind.Undelete)];
        List<Annotation> standing = [];
        List<AnnotationObject> unreadable = [];
        HashSet<string> ownTags = [];
        bool isCondemned = false;
        foreach ((AnnotationObject stored, AnnotationDocument? document) in read)
        {
            string id = stored.Id?.ToString() ?? "";
            if (document is null)
            {
                if (!withdrawn.Contains(id))
                {
                    unreadable.Add(stored);
                }

                continue;
            }

            isCondemned |= document.Kind == AnnotationKind.Condemn;
            ownTags.UnionWith(document.Kind == AnnotationKind.Withdraw ? document.OwnTags ?? [] : []);
            if (!(document.Kind == AnnotationKind.Forget ? undone : withdrawn).Contains(id))
            {
                standing.Add(Of(stored, document));
            }
        }

        standing.Sort(static (a, b) => a.Time != b.Time ? a.Time.CompareTo(b.Time) : a.Id.CompareTo(b.Id));
        return new SnapshotAnnotations
        {
            Tags = [.. standing.Where(static a => a.Kind == AnnotationKind.Tag)],
            WithdrawnOwnTags = ownTags,
            Holds = [.. standing.Where(static a => a.Kind == AnnotationKind.Hold)],
            Pins = [.. standing.Where(static a => a.Kind == AnnotationKind.Pin)],
            Verdicts = [.. standing.Where(static a => a.Kind == AnnotationKind.Verdict)],
            Forgettings = [.. standing.Where(static a => a.Kind == AnnotationKind.Forget)],
            IsCondemned = isCondemned,
            Unreadable = unreadable,
        };
    }

    private static DateTimeOffset End(DateTimeOffset start, TimeSpan grace) =>
        grace < DateTimeOffset.MaxValue - start ? start + grace : DateTimeOffset.MaxValue;

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    private static IEnumerable<string> Named(List<(AnnotationObject Object, AnnotationDocument? Document)> read, AnnotationKind kind) =>
        read.Where(one => one.Document?.Kind == kind).SelectMany(static one => one.Document!.Withdraws ?? []);

    private static AnnotationDocument? TryRead(AnnotationObject stored)
    {
        try
        {
            return stored.Document is { } json && stored.Id is not null ? AnnotationDocument.Read(json, stored.IsWithdrawal) : null;
        }
        catch (CorruptDataException)
        {
            return null;
        }
    }

    private static Annotation Of(AnnotationObject stored, AnnotationDocument document) => new()
    {
        Id = stored.Id!.Value,
        Kind = document.Kind,
        Time = document.Time,
        StoredAt = stored.StoredAt,
        Hostname = document.Hostname,
        Username = document.Username,
        Reason = document.Reason ?? "",
        Tag = document.Tag ?? "",
        Until = document.Until,
        Level = document.Level ?? "",
        Passed = document.Passed ?? false,
        Grace = TimeSpan.FromSeconds(Math.Min(document.Grace ?? 0, MaxGraceSeconds)),
    };

    // A hundred years: what a hostile document may claim must still be a time.
    private const long MaxGraceSeconds = 100L * 365 * 86_400;
}
