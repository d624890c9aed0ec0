using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Sources.Restic;

/// <summary>A snapshot of a restic repository: who, what, when.</summary>
public sealed record ResticSnapshot
{
    /// <summary>Its id in that repository, 64 hex digits.</summary>
    public required string Id { get; init; }

    /// <summary>When the backup began, in the zone of the machine that was backed up.</summary>
    public required DateTimeOffset Time { get; init; }

    public required string Hostname { get; init; }

    public required string Username { get; init; }

    /// <summary>What was backed up. restic keeps these as text: a byte that is none came to be U+FFFD there.</summary>
    public required IReadOnlyList<byte[]> Paths { get; init; }

    public required IReadOnlyList<string> Tags { get; init; }

    /// <summary>When it ended; where restic did not keep that, when it began.</summary>
    public required DateTimeOffset Ended { get; init; }

    /// <summary>Whether restic compared with an earlier snapshot instead of reading everything.</summary>
    public required bool HasParent { get; init; }

    /// <summary>Which restic made it: <c>restic 0.17.3</c>, or <c>restic</c> where it did not say.</summary>
    public required string ProgramVersion { get; init; }

    /// <summary>The root's tree.</summary>
    internal ResticId Tree { get; init; }

    /// <summary>Reads a snapshot's document.</summary>
    /// <exception cref="ResticDamageException">It is none.</exception>
    internal static ResticSnapshot Parse(ResticId id, ReadOnlySpan<byte> json) => ResticJson.Read(json, $"Snapshot {id.Short}", root => new ResticSnapshot
    {
        Id = id.ToString(),
        Time = Moment(root.GetProperty("time")),
        Ended = Moment(root.TryGetProperty("summary", out JsonElement summary) && summary.TryGetProperty("backup_end", out JsonElement end) ? end : root.GetProperty("time")),
        HasParent = ResticJson.Text(root, "parent").Length > 0,
        ProgramVersion = ResticJson.Text(root, "program_version") is { Length: > 0 } version ? version : "restic",
        Hostname = ResticJson.Text(root, "hostname"),
        Username = ResticJson.Text(root, "username"),
        Paths = [.. ResticJson.Texts(root, "paths").Select(Encoding.UTF8.GetBytes)],
        Tags = ResticJson.Texts(root, "tags"),
        Tree = ResticJson.Id(root, "tree"),
    });

    // A year or a zone that .NET does not have is brought to the next that it has.
    private static DateTimeOffset Moment(JsonElement value)
    {
        if (!ResticTime.TryParse(Encoding.UTF8.GetBytes(value.GetString() ?? ""), out FileTime time, out TimeSpan zone))
        {
            throw new FormatException("a time is none");
        }

        DateTimeOffset moment = time.ToDateTimeOffset();
        TimeSpan near = TimeSpan.FromHours(14);
        zone = zone > near ? near : zone < -near ? -near : zone;
        long local = moment.Ticks + zone.Ticks;
        return local >= DateTime.MinValue.Ticks && local <= DateTime.MaxValue.Ticks ? moment.ToOffset(zone) : moment;
    }
}
