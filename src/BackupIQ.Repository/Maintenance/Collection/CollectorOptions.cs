using BackupIQ.Primitives;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>How a collector goes about it. Immutable.</summary>
public sealed record CollectorOptions
{
    /// <summary>This machine's name, for people.</summary>
    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public string ProgramVersion { get; init; } = "";

    /// <summary>The folder for temporary files; null: the system's.</summary>
    public string? ScratchFolder { get; init; }

    /// <summary>Bytes of a data pack that is written.</summary>
    public long PackSize { get; init; } = 32L << 20;

    /// <summary>As the command line takes it, for frames that are put together anew.</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Bytes of an index segment that compaction writes, before sealing. 16 MiB: half a million chunks, and little to hold in memory.</summary>
    public long SegmentSize { get; init; } = 16L << 20;

    /// <summary>A session whose beat has not changed for so long is taken for dead. 15 minutes: a writer beats every three.</summary>
    public TimeSpan Lease { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>A session that has given the storage no sign for so long, by the storage's clock, is taken for dead without being watched.</summary>
    public TimeSpan Abandoned { get; init; } = TimeSpan.FromDays(1);

    /// <summary>How often sessions are looked after while they are waited for.</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Partial snapshots older than this are no roots any more. 14 days: a run that was interrupted is taken up in a day or two.</summary>
    public TimeSpan PartialAge { get; init; } = TimeSpan.FromDays(14);

    /// <summary>For tests: the id of the collector's session; else it is random.</summary>
    internal SessionId? Id { get; init; }

    /// <summary>Faults that tests plant; see there.</summary>
    internal ProtocolSwitches Switches { get; init; } = ProtocolSwitches.None;
}

/// <summary>
/// For tests alone: each switch breaks one rule of the protocol (docs/format.md, Collection), so that the exploration of its interleavings can
/// show that it finds what goes wrong without that rule. Nothing outside the tests can set one.
/// </summary>
internal sealed record ProtocolSwitches
{
    /// <summary>The protocol as it is.</summary>
    public static ProtocolSwitches None { get; } = new();

    /// <summary>Sessions are listed before the marks are put.</summary>
    public bool ListSessionsBeforeMarking { get; init; }

    /// <summary>Marked packs count as holders of what is needed.</summary>
    public bool CountMarkedHolders { get; init; }

    /// <summary>A mark is taken back when its pack turns out to be needed, instead of copying what is.</summary>
    public bool TakeMarksBack { get; init; }

    /// <summary>Without conditional put: snapshots that are not confirmed do not count.</summary>
    public bool CountConfirmedOnly { get; init; }

    /// <summary>No tombstones are put.</summary>
    public bool PutNoTombstones { get; init; }

    /// <summary>Of several packs with a chunk another one is kept: not a fault, but two collectors that differ meet more of each other.</summary>
    public bool PreferOtherHolder { get; init; }
}
