using BackupIQ.Primitives;

namespace BackupIQ.Engine.Retention;

/// <summary>A group of snapshots and what is decided about each.</summary>
/// <param name="Host">Their host, where hosts are told apart.</param>
/// <param name="Paths">Their paths, where paths are told apart.</param>
/// <param name="Tags">Their tags, where tags are told apart.</param>
/// <param name="Decisions">The decisions, newest snapshot first.</param>
public sealed record ForgetGroup(string? Host, IReadOnlyList<string>? Paths, IReadOnlyList<string>? Tags, IReadOnlyList<RetentionDecision> Decisions);

/// <summary>What would be forgotten, and why; made without changing anything, shown, and then executed by <see cref="ForgetRunner"/>.</summary>
public sealed record ForgetPlan
{
    public required ForgetOptions Options { get; init; }

    public required IReadOnlyList<ForgetGroup> Groups { get; init; }

    /// <summary>Snapshots that cannot be read and were named all the same.</summary>
    public IReadOnlyList<SessionId> Damaged { get; init; } = [];

    /// <summary>Why the plan may not be executed; empty: it may.</summary>
    public required IReadOnlyList<string> Refusals { get; init; }

    /// <summary>What a person should know.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>What is to be forgotten.</summary>
    public IEnumerable<RetentionDecision> Forgotten => Groups.SelectMany(static group => group.Decisions).Where(static decision => !decision.IsKept);

    /// <summary>Throws when the plan may not be executed.</summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>.</exception>
    public void ThrowIfRefused()
    {
        if (Refusals.Count > 0)
        {
            string more = Refusals.Count == 1 ? "" : $" (and {Refusals.Count - 1} more)";
            throw new BackupIQException(ErrorCodes.RetentionRefused, Refusals[0] + more, "See 'backupiq forget --dry-run'; a hold ends with 'backupiq hold --release', and --allow-mass says that so much is meant.");
        }
    }
}
