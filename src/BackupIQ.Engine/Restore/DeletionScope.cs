using System.Text;
using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Where <c>--delete</c> may remove anything: in what was backed up, and below. A snapshot of <c>/home/ada</c> also holds <c>/</c> and
/// <c>/home</c>, but only to lead there; what else stands in those is none of its business.
/// </summary>
internal sealed class DeletionScope
{
    private readonly List<byte[]> _paths = [];
    private readonly byte[] _prefix;

    /// <summary><paramref name="subPath"/>: the directory of the snapshot that is restored, without a slash at its end.</summary>
    public DeletionScope(Snapshot snapshot, byte[] subPath)
    {
        _prefix = subPath;
        for (int i = 0; i < snapshot.Paths.Count; i++)
        {
            ReadOnlySpan<byte> path = snapshot.RawPaths is { } raw && i < raw.Count ? raw[i] : Encoding.UTF8.GetBytes(snapshot.Paths[i]);
            if (path.Length > 0 && path[0] == (byte)'/')
            {
                _paths.Add(path.TrimEnd((byte)'/').ToArray());
            }
        }
    }

    /// <summary>Whether entries of this directory (its path inside what is restored; empty for the root) may be removed.</summary>
    public bool Allows(ReadOnlySpan<byte> directory)
    {
        byte[] full = [.. _prefix, .. directory];
        foreach (byte[] path in _paths)
        {
            if (full.AsSpan().StartsWith(path) && (full.Length == path.Length || full[path.Length] == (byte)'/'))
            {
                return true;
            }
        }

        return false;
    }
}
