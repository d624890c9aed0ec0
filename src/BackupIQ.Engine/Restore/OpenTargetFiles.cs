namespace BackupIQ.Engine.Restore;

/// <summary>
/// The files of several chunks that are being written: open while chunks come in, closed when too many are, and opened again by name and
/// identity. Thread-safe.
/// </summary>
internal sealed class OpenTargetFiles(IRestoreTarget target, bool reserve, int limit = 128)
{
    private readonly Lock _gate = new();
    private readonly LinkedList<PlannedFile> _open = [];
    private readonly HashSet<PlannedFile> _unfinished = [];

    /// <summary>Opens or makes the file; <see cref="Return"/> must follow.</summary>
    public ITargetFile Rent(PlannedFile file)
    {
        ITargetFile handle;
        lock (file)
        {
            handle = file.Handle ??= Open(file);
            file.Users++;
        }

        List<PlannedFile>? surplus = null;
        lock (_gate)
        {
            if (file.Place is null)
            {
                file.Place = _open.AddLast(file);
            }
            else if (file.Place.Next is not null)
            {
                _open.Remove(file.Place);
                _open.AddLast(file.Place);
            }

            for (LinkedListNode<PlannedFile>? node = _open.First; _open.Count > limit && node is not null && node.Value != file;)
            {
                LinkedListNode<PlannedFile>? next = node.Next;
                (surplus ??= []).Add(node.Value);
                node.Value.Place = null;
                _open.Remove(node);
                node = next;
            }
        }

        foreach (PlannedFile old in surplus ?? [])
        {
            CloseIfUnused(old);
        }

        return handle;
    }

    public void Return(PlannedFile file)
    {
        bool isSurplus;
        lock (_gate)
        {
            isSurplus = file.Place is null;
        }

        lock (file)
        {
            file.Users--;
            if (isSurplus && file.Users == 0)
            {
                file.Handle?.Dispose();
                file.Handle = null;
            }
        }
    }

    /// <summary>The file is done with: it is closed, and removed unless it is whole or was there before.</summary>
    public void Finish(PlannedFile file, bool remove)
    {
        lock (_gate)
        {
            if (file.Place is not null)
            {
                _open.Remove(file.Place);
                file.Place = null;
            }

            _unfinished.Remove(file);
        }

        lock (file)
        {
            file.Handle?.Dispose();
            file.Handle = null;
        }

        if (remove && file.Identity is not null && file.Placement == Placement.New)
        {
            target.Remove(file.Directory.Target!, file.Metadata.Name, isDirectory: false);
        }
    }

    /// <summary>The run ends early: removes the files that are not whole.</summary>
    public void Abandon()
    {
        PlannedFile[] files;
        lock (_gate)
        {
            files = [.. _unfinished];
        }

        foreach (PlannedFile file in files)
        {
            Finish(file, remove: true);
        }
    }

    private void CloseIfUnused(PlannedFile file)
    {
        lock (file)
        {
            if (file.Users == 0)
            {
                file.Handle?.Dispose();
                file.Handle = null;
            }
        }
    }

    private ITargetFile Open(PlannedFile file)
    {
        if (file.Identity is { } identity)
        {
            return target.OpenFile(file.Directory.Target!, file.Metadata.Name, identity, write: true);
        }

        bool isNew = file.Placement == Placement.New;
        ITargetFile handle = isNew
            ? target.CreateFile(file.Directory.Target!, file.Metadata.Name)
            : target.OpenFile(file.Directory.Target!, file.Metadata.Name, file.Existing.Identity, write: true);
        file.Identity = handle.Identity;
        lock (_gate)
        {
            _unfinished.Add(file);
        }

        try
        {
            long size = (long)file.Metadata.Size;
            if (isNew || file.Existing.Size != file.Metadata.Size)
            {
                handle.SetLength(size);
            }

            if (reserve && isNew && file.Extents is null && size > 0)
            {
                handle.Reserve(size);
            }

            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }
}
