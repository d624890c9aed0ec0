using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Snapshots;

/// <summary>What is said about a snapshot. The first five stand under <c>a/</c>, the others take something away and stand under <c>f/</c>.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<AnnotationKind>))]
public enum AnnotationKind
{
    /// <summary>It has a tag.</summary>
    [JsonStringEnumMemberName("tag")]
    Tag,

    /// <summary>It may not be removed at all.</summary>
    [JsonStringEnumMemberName("hold")]
    Hold,

    /// <summary>No rule of retention removes it; whoever names it may.</summary>
    [JsonStringEnumMemberName("pin")]
    Pin,

    /// <summary>Its restore was verified, with this outcome.</summary>
    [JsonStringEnumMemberName("verdict")]
    Verdict,

    /// <summary>The forgetting of it is taken back.</summary>
    [JsonStringEnumMemberName("undelete")]
    Undelete,

    /// <summary>It is forgotten: shown no more, and removed for good when the grace time is over.</summary>
    [JsonStringEnumMemberName("forget")]
    Forget,

    /// <summary>Tags, holds, pins or verdicts no longer hold.</summary>
    [JsonStringEnumMemberName("withdraw")]
    Withdraw,

    /// <summary>It is about to be removed for good.</summary>
    [JsonStringEnumMemberName("condemn")]
    Condemn,
}

/// <summary>The document of an annotation or withdrawal (docs/format.md, Annotations).</summary>
internal sealed record AnnotationDocument
{
    /// <summary>The longest tag or reason: sentences, not documents.</summary>
    public const int MaxText = 4096;

    // Ids in one document; more would not fit into the size that an annotation may have.
    private const int MaxIds = 1000;

    public required AnnotationKind Kind { get; init; }

    public required DateTimeOffset Time { get; init; }

    public string Hostname { get; init; } = "";

    public string Username { get; init; } = "";

    public string ProgramVersion { get; init; } = "";

    public string? Tag { get; init; }

    public DateTimeOffset? Until { get; init; }

    public string? Reason { get; init; }

    /// <summary>Ids of annotations that no longer hold.</summary>
    public IReadOnlyList<string>? Withdraws { get; init; }

    /// <summary>Tags of the snapshot's own document that no longer hold.</summary>
    public IReadOnlyList<string>? OwnTags { get; init; }

    /// <summary>Seconds between a forgetting and the removal for good.</summary>
    public long? Grace { get; init; }

    public string? Level { get; init; }

    public bool? Passed { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    public static bool IsWithdrawal(AnnotationKind kind) => kind >= AnnotationKind.Forget;

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(this, SnapshotJson.Default.AnnotationDocument);

    /// <summary>Reads and checks a document that stands under <c>a/</c>, or, as a withdrawal, under <c>f/</c>.</summary>
    /// <exception cref="CorruptDataException">It is none, or none that this version knows.</exception>
    public static AnnotationDocument Read(byte[] json, bool isWithdrawal)
    {
        AnnotationDocument? document;
        try
        {
            document = JsonSerializer.Deserialize(json, SnapshotJson.Default.AnnotationDocument);
        }
        catch (JsonException e)
        {
            throw new CorruptDataException("this version does not know what it says", e);
        }

        bool isWhole = document is not null && Enum.IsDefined(document.Kind) && IsWithdrawal(document.Kind) == isWithdrawal
            && document.Kind switch
            {
                AnnotationKind.Tag => document.Tag is { Length: > 0 and <= MaxText },
                AnnotationKind.Forget => document.Grace is >= 0,
                AnnotationKind.Verdict => document is { Level.Length: > 0, Passed: not null },
                AnnotationKind.Undelete => document.Withdraws is not null,
                _ => true,
            }
            && (document.Reason?.Length ?? 0) <= MaxText
            && (document.Withdraws ?? []).All(static id => SessionId.TryParse(id, out _))
            && (document.OwnTags ?? []).All(static tag => tag is not null);
        return isWhole ? document! : throw new CorruptDataException("it does not say what an annotation says");
    }

    /// <summary>Ids as a document has them, in as many lists as fit.</summary>
    public static IEnumerable<string[]> IdLists(IEnumerable<SessionId> ids) => ids.Select(static id => id.ToString()).Chunk(MaxIds);
}
