namespace BackupIQ.Cli;

/// <summary>
/// The codes that a verb ends with of its own accord; a failure's code is its <see cref="Primitives.ErrorCode.ExitCode"/>.
/// </summary>
internal static class ExitCodes
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Failed.</summary>
    public const int Failed = 1;

    /// <summary>Wrong use or configuration.</summary>
    public const int Usage = 2;

    /// <summary>Done, but something of the source could not be read; each is listed.</summary>
    public const int Warnings = 3;

    /// <summary>Damage was found.</summary>
    public const int Damage = 14;

    /// <summary>A promise is broken: <c>status --fail-on</c>.</summary>
    public const int PromiseBroken = 16;

    /// <summary>Interrupted; what was stored stays usable.</summary>
    public const int Interrupted = 130;
}
