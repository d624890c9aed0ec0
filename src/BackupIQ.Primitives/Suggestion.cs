namespace BackupIQ.Primitives;

/// <summary>Finds the word that somebody most likely meant.</summary>
public static class Suggestion
{
    /// <summary>
    /// The nearest of <paramref name="known"/> by edit distance (a swap of neighbours is one edit), or null when none is near: at most a
    /// third of the letters may differ. A word that begins with what was written counts as near, too.
    /// </summary>
    public static string? Nearest(string written, IEnumerable<string> known)
    {
        string? best = null;
        int bestDistance = int.MaxValue;
        foreach (string word in known)
        {
            int distance = word.Length > written.Length && written.Length >= 3 && word.StartsWith(written, StringComparison.OrdinalIgnoreCase)
                ? 1
                : Distance(written, word);
            if (distance < bestDistance && distance <= Math.Max(1, Math.Max(word.Length, written.Length) / 3))
            {
                best = word;
                bestDistance = distance;
            }
        }

        return best;
    }

    /// <summary>Optimal string alignment distance.</summary>
    private static int Distance(string a, string b)
    {
        if (Math.Abs(a.Length - b.Length) > 4 || a.Length > 64 || b.Length > 64)
        {
            return int.MaxValue;
        }

        int[,] cost = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
        {
            for (int j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    cost[i, j] = i + j;
                    continue;
                }

                int change = char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1;
                cost[i, j] = Math.Min(Math.Min(cost[i - 1, j] + 1, cost[i, j - 1] + 1), cost[i - 1, j - 1] + change);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
                }
            }
        }

        return cost[a.Length, b.Length];
    }
}
