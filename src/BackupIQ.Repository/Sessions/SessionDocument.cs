using System.Text.Json;
using System.Text.Json.Serialization;

namespace BackupIQ.Repository.Sessions;

/// <summary>What a session says of itself when it opens: who holds it, so that people, sweepers and collectors can tell whether it lives.</summary>
public sealed record SessionDocument
{
    /// <summary>What the session does: one of <see cref="SessionPurpose"/>, or what another version names so.</summary>
    public required string Purpose { get; init; }

    /// <summary>The host for which it works: that of the snapshot, which may be another's name than this machine's.</summary>
    public required string Hostname { get; init; }

    /// <summary>The machine on which its process runs.</summary>
    public string MachineName { get; init; } = "";

    public string Username { get; init; } = "";

    public int ProcessId { get; init; }

    /// <summary>When the process began, in the kernel's ticks since its boot: a number that another process with the same id does not have. 0: not known.</summary>
    public long ProcessStarted { get; init; }

    /// <summary>The namespace in which <see cref="ProcessId"/> means something; empty where there are none.</summary>
    public string PidNamespace { get; init; } = "";

    /// <summary>The kernel's id of this boot: a session of another boot of the same machine is dead.</summary>
    public string BootId { get; init; } = "";

    /// <summary>The machine's own id, which outlives its boots; empty where there is none.</summary>
    public string MachineId { get; init; } = "";

    public DateTimeOffset Opened { get; init; }

    public string ProgramVersion { get; init; } = "";

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>What sessions do. The words are format: collectors go by them.</summary>
public static class SessionPurpose
{
    /// <summary>Stores chunks and commits a snapshot.</summary>
    public const string Backup = "backup";

    /// <summary>Stores again what another repository has; commits a snapshot or nothing.</summary>
    public const string Copy = "copy";

    /// <summary>Collects, compacts and sweeps; several may do so at once and do not wait for each other.</summary>
    public const string Prune = "prune";

    /// <summary>Reads a snapshot out; while it lives nothing that it may need is taken away.</summary>
    public const string Restore = "restore";

    /// <summary>Reads everything; likewise.</summary>
    public const string Check = "check";

    /// <summary>Stores again what can be read of damaged packs and snapshots; commits a snapshot or nothing.</summary>
    public const string Repair = "repair";

    /// <summary>
    /// Whether sessions of this purpose never commit a snapshot, so that a dead one needs no fence: whoever finds it dead may end it.
    /// What is not known may commit.
    /// </summary>
    public static bool NeverCommits(string purpose) => purpose is Prune or Restore or Check;
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SessionDocument))]
internal sealed partial class SessionJson : JsonSerializerContext;
