using System.Text.Json;
using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Tests.Golden;

/// <summary>What a golden repository's snapshots.json says of a snapshot.</summary>
internal sealed record GoldenSnapshot
{
    public static JsonSerializerOptions Json { get; } = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public required string Id { get; init; }

    public required string Name { get; init; }

    public required DateTimeOffset Time { get; init; }

    public required string Hostname { get; init; }

    public required string Username { get; init; }

    public required string Kind { get; init; }

    public required string Type { get; init; }

    public required IReadOnlyList<string> Paths { get; init; }

    /// <summary>As they are with what was said later.</summary>
    public required IReadOnlyList<string> Tags { get; init; }

    public required string? Parent { get; init; }

    public required string Tree { get; init; }

    public required long? Files { get; init; }

    public required long? Bytes { get; init; }

    public required bool IsHeld { get; init; }

    public required bool IsPinned { get; init; }

    public required bool IsForgotten { get; init; }

    public required IReadOnlyList<string> Verdicts { get; init; }

    public static GoldenSnapshot From(Snapshot snapshot) => new()
    {
        Id = snapshot.Id.ToString(),
        Name = snapshot.Name,
        Time = snapshot.Time,
        Hostname = snapshot.Hostname,
        Username = snapshot.Username,
        Kind = snapshot.Kind,
        Type = snapshot.Type.ToString(),
        Paths = snapshot.Paths,
        Tags = [.. snapshot.Tags.Order(StringComparer.Ordinal)],
        Parent = snapshot.Parent,
        Tree = snapshot.Tree,
        Files = snapshot.Summary?.TotalFilesProcessed,
        Bytes = snapshot.Summary?.TotalBytesProcessed,
        IsHeld = snapshot.Annotations.Holds.Count > 0,
        IsPinned = snapshot.Annotations.Pins.Count > 0,
        IsForgotten = snapshot.Annotations.IsForgotten,
        Verdicts = [.. snapshot.Annotations.Verdicts.Select(static verdict => $"{verdict.Level} {(verdict.Passed ? "passed" : "failed")}")],
    };
}
