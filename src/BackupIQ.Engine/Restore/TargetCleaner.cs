using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Removes what the snapshot does not have. Only what the filter chooses, never through a symbolic link, and never across into another
/// file system that is mounted in the target. Depth costs no stack.
/// </summary>
internal sealed class TargetCleaner(IRestoreTarget target, RestoreOptions options, RestoreProgress progress)
{
    /// <summary>
    /// Removes an entry with everything in it. A directory in which something has to stay, stays; false then.
    /// </summary>
    /// <param name="directory">The directory that it is in.</param>
    /// <param name="path">The directory's path, without a slash at its end.</param>
    /// <param name="name">The entry.</param>
    /// <param name="filtered">Whether the filter is asked.</param>
    public bool Remove(TargetDirectory directory, byte[] path, byte[] name, bool filtered)
    {
        if (!target.TryStat(directory, name, out TargetEntry entry))
        {
            return true;
        }

        byte[] full = Join(path, name);
        if (entry.Type != NodeType.Directory)
        {
            return RemoveOne(directory, name, full, isDirectory: false, filtered);
        }

        Stack<Level> levels = new();
        if (!TryEnter(levels, directory, name, full, filtered, entry.Identity.Device))
        {
            return false;
        }

        bool removed = true;
        while (levels.TryPeek(out Level? level))
        {
            if (level.Next < level.Names.Count)
            {
                byte[] child = level.Names[level.Next++];
                byte[] childPath = Join(level.Path, child);
                if (!target.TryStat(level.Directory, child, out TargetEntry found))
                {
                    continue;
                }

                level.KeepsSomething |= found.Type == NodeType.Directory
                    ? !TryEnter(levels, level.Directory, child, childPath, filtered, entry.Identity.Device, found.Identity.Device)
                    : !RemoveOne(level.Directory, child, childPath, isDirectory: false, filtered);
                continue;
            }

            levels.Pop();
            target.LeaveDirectory(level.Directory);
            removed = !level.KeepsSomething && RemoveOne(level.Parent, level.Name, level.Path, isDirectory: true, filtered);
            if (!removed && levels.TryPeek(out Level? outer))
            {
                outer.KeepsSomething = true;
            }
        }

        return removed;
    }

    private static byte[] Join(byte[] path, byte[] name) => [.. path, (byte)'/', .. name];

    private bool TryEnter(
        Stack<Level> levels, TargetDirectory parent, byte[] name, byte[] path, bool filtered, ulong device, ulong? own = null)
    {
        if (own is { } other && other != device)
        {
            progress.Warn("another file system is mounted there; nothing in it was deleted", () => path);
            return false;
        }

        if (filtered && options.Filter is { } filter)
        {
            FilterVerdict verdict = filter(path, isDirectory: true);
            if (!verdict.Selected && !verdict.ChildMayBeSelected)
            {
                return false;
            }
        }

        try
        {
            TargetDirectory directory = target.OpenDirectory(parent, name);
            levels.Push(new Level(parent, directory, name, path, target.List(directory)));
            return true;
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            progress.Fail(e.Code, path, e.Message, isEntry: false);
            return false;
        }
    }

    private bool RemoveOne(TargetDirectory directory, byte[] name, byte[] path, bool isDirectory, bool filtered)
    {
        if (filtered && options.Filter is { } filter && !filter(path, isDirectory).Selected)
        {
            return false;
        }

        try
        {
            if (!options.DryRun)
            {
                target.Remove(directory, name, isDirectory);
            }

            progress.Count(RestoreAction.Deleted);
            progress.Tell(RestoreAction.Deleted, path, 0);
            return true;
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            progress.Fail(e.Code, path, e.Message, isEntry: false);
            return false;
        }
    }

    private sealed class Level(TargetDirectory parent, TargetDirectory directory, byte[] name, byte[] path, IReadOnlyList<byte[]> names)
    {
        public TargetDirectory Parent { get; } = parent;

        public TargetDirectory Directory { get; } = directory;

        public byte[] Name { get; } = name;

        public byte[] Path { get; } = path;

        public IReadOnlyList<byte[]> Names { get; } = names;

        public int Next { get; set; }

        public bool KeepsSomething { get; set; }
    }
}
