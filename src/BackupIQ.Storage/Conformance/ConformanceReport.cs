using BackupIQ.Primitives;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Storage.Conformance;

/// <summary>What came of trying one guarantee.</summary>
public enum GuaranteeState
{
    /// <summary>It held.</summary>
    Held,

    /// <summary>The storage does not promise it, and what uses the storage does without.</summary>
    NotOffered,

    /// <summary>The storage promises it and did not keep it, or failed.</summary>
    Broken,

    /// <summary>It was not tried, because of what was seen before.</summary>
    NotTried,
}

/// <summary>One guarantee that a repository relies on, and what was seen of it.</summary>
/// <param name="Name">In a word or three: <c>put if absent</c>.</param>
/// <param name="State">Whether it held.</param>
/// <param name="Seen">What was tried and seen, as a sentence without its full stop.</param>
/// <param name="Guidance">What to do; null where there is nothing to do.</param>
/// <param name="Took">How long it took.</param>
public sealed record GuaranteeResult(string Name, GuaranteeState State, string Seen, string? Guidance, TimeSpan Took);

/// <summary>What a storage showed when it was tried.</summary>
public sealed record ConformanceReport
{
    /// <summary>The folder of the storage in which it was tried.</summary>
    public required string Folder { get; init; }

    /// <summary>All guarantees, in the order in which they were tried.</summary>
    public required IReadOnlyList<GuaranteeResult> Guarantees { get; init; }

    /// <summary>How long single requests took, one after the other; empty when it did not come to that.</summary>
    public required IReadOnlyDictionary<StorageOperation, LatencyReport> Latencies { get; init; }

    /// <summary>Bytes a second with which the large object was put; null: none was.</summary>
    public double? UploadRate { get; init; }

    /// <summary>Bytes a second with which it was read.</summary>
    public double? DownloadRate { get; init; }

    /// <summary>How far the storage's clock is ahead of this machine's (negative: behind), as far as can be told; null: not known.</summary>
    public TimeSpan? ClockSkew { get; init; }

    /// <summary>What could not be removed again.</summary>
    public required IReadOnlyList<string> LeftBehind { get; init; }

    /// <summary>The failure after which nothing more was tried; null: all was.</summary>
    public ErrorCode? StoppedBy { get; init; }
}
