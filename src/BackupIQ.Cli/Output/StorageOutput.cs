using System.Globalization;
using System.Text.Json;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>What is said of a storage, for people and as JSON.</summary>
internal static class StorageOutput
{
    /// <summary>The order in which requests are shown; others follow.</summary>
    private static readonly string[] Order = ["connect", "put", "stat", "read", "list", "delete", "space"];

    /// <summary>A line for each thing that the storage can do or not, and its space.</summary>
    public static void ShowCapabilities(TextWriter output, StorageCapabilityInfo can, StorageInfo space)
    {
        if (can.Mount is { } mount)
        {
            Line("Mounted from", DisplayText.Of(mount));
        }

        Line("Conditional put", can.ConditionalPut ? "yes: the storage itself lets one of many writers win" : "no: the repository's protocol without it is used");
        Line("Listings", can.ListingLag == TimeSpan.Zero ? "show at once what was put" : $"may lag {Words.Duration(can.ListingLag)}");
        Line("Checksums", can.Checksum is { } checksum ? $"{checksum} with each put" : can.IsLocal ? "none needed" : "none on the way; contents are verified when read");
        Line("Versions", can.KeepsVersions switch { true => "kept of what is deleted", false => "none kept", null => "not told" });
        Line("Lock", can.LocksFor is { } locked ? $"what matters is locked for {locked.TotalDays.ToString("0", CultureInfo.InvariantCulture)} days" : "none asked for in the URL");
        Line("Encryption", can.ServerEncryption is { } how ? $"{how}, by the storage's own word" : "not asked of the storage; all is sealed before it leaves this machine");
        Line("Times", can.HasStoreClock ? "by the storage's clock" : can.IsLocal ? "by this machine's clock" : "not the storage's own");
        Line("Space", Space(space));

        void Line(string what, string said) => output.WriteLine($"{what,-17}{said}");
    }

    /// <summary>Latencies by kind of request.</summary>
    public static void ShowLatencies(TextWriter output, IReadOnlyDictionary<string, StorageLatencyInfo> latencies)
    {
        Table table = new("Request", ">Number", ">Median", ">95 %", ">99 %");
        foreach ((string kind, StorageLatencyInfo latency) in Ordered(latencies))
        {
            table.Add(kind, Words.Number(latency.Count), Words.Latency(latency.P50), Words.Latency(latency.P95), Words.Latency(latency.P99));
        }

        table.Write(output);
    }

    /// <summary>What became of requests, in one line.</summary>
    public static string Counts(StorageHealthInfo health) =>
        $"{Words.Number(health.Requests)}, {Words.Number(health.Failures)} failed, {Words.Number(health.Retries)} made again, {Words.Number(health.GiveUps)} given up, "
        + $"{Words.Number(health.Hedges)} asked twice; {Words.Size(health.BytesPut)} up, {Words.Size(health.BytesRead)} down";

    /// <summary>How the breaker stands.</summary>
    public static string Breaker(StorageHealthInfo health)
    {
        string state = health.Breaker switch
        {
            "closed" => health.FailuresInARow == 0 ? "well" : $"{Words.Count(health.FailuresInARow, "failure")} in a row",
            "open" => "left alone for a moment",
            _ => "being tried again",
        };
        string last = health.LastFailure is { } failure ? $"; last failure: {DisplayText.Of(failure)}" : "";
        return $"{state} (breaker {health.Breaker}, opened {Words.Count(health.TimesOpened, "time")}){last}";
    }

    /// <summary>The objects <c>capabilities</c> and <c>space</c>.</summary>
    public static void WriteCapabilities(Utf8JsonWriter writer, StorageCapabilityInfo can, StorageInfo space)
    {
        writer.WriteStartObject("capabilities");
        writer.WriteBoolean("conditional_put", can.ConditionalPut);
        writer.WriteNumber("listing_lag_seconds", can.ListingLag.TotalSeconds);
        writer.WriteBoolean("store_clock", can.HasStoreClock);
        writer.WriteBoolean("local", can.IsLocal);
        writer.WriteString("mount", can.Mount);
        if (can.KeepsVersions is { } versions)
        {
            writer.WriteBoolean("keeps_versions", versions);
        }
        else
        {
            writer.WriteNull("keeps_versions");
        }

        WriteNumber(writer, "lock_days", can.LocksFor?.TotalDays);
        writer.WriteString("checksum", can.Checksum);
        writer.WriteString("server_encryption", can.ServerEncryption);
        writer.WriteEndObject();
        writer.WriteStartObject("space");
        WriteNumber(writer, "total", space.Total);
        WriteNumber(writer, "used", space.Used);
        WriteNumber(writer, "free", space.Free);
        writer.WriteString("at", space.At);
        writer.WriteEndObject();
    }

    /// <summary>The object <c>latencies</c>, in milliseconds.</summary>
    public static void WriteLatencies(Utf8JsonWriter writer, IReadOnlyDictionary<string, StorageLatencyInfo> latencies)
    {
        writer.WriteStartObject("latencies");
        foreach ((string kind, StorageLatencyInfo latency) in Ordered(latencies))
        {
            writer.WriteStartObject(kind);
            writer.WriteNumber("count", latency.Count);
            writer.WriteNumber("p50_ms", Math.Round(latency.P50.TotalMilliseconds, 3));
            writer.WriteNumber("p95_ms", Math.Round(latency.P95.TotalMilliseconds, 3));
            writer.WriteNumber("p99_ms", Math.Round(latency.P99.TotalMilliseconds, 3));
            writer.WriteEndObject();
        }

        writer.WriteEndObject();
    }

    /// <summary>The object <c>provider</c>, null for a storage on this machine.</summary>
    public static void WriteHealth(Utf8JsonWriter writer, StorageHealthInfo? health)
    {
        if (health is null)
        {
            writer.WriteNull("provider");
            return;
        }

        writer.WriteStartObject("provider");
        writer.WriteString("name", health.Provider);
        writer.WriteString("breaker", health.Breaker);
        writer.WriteNumber("failures_in_a_row", health.FailuresInARow);
        writer.WriteNumber("times_opened", health.TimesOpened);
        writer.WriteString("last_failure", health.LastFailure);
        writer.WriteNumber("requests", health.Requests);
        writer.WriteNumber("failures", health.Failures);
        writer.WriteNumber("retries", health.Retries);
        writer.WriteNumber("recoveries", health.Recoveries);
        writer.WriteNumber("give_ups", health.GiveUps);
        writer.WriteNumber("refusals", health.Refusals);
        writer.WriteNumber("hedges", health.Hedges);
        writer.WriteNumber("bytes_put", health.BytesPut);
        writer.WriteNumber("bytes_read", health.BytesRead);
        writer.WriteNumber("connections", health.Connections);
        WriteNumber(writer, "clock_skew_seconds", health.ClockSkew?.TotalSeconds);
        WriteLatencies(writer, health.Latencies);
        writer.WriteEndObject();
    }

    private static IEnumerable<KeyValuePair<string, StorageLatencyInfo>> Ordered(IReadOnlyDictionary<string, StorageLatencyInfo> latencies) =>
        latencies.OrderBy(static one => Array.IndexOf(Order, one.Key) is >= 0 and int at ? at : Order.Length).ThenBy(static one => one.Key, StringComparer.Ordinal);

    private static string Space(StorageInfo space) => (space.Free, space.Total, space.Used) switch
    {
        ({ } free, { } total, _) => $"{Words.Size(free)} free of {Words.Size(total)}",
        ({ } free, _, _) => $"{Words.Size(free)} free",
        (_, _, { } used) => $"{Words.Size(used)} used",
        _ => "not told",
    };

    private static void WriteNumber(Utf8JsonWriter writer, string name, double? number)
    {
        if (number is { } known)
        {
            writer.WriteNumber(name, known);
        }
        else
        {
            writer.WriteNull(name);
        }
    }
}
