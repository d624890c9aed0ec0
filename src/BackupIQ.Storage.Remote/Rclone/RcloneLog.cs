using System.Text;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>The last lines of what rclone says, fit to be shown: no control characters, and nothing that looks like a secret.</summary>
internal sealed class RcloneLog
{
    private const int MaxLines = 8;
    private const int MaxLength = 300;

    private static readonly string[] SecretWords = ["token", "password", "passwd", "pass", "secret", "signature", "sig", "authorization", "bearer", "cookie", "credential", "apikey", "api_key"];

    private readonly Queue<string> _lines = new();

    /// <summary>Takes a line.</summary>
    public void Add(string line)
    {
        lock (_lines)
        {
            _lines.Enqueue(Clean(line));
            if (_lines.Count > MaxLines)
            {
                _lines.Dequeue();
            }
        }
    }

    /// <summary>The last lines, the newest last.</summary>
    public override string ToString()
    {
        lock (_lines)
        {
            return string.Join(" | ", _lines);
        }
    }

    /// <summary>A text of rclone's, or of a server that it quotes, in a form that may be shown.</summary>
    public static string Clean(string text)
    {
        string line = new([.. text.Take(2 * MaxLength).Select(static c => char.IsControl(c) ? ' ' : c)]);
        StringBuilder shown = new();
        for (int at = 0; at < line.Length;)
        {
            int value = SecretValueAt(line, at);
            if (value < 0)
            {
                shown.Append(line[at++]);
                continue;
            }

            shown.Append(line.AsSpan(at, value - at)).Append("***");
            at = value;
            while (at < line.Length && line[at] is not (' ' or '&' or '"' or '\'' or ',' or ';' or '}'))
            {
                at++;
            }
        }

        return shown.Length <= MaxLength ? shown.ToString() : shown.ToString(0, MaxLength) + "…";
    }

    // Where the value begins whose name ends a word at this place: token=…, "password":"…", Authorization: Bearer …
    private static int SecretValueAt(string line, int at)
    {
        foreach (string word in SecretWords)
        {
            if (string.Compare(line, at, word, 0, word.Length, StringComparison.OrdinalIgnoreCase) != 0)
            {
                continue;
            }

            int behind = at + word.Length;
            int value = behind;
            while (value < line.Length && line[value] is ('"' or '\'' or ':' or '=' or ' '))
            {
                value++;
            }

            if (value > behind && value < line.Length && (line.AsSpan(behind, value - behind).ContainsAny('=', ':') || word == "bearer"))
            {
                // "Authorization: Bearer x": the scheme's name is no secret, what follows it is.
                return string.Compare(line, value, "bearer ", 0, 7, StringComparison.OrdinalIgnoreCase) == 0 || string.Compare(line, value, "basic ", 0, 6, StringComparison.OrdinalIgnoreCase) == 0
                    ? line.IndexOf(' ', value) + 1
                    : value;
            }
        }

        return -1;
    }
}
