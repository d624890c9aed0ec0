using System.Text.Json;

namespace BackupIQ.Jobs.Postgres;

/// <summary>The end of a transaction that a plan tells of.</summary>
/// <param name="Transaction">Its number.</param>
/// <param name="Time">When it was committed; null: no calendar has that moment.</param>
/// <param name="Lsn">Where its record begins.</param>
public sealed record PostgresCommit(long Transaction, DateTimeOffset? Time, string Lsn);

/// <summary>How a server is brought back: what was proven before anything is written.</summary>
public sealed record PostgresRestorePlan
{
    /// <summary>The server's name.</summary>
    public required string Server { get; init; }

    /// <summary>What was asked for: <c>latest</c>, <c>immediate</c>, <c>time</c>, <c>lsn</c>, <c>xid</c> or <c>name</c>.</summary>
    public required string TargetKind { get; init; }

    /// <summary>The same, with a time as a moment in UTC.</summary>
    public required string Target { get; init; }

    /// <summary>The zone in which a time without one was read; null: it had its own, or there is none.</summary>
    public string? TimeZone { get; init; }

    /// <summary>The target itself is not reached, only what is before it.</summary>
    public required bool Exclusive { get; init; }

    /// <summary>The backup.</summary>
    public required string Snapshot { get; init; }

    /// <summary>When that was complete, by the server's clock.</summary>
    public required DateTimeOffset BackupTime { get; init; }

    /// <summary>Where recovery from it begins.</summary>
    public required string StartLsn { get; init; }

    /// <summary>From where on it is consistent.</summary>
    public required string ConsistentLsn { get; init; }

    /// <summary>The timeline that is recovered along, to where it stops.</summary>
    public required long Timeline { get; init; }

    /// <summary>The record at which the server stops; null: as soon as it is consistent.</summary>
    public string? StopLsn { get; init; }

    /// <summary>It stops before that one; else right behind it.</summary>
    public required bool StopsBefore { get; init; }

    /// <summary>Where what it has replayed then ends.</summary>
    public required string EndLsn { get; init; }

    /// <summary>The last record that it has replayed then.</summary>
    public required string LastLsn { get; init; }

    /// <summary>Nothing that is stored follows.</summary>
    public required bool IsEndOfLog { get; init; }

    /// <summary>The last commit that it has then, of those that are replayed; null: there is none.</summary>
    public PostgresCommit? LastCommit { get; init; }

    /// <summary>The last commit or abort of those; by it the server says how far it came.</summary>
    public DateTimeOffset? LastTransactionTime { get; init; }

    /// <summary>The first commit that it has not; null: there is none in what is stored.</summary>
    public PostgresCommit? FirstCommitAfter { get; init; }

    /// <summary>Segments that the server replays, each read and whole.</summary>
    public required int Segments { get; init; }

    /// <summary>The first of them.</summary>
    public required string FirstSegment { get; init; }

    /// <summary>The last of them.</summary>
    public required string LastSegment { get; init; }

    /// <summary>Bytes of them.</summary>
    public required long LogBytes { get; init; }

    /// <summary>Bytes of the backup.</summary>
    public required long BackupBytes { get; init; }

    /// <summary>About how long restore and recovery take.</summary>
    public required TimeSpan Estimate { get; init; }

    /// <summary>What the server does there: <c>promote</c>, <c>pause</c> or <c>shutdown</c>.</summary>
    public required string Action { get; init; }

    /// <summary>What should be known: sentences.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Writes it as an object.</summary>
    public void WriteTo(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteString("server", Server);
        writer.WriteString("target_kind", TargetKind);
        writer.WriteString("target", Target);
        writer.WriteString("time_zone", TimeZone);
        writer.WriteBoolean("exclusive", Exclusive);
        writer.WriteString("base", Snapshot);
        writer.WriteString("base_time", BackupTime.UtcDateTime);
        writer.WriteString("start_lsn", StartLsn);
        writer.WriteString("consistent_lsn", ConsistentLsn);
        writer.WriteNumber("timeline", Timeline);
        writer.WriteString("target_lsn", StopLsn);
        writer.WriteBoolean("stops_before", StopsBefore);
        writer.WriteString("end_lsn", EndLsn);
        writer.WriteString("last_record_lsn", LastLsn);
        writer.WriteBoolean("end_of_log", IsEndOfLog);
        Write(writer, "last_commit_before", LastCommit);
        Write(writer, "first_commit_after", FirstCommitAfter);
        writer.WriteNumber("segments", Segments);
        writer.WriteString("first_segment", FirstSegment);
        writer.WriteString("last_segment", LastSegment);
        writer.WriteNumber("log_bytes", LogBytes);
        writer.WriteNumber("backup_bytes", BackupBytes);
        writer.WriteNumber("estimated_seconds", Math.Round(Estimate.TotalSeconds, 1));
        writer.WriteString("action", Action);
        writer.WriteStartArray("notes");
        foreach (string note in Notes)
        {
            writer.WriteStringValue(note);
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>The report that lies in a restored data directory: the plan, and what was reached where it was started.</summary>
    internal string WriteReport(PostgresReached? reached)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter writer = new(text, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WritePropertyName("plan");
            WriteTo(writer);
            writer.WritePropertyName("reached");
            if (reached is null)
            {
                writer.WriteNullValue();
            }
            else
            {
                reached.WriteTo(writer);
            }

            writer.WriteEndObject();
        }

        return System.Text.Encoding.UTF8.GetString(text.ToArray()) + "\n";
    }

    private static void Write(Utf8JsonWriter writer, string name, PostgresCommit? commit)
    {
        if (commit is null)
        {
            writer.WriteNull(name);
            return;
        }

        writer.WriteStartObject(name);
        if (commit.Time is { } time)
        {
            writer.WriteString("time", time.UtcDateTime);
        }
        else
        {
            writer.WriteNull("time");
        }

        writer.WriteString("lsn", commit.Lsn);
        writer.WriteNumber("xid", commit.Transaction);
        writer.WriteEndObject();
    }
}
