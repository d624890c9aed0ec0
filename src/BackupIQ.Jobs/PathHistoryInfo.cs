using BackupIQ.Engine.Diff;

namespace BackupIQ.Jobs;

/// <summary>What a path was over the snapshots of one series: the same host, the same paths, the same kind of source.</summary>
/// <param name="Hostname">The host.</param>
/// <param name="Paths">What was backed up, as bytes.</param>
/// <param name="Kind"><c>files</c>, …</param>
/// <param name="Versions">The versions, oldest first; none when the path never was there.</param>
public sealed record PathHistoryInfo(string Hostname, IReadOnlyList<byte[]> Paths, string Kind, IReadOnlyList<PathVersionInfo> Versions);

/// <summary>One state of a path.</summary>
/// <param name="Modifier">How it came about, in the signs of <see cref="DiffEntry.Modifier"/>.</param>
/// <param name="Entry">The entry; null where the path is not there.</param>
/// <param name="Snapshots">The snapshots in a row that have it so, oldest first; never empty.</param>
public sealed record PathVersionInfo(string Modifier, EntryInfo? Entry, IReadOnlyList<SnapshotInfo> Snapshots)
{
    internal static PathVersionInfo From(byte[] path, PathVersion<SnapshotInfo> version) =>
        new(DiffEntry.Sign(version.Kind), version.Node is { } node ? EntryInfo.From(path, node) : null, version.Snapshots);
}
