using System.Text.Json;
using System.Text.Json.Serialization;

namespace BackupIQ.Repository.Sessions;

/// <summary>What a session says of itself when it opens: who holds it, so that people and sweepers can tell whether it lives.</summary>
public sealed record SessionDocument
{
    /// <summary>What the session does: <c>backup</c>, <c>restore</c>, <c>check</c>, …</summary>
    public required string Purpose { get; init; }

    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public int ProcessId { get; init; }

    /// <summary>The kernel's id of this boot: a session of another boot of the same machine is dead.</summary>
    public string BootId { get; init; } = "";

    public DateTimeOffset Opened { get; init; }

    public string ProgramVersion { get; init; } = "";

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SessionDocument))]
internal sealed partial class SessionJson : JsonSerializerContext;
