namespace BackupIQ.Cli.Output;

/// <summary>What is said of locks on the storage.</summary>
internal static class LockOutput
{
    /// <summary>How many were extended, and what was in the way of others.</summary>
    public static void Tell(Invocation run, long extended, string? problem)
    {
        if (extended > 0)
        {
            run.Screen.Note($"{Words.Count(extended, "lock")} of what snapshots need {(extended == 1 ? "ends" : "end")} later now");
        }

        if (problem is not null)
        {
            run.Screen.Warn(DisplayText.Of($"locks of what snapshots need could not be extended, so it can be deleted when they end: {problem}"));
        }
    }
}
