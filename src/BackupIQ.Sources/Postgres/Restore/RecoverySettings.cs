using System.Text;

namespace BackupIQ.Sources.Postgres.Restore;

/// <summary>The texts that make a restored data directory recover: settings, and the map of its tablespaces.</summary>
internal static class RecoverySettings
{
    private static readonly string[] Replaced =
    [
        "restore_command", "archive_cleanup_command", "primary_conninfo", "primary_slot_name", "promote_trigger_file", "recovery_end_command", "recovery_min_apply_delay",
    ];

    /// <summary>
    /// A <c>postgresql.auto.conf</c> without what an earlier recovery or a standby left in it, and with what this recovery needs.
    /// </summary>
    /// <param name="before">The file as it was backed up; empty: there was none.</param>
    /// <param name="settings">Names and values, in their order.</param>
    public static string AutoConf(string before, IReadOnlyList<(string Name, string Value)> settings)
    {
        StringBuilder text = new();
        foreach (string line in before.Split('\n'))
        {
            string name = NameOf(line);
            bool isReplaced = name.StartsWith("recovery_target", StringComparison.OrdinalIgnoreCase)
                || Replaced.Contains(name, StringComparer.OrdinalIgnoreCase)
                || settings.Any(setting => setting.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
            if (!isReplaced && line.Length > 0)
            {
                text.Append(line).Append('\n');
            }
        }

        text.Append("# Written by 'backupiq pg restore'.\n");
        Append(text, settings);
        return text.ToString();
    }

    /// <summary>Settings as lines of a configuration file.</summary>
    public static void Append(StringBuilder text, IReadOnlyList<(string Name, string Value)> settings)
    {
        foreach ((string name, string value) in settings)
        {
            text.Append($"{name} = {Quote(value)}\n");
        }
    }

    /// <summary>
    /// The server's map of tablespaces with other places: the server makes the links anew by it when it recovers. Lines are an oid, a space and a path,
    /// in which a backslash stands before a line's end and, from version 14 on, before another backslash.
    /// </summary>
    public static string TablespaceMap(string before, IReadOnlyDictionary<string, string> places)
    {
        StringBuilder text = new();
        foreach (string line in before.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            int space = line.IndexOf(' ');
            if (space > 0 && places.TryGetValue(line[..space], out string? place))
            {
                text.Append($"{line[..space]} {place.Replace("\\", "\\\\", StringComparison.Ordinal)}\n");
            }
        }

        return text.ToString();
    }

    private static string NameOf(string line)
    {
        string trimmed = line.TrimStart();
        int end = 0;
        while (end < trimmed.Length && (char.IsAsciiLetterOrDigit(trimmed[end]) || trimmed[end] is '_' or '.'))
        {
            end++;
        }

        return trimmed[..end];
    }

    private static string Quote(string value) => $"'{value.Replace("'", "''", StringComparison.Ordinal)}'";
}
