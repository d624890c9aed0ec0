namespace BackupIQ.Cli.Parsing;

/// <summary>
/// <c>SNAP</c> or <c>SNAP:PATH</c>. A time holds colons too (<c>@2026-11-22T10:00</c>), so the path begins at the first <c>:/</c>; other forms
/// may leave the slash out (<c>latest:etc</c>).
/// </summary>
/// <param name="Snapshot">What names the snapshot.</param>
/// <param name="Path">The path inside it, beginning with a slash, or null when none was given.</param>
internal readonly record struct SnapshotPath(string Snapshot, string? Path)
{
    /// <summary>Splits what a user wrote.</summary>
    public static SnapshotPath Parse(string text)
    {
        int colon = text.IndexOf(":/", StringComparison.Ordinal);
        if (colon < 0 && !text.StartsWith('@'))
        {
            colon = text.IndexOf(':');
        }

        if (colon < 0)
        {
            return new SnapshotPath(text, null);
        }

        string path = text[(colon + 1)..];
        return new SnapshotPath(text[..colon], path.StartsWith('/') ? path : "/" + path);
    }
}
