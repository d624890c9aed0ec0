using BackupIQ.Storage;
using BackupIQ.Storage.Conformance;

namespace BackupIQ.Jobs;

/// <summary>What trying a storage showed.</summary>
public sealed record StorageTestReport
{
    /// <summary>The storage, without secrets.</summary>
    public required string Location { get; init; }

    /// <summary>The folder of it in which it was tried.</summary>
    public required string Folder { get; init; }

    /// <summary>What a repository relies on, in the order in which it was tried.</summary>
    public required IReadOnlyList<StorageGuaranteeInfo> Guarantees { get; init; }

    /// <summary>What the storage says that it can do.</summary>
    public required StorageCapabilityInfo Capabilities { get; init; }

    /// <summary>Its space.</summary>
    public required StorageInfo Space { get; init; }

    /// <summary>How long single requests took, one after the other, by kind (<c>put</c>, <c>read</c> …); empty when it did not come to that.</summary>
    public required IReadOnlyDictionary<string, StorageLatencyInfo> Latencies { get; init; }

    /// <summary>Bytes a second with which a large object was put; null: none was.</summary>
    public double? UploadRate { get; init; }

    /// <summary>Bytes a second with which it was read.</summary>
    public double? DownloadRate { get; init; }

    /// <summary>How far the storage's clock is ahead of this machine's (negative: behind); null: not known.</summary>
    public TimeSpan? ClockSkew { get; init; }

    /// <summary>How the provider did meanwhile; null for a storage on this machine.</summary>
    public StorageHealthInfo? Health { get; init; }

    /// <summary>What could not be removed again.</summary>
    public required IReadOnlyList<string> LeftBehind { get; init; }

    /// <summary>0 when everything held, 14 when something did not; else the code of the failure after which nothing more was tried.</summary>
    public required int ExitCode { get; init; }
}

/// <summary>One thing that a repository relies on.</summary>
/// <param name="Name">In a word or three: <c>put if absent</c>.</param>
/// <param name="State"><c>held</c>, <c>not offered</c> (what uses the storage does without), <c>broken</c> or <c>not tried</c>.</param>
/// <param name="Seen">What was tried and seen.</param>
/// <param name="Guidance">What to do; null where there is nothing to do.</param>
/// <param name="Took">How long it took.</param>
public sealed record StorageGuaranteeInfo(string Name, string State, string Seen, string? Guidance, TimeSpan Took)
{
    internal static StorageGuaranteeInfo From(GuaranteeResult result) => new(
        result.Name,
        result.State switch { GuaranteeState.Held => "held", GuaranteeState.NotOffered => "not offered", GuaranteeState.Broken => "broken", _ => "not tried" },
        result.Seen,
        result.Guidance,
        result.Took);
}

/// <summary>What a storage says that it can do.</summary>
/// <param name="ConditionalPut">It refuses itself to replace what is there, also when two put at once.</param>
/// <param name="ListingLag">How long a listing may miss what was put.</param>
/// <param name="HasStoreClock">Whether the times of objects are the storage's.</param>
/// <param name="IsLocal">Whether it is a disk of this machine.</param>
/// <param name="Mount">What its folder is mounted from, where that is no disk of this machine; null otherwise.</param>
/// <param name="KeepsVersions">Whether what is deleted is kept as an older version; null: it does not tell.</param>
/// <param name="LocksFor">How long objects that matter are locked when they are put; null: no lock was asked for.</param>
/// <param name="Checksum">The checksum that goes with each put; null: none.</param>
/// <param name="ServerEncryption">How the storage encrypts, as it was asked to and said that it does; null: it was not asked.</param>
public sealed record StorageCapabilityInfo(
    bool ConditionalPut, TimeSpan ListingLag, bool HasStoreClock, bool IsLocal, string? Mount, bool? KeepsVersions, TimeSpan? LocksFor, string? Checksum, string? ServerEncryption)
{
    internal static StorageCapabilityInfo From(StorageCapabilities can) =>
        new(can.ConditionalPut, can.ListingLag, can.HasStoreClock, can.IsLocal, can.Mount, can.KeepsVersions, can.LocksFor, can.Checksum, can.ServerEncryption);
}

/// <summary>Space of a storage in bytes; null is unknown.</summary>
/// <param name="Total">All of it.</param>
/// <param name="Used">What is taken, by whomever.</param>
/// <param name="Free">What this account may still use.</param>
/// <param name="At">When it was asked.</param>
public sealed record StorageInfo(long? Total, long? Used, long? Free, DateTimeOffset At)
{
    internal static StorageInfo From(StorageSpace space, DateTimeOffset at) => new(space.Total, space.Used, space.Free, at);
}
