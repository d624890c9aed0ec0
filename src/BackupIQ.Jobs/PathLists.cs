using BackupIQ.Primitives;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Jobs;

/// <summary>Reads the contents of files that list patterns or paths, as bytes.</summary>
public static class PathLists
{
    /// <summary>Patterns of an exclude file: one a line, comments, <c>$VARIABLES</c>.</summary>
    public static IReadOnlyList<byte[]> Patterns(ReadOnlySpan<byte> content) => ListFiles.Patterns(content, Environment.GetEnvironmentVariable);

    /// <summary>The paths that a list of wildcards (<c>--files-from</c>) finds now.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: a wildcard is malformed.</exception>
    public static IReadOnlyList<byte[]> Globs(ReadOnlySpan<byte> content) =>
        [.. ListFiles.Globs(content).SelectMany(static glob => PathGlob.Expand(glob))];

    /// <summary>Paths, one a line, as they are.</summary>
    public static IReadOnlyList<byte[]> Verbatim(ReadOnlySpan<byte> content) => ListFiles.Verbatim(content);

    /// <summary>Paths that each end with a zero byte.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: an empty path, or the last zero is missing.</exception>
    public static IReadOnlyList<byte[]> Raw(ReadOnlySpan<byte> content) => ListFiles.Raw(content);
}
