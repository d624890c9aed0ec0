using BackupIQ.Primitives;

namespace BackupIQ.Repository.Sessions;

/// <summary>How a session writes.</summary>
public sealed record UploadOptions
{
    /// <summary>What the session does, for people: <c>backup</c>.</summary>
    public string Purpose { get; init; } = "backup";

    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public string ProgramVersion { get; init; } = "";

    /// <summary>As the command line takes it.</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Packs on their way to the storage at once. 2: one is made durable while the next fills up.</summary>
    public int Connections { get; init; } = 2;

    /// <summary>Bytes of a data pack. 32 MiB: few objects, and little lost when a run is killed.</summary>
    public long PackSize { get; init; } = 32L << 20;

    /// <summary>
    /// Bytes of packs after which an index segment is written, whatever the time. Null: the session decides: after a 64th of what the run has stored, but where requests
    /// cost something at least 256 MiB; or a 64th of its time, between 15 seconds and five minutes.
    /// </summary>
    public long? IndexEvery { get; init; }

    /// <summary>Bytes of packs after which an index segment is written at the latest, where the session itself decides; null: it decides alone.</summary>
    public long? IndexAtLatest { get; init; }

    /// <summary>For tests: the session's id; else it is random.</summary>
    internal SessionId? Id { get; init; }

    /// <summary>Store nothing: chunks are claimed and counted, frames are dropped.</summary>
    public bool DryRun { get; init; }
}
