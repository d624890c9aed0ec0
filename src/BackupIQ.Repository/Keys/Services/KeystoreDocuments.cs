using System.Text.Json;
using System.Text.Json.Serialization;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>The clear head of a keystore.</summary>
internal sealed record KeystoreHead
{
    public const int CurrentFormat = 1;

    public required int Format { get; init; }

    /// <summary>The keystore's random id, 32 hex digits; copies of it have the same.</summary>
    public required string Keystore { get; init; }

    /// <summary>32 bytes as hex, drawn anew whenever the file is written: with it the sealing key is derived.</summary>
    public required string Salt { get; init; }

    /// <summary>How the password becomes a key.</summary>
    public required KdfParameters Kdf { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>The sealed part of a keystore.</summary>
internal sealed record KeystoreContent
{
    public required IReadOnlyList<KeystoreKey> Keys { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>A key of a keystore.</summary>
internal sealed record KeystoreKey
{
    public required string Name { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>It refuses to be used. Absent: false.</summary>
    public bool? Disabled { get; init; }

    /// <summary>By number, ascending; the last one wraps.</summary>
    public required IReadOnlyList<KeystoreVersion> Versions { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>A version of a key.</summary>
internal sealed record KeystoreVersion
{
    public required int Version { get; init; }

    public required DateTimeOffset Created { get; init; }

    /// <summary>32 random bytes.</summary>
    public required byte[] Key { get; init; }
}

/// <summary>A line of a keystore's log: who used which key for what, and what came of it.</summary>
internal sealed record KeystoreAuditLine
{
    public required DateTimeOffset Time { get; init; }

    public required string Operation { get; init; }

    /// <summary><c>done</c> or <c>refused</c>.</summary>
    public required string Outcome { get; init; }

    /// <summary>Why it was refused.</summary>
    public string? Reason { get; init; }

    /// <summary>Which service's key; absent in the log of a keystore.</summary>
    public string? Service { get; init; }

    public string? Key { get; init; }

    public int? Version { get; init; }

    public string? Purpose { get; init; }

    public string? Repository { get; init; }

    public string? Subject { get; init; }

    public required string User { get; init; }

    public required string Host { get; init; }

    public required int Process { get; init; }
}
