using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>A failure as one line: what failed, on which object, and what to do next.</summary>
internal static class Failure
{
    /// <summary>The line for the person at the terminal. It holds the details, so it is not for strangers.</summary>
    public static string Line(BackupIQException failure)
    {
        string details = string.Join(", ", failure.Details.Select(static detail => $"{detail.Key} {detail.Value}"));
        string what = failure.Message.TrimEnd('.', ' ');
        string line = details.Length == 0 ? what : $"{what} ({details})";
        return DisplayText.Of(failure.Guidance.Length == 0 ? line : $"{line}{(line.EndsWith('?') ? "" : ".")} {failure.Guidance}");
    }

    /// <summary>A failure that nobody foresaw, as one of ours.</summary>
    public static BackupIQException Unforeseen(Exception fault) =>
        fault is OutOfMemoryException
            ? new BackupIQException(ErrorCodes.Resource, "Not enough memory", null, fault)
            : new BackupIQException(ErrorCodes.Internal, $"{fault.GetType().Name}: {fault.Message}", null, fault);
}
