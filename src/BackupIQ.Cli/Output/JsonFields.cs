using System.Globalization;
using System.Text.Json;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>Objects that several verbs write.</summary>
internal static class JsonFields
{
    /// <summary>Whole seconds, or null while nobody can tell.</summary>
    public static void WriteSeconds(Utf8JsonWriter writer, string name, double? seconds)
    {
        if (seconds is { } known && known < long.MaxValue)
        {
            writer.WriteNumber(name, (long)Math.Ceiling(known));
        }
        else
        {
            writer.WriteNull(name);
        }
    }

    /// <summary>A moment, or null.</summary>
    public static void WriteMoment(Utf8JsonWriter writer, string name, DateTimeOffset? moment)
    {
        if (moment is { } known)
        {
            writer.WriteString(name, known);
        }
        else
        {
            writer.WriteNull(name);
        }
    }

    /// <summary>An array of strings.</summary>
    public static void WriteStrings(Utf8JsonWriter writer, string name, IEnumerable<string> values)
    {
        writer.WriteStartArray(name);
        foreach (string value in values)
        {
            writer.WriteStringValue(value);
        }

        writer.WriteEndArray();
    }

    /// <summary>An array of objects, whose fields <paramref name="fields"/> writes.</summary>
    public static void WriteObjects<T>(Utf8JsonWriter writer, string name, IEnumerable<T> items, Action<Utf8JsonWriter, T> fields)
    {
        writer.WriteStartArray(name);
        foreach (T item in items)
        {
            writer.WriteStartObject();
            fields(writer, item);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    /// <summary>A snapshot, as an object.</summary>
    public static void WriteSnapshot(Utf8JsonWriter writer, SnapshotInfo snapshot)
    {
        writer.WriteStartObject();
        WriteSnapshotFields(writer, snapshot);
        writer.WriteEndObject();
    }

    /// <summary>The fields of a snapshot.</summary>
    public static void WriteSnapshotFields(Utf8JsonWriter writer, SnapshotInfo snapshot)
    {
        writer.WriteString("id", snapshot.Id);
        writer.WriteString("short_id", snapshot.ShortId);
        writer.WriteString("name", snapshot.Name);
        writer.WriteString("time", snapshot.Time);
        writer.WriteString("hostname", snapshot.Hostname);
        writer.WriteString("username", snapshot.Username);
        WritePaths(writer, snapshot.Paths);
        WriteStrings(writer, "tags", snapshot.Tags);
        writer.WriteString("parent", snapshot.Parent);
        writer.WriteString("tree", snapshot.Tree);
        writer.WriteString("program_version", snapshot.ProgramVersion);
        writer.WriteString("kind", snapshot.Kind);
        writer.WriteString("type", snapshot.Type);
        WriteSaid(writer, snapshot);
        writer.WritePropertyName("summary");
        if (snapshot.Counts is { } counts)
        {
            writer.WriteStartObject();
            BackupView.WriteCounts(writer, counts);
            writer.WriteEndObject();
        }
        else
        {
            writer.WriteNullValue();
        }
    }

    /// <summary>The fields of a hold.</summary>
    public static void WriteHoldFields(Utf8JsonWriter writer, HoldInfo hold)
    {
        writer.WriteString("id", hold.Id);
        writer.WriteString("time", hold.Time);
        WriteMoment(writer, "until", hold.Until);
        writer.WriteString("reason", hold.Reason);
        writer.WriteString("hostname", hold.Hostname);
        writer.WriteString("username", hold.Username);
    }

    // What was said about a snapshot since it was made; only what there is, for most have nothing.
    private static void WriteSaid(Utf8JsonWriter writer, SnapshotInfo snapshot)
    {
        if (snapshot.RepairedFrom is { } damaged)
        {
            writer.WriteString("repaired_from", damaged);
            writer.WriteNumber("lost_count", snapshot.LostCount);
            WriteStrings(writer, "lost", snapshot.Lost);
        }

        if (snapshot.IsPartial)
        {
            writer.WriteBoolean("partial", true);
        }

        if (snapshot.DamagedPages > 0)
        {
            writer.WriteNumber("page_errors", snapshot.DamagedPages);
        }

        if (snapshot.IsLastSound)
        {
            writer.WriteBoolean("last_without_page_errors", true);
        }

        if (snapshot.Original is { } original)
        {
            writer.WriteString("original", original);
            writer.WriteString("original_repository", snapshot.OriginalRepository);
        }

        if (snapshot.Holds.Count > 0)
        {
            writer.WriteStartArray("holds");
            foreach (HoldInfo hold in snapshot.Holds)
            {
                writer.WriteStartObject();
                WriteHoldFields(writer, hold);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        if (snapshot.IsPinned)
        {
            writer.WriteBoolean("pinned", true);
        }

        if (snapshot.HasUnreadableAnnotation)
        {
            writer.WriteBoolean("unreadable_annotation", true);
        }

        if (snapshot.Verdicts.Count > 0)
        {
            writer.WriteStartArray("verdicts");
            foreach (VerdictInfo verdict in snapshot.Verdicts)
            {
                writer.WriteStartObject();
                writer.WriteString("level", verdict.Level);
                writer.WriteBoolean("passed", verdict.Passed);
                writer.WriteString("time", verdict.Time);
                writer.WriteString("hostname", verdict.Hostname);
                writer.WriteString("summary", verdict.Summary);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
        }

        if (snapshot.Forgotten is { } forgotten)
        {
            writer.WriteStartObject("forgotten");
            writer.WriteString("time", forgotten.Time);
            writer.WriteString("removed_from", forgotten.RemovedFrom);
            writer.WriteString("reason", forgotten.Reason);
            writer.WriteString("hostname", forgotten.Hostname);
            writer.WriteString("username", forgotten.Username);
            writer.WriteEndObject();
        }
    }

    /// <summary>What was backed up, as text, and as base64 where one is not UTF-8.</summary>
    public static void WritePaths(Utf8JsonWriter writer, IReadOnlyList<byte[]> paths)
    {
        writer.WriteStartArray("paths");
        foreach (byte[] path in paths)
        {
            writer.WriteStringValue(System.Text.Encoding.UTF8.GetString(path));
        }

        writer.WriteEndArray();
        if (paths.Any(static path => !System.Text.Unicode.Utf8.IsValid(path)))
        {
            writer.WriteStartArray("paths_raw");
            foreach (byte[] path in paths)
            {
                writer.WriteBase64StringValue(path);
            }

            writer.WriteEndArray();
        }
    }

    /// <summary>The fields of an entry, under restic's names.</summary>
    public static void WriteEntryFields(Utf8JsonWriter writer, EntryInfo entry)
    {
        writer.WriteName("name", entry.Name);
        writer.WriteString("type", entry.Type);
        writer.WriteName("path", entry.Path);
        writer.WriteNumber("uid", entry.UserId);
        writer.WriteNumber("gid", entry.GroupId);
        if (entry.UserName is { } user)
        {
            writer.WriteName("user", user);
        }

        if (entry.GroupName is { } group)
        {
            writer.WriteName("group", group);
        }

        if (entry.Type == "file")
        {
            writer.WriteNumber("size", entry.Size);
        }

        writer.WriteNumber("mode", entry.Mode);
        writer.WriteString("permissions", EntryText.Permissions(entry));
        writer.WriteString("mtime", EntryText.ModifiedExactly(entry));
        if (entry.LinkTarget is { } target)
        {
            writer.WriteName("linktarget", target);
        }
    }
}

/// <summary>Entries as <c>ls -l</c> shows them.</summary>
internal static class EntryText
{
    /// <summary><c>drwxr-sr-x</c></summary>
    public static string Permissions(EntryInfo entry)
    {
        Span<char> text = stackalloc char[10];
        text[0] = entry.Type switch { "dir" => 'd', "symlink" => 'l', "dev" => 'b', "chardev" => 'c', "fifo" => 'p', "socket" => 's', _ => '-' };
        for (int i = 0; i < 9; i++)
        {
            text[i + 1] = (entry.Mode & (0x100u >> i)) != 0 ? "rwx"[i % 3] : '-';
        }

        Special(text, 3, entry.Mode & 0x800, 's', 'S');
        Special(text, 6, entry.Mode & 0x400, 's', 'S');
        Special(text, 9, entry.Mode & 0x200, 't', 'T');
        return text.ToString();
    }

    /// <summary>The time of the last change with all nine digits: <c>2026-11-22T10:00:00.123456789Z</c>.</summary>
    public static string ModifiedExactly(EntryInfo entry) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(entry.ModifiedSeconds, -62_135_596_800, 253_402_300_799)):yyyy-MM-dd'T'HH:mm:ss}.{entry.ModifiedNanoseconds:000000000}Z");

    /// <summary>A line as <c>ls -l</c> has it.</summary>
    public static string Line(EntryInfo entry, TimeZoneInfo zone)
    {
        string user = entry.UserName is { } name ? DisplayText.Of(name) : entry.UserId.ToString(CultureInfo.InvariantCulture);
        string group = entry.GroupName is { } groupName ? DisplayText.Of(groupName) : entry.GroupId.ToString(CultureInfo.InvariantCulture);
        string target = entry.LinkTarget is { } link ? $" -> {DisplayText.Of(link)}" : "";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{Permissions(entry)} {user,-8} {group,-8} {entry.Size,12} {Words.Moment(entry.Modified, zone)} {DisplayText.Of(entry.Path)}{target}");
    }

    private static void Special(Span<char> text, int at, uint bit, char executable, char plain)
    {
        if (bit != 0)
        {
            text[at] = text[at] == 'x' ? executable : plain;
        }
    }
}
