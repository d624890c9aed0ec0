using System.Text.Json;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>What is said of mirrors, for people and as JSON.</summary>
internal static class MirrorOutput
{
    /// <summary>How a mirror stands, in a line.</summary>
    public static string State(MirrorReport mirror)
    {
        List<string> words = [mirror.IsInStep ? "in step" : $"behind: {DisplayText.Of(mirror.Problem ?? "not compared")}"];
        Add(!mirror.IsInStep && mirror.Missing - mirror.Copied > 0, $"lacks {Words.Count(mirror.Missing - mirror.Copied, "object")} ({Words.Size(mirror.MissingBytes - mirror.BytesCopied)})");
        Add(mirror.Copied > 0, $"got {Words.Count(mirror.Copied, "object")} ({Words.Size(mirror.BytesCopied)})");
        Add(mirror.Removed > 0, $"{Words.Count(mirror.Removed, "object")} removed");
        Add(mirror is { Stray: > 0, Removed: 0 }, $"has {Words.Count(mirror.Stray, "object")} ({Words.Size(mirror.StrayBytes)}) that the repository has not");
        Add(mirror.Verified > 0, $"{Words.Count(mirror.Verified, "pack")} verified");
        Add(mirror.Healed > 0, $"{Words.Count(mirror.Healed, "damaged pack")} replaced on it");
        Add(mirror.HealedBack > 0, $"{Words.Count(mirror.HealedBack, "damaged pack")} replaced in the repository");
        if (mirror.Health is { } health)
        {
            words.Add($"provider {StorageOutput.Breaker(health)}");
        }

        return string.Join("; ", words);

        void Add(bool isSo, string word)
        {
            if (isSo)
            {
                words.Add(word);
            }
        }
    }

    /// <summary>The array <c>mirrors</c>.</summary>
    public static void Write(Utf8JsonWriter writer, IReadOnlyList<MirrorReport> mirrors)
    {
        writer.WriteStartArray("mirrors");
        foreach (MirrorReport mirror in mirrors)
        {
            writer.WriteStartObject();
            writer.WriteString("location", mirror.Location);
            writer.WriteBoolean("in_step", mirror.IsInStep);
            writer.WriteString("problem", mirror.Problem);
            writer.WriteNumber("missing", mirror.Missing);
            writer.WriteNumber("missing_bytes", mirror.MissingBytes);
            writer.WriteNumber("stray", mirror.Stray);
            writer.WriteNumber("stray_bytes", mirror.StrayBytes);
            writer.WriteNumber("stray_snapshots", mirror.StraySnapshots);
            writer.WriteNumber("differing", mirror.Differing);
            writer.WriteNumber("copied", mirror.Copied);
            writer.WriteNumber("bytes_copied", mirror.BytesCopied);
            writer.WriteNumber("removed", mirror.Removed);
            writer.WriteNumber("verified", mirror.Verified);
            writer.WriteNumber("healed", mirror.Healed);
            writer.WriteNumber("healed_in_repository", mirror.HealedBack);
            JsonFields.WriteStrings(writer, "damaged", mirror.Damaged);
            StorageOutput.WriteHealth(writer, mirror.Health);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
