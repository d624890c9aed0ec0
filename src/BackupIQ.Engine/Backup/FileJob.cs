using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// A file on its way from the walk through a worker to its directory. One worker fills it in; the assembler waits for it, and is woken once
/// for the whole batch, because a wake-up costs more than a small file.
/// </summary>
internal sealed class FileJob(SourceEntry entry, ParentPages? parent, FileBatch batch)
{
    private volatile bool _isDone;

    public SourceEntry Entry { get; } = entry;

    /// <summary>The page map that the file is compared with, where it consists of pages and a parent has one.</summary>
    public ParentPages? Parent { get; } = parent;

    /// <summary>What is kept of it; null until it is complete, and when it could not be read.</summary>
    public NodeMetadata? Metadata { get; private set; }

    /// <summary>The file's state when it was opened: what the next run compares with.</summary>
    public SourceStat Stat { get; private set; } = entry.Stat;

    /// <summary>Where the content is, or null when the file could not be read.</summary>
    public FileContent? Content { get; private set; }

    public bool ChangedWhileRead { get; private set; }

    /// <summary>Bytes read.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Hands the result over.</summary>
    public void Complete(FileContent content, NodeMetadata metadata, in SourceStat stat, long bytesRead, bool changed)
    {
        Content = content;
        Stat = stat;
        BytesRead = bytesRead;
        ChangedWhileRead = changed;
        Metadata = metadata.Size == (ulong)bytesRead ? metadata : metadata with { Size = (ulong)bytesRead };
        _isDone = true;
    }

    /// <summary>The file could not be read: it is left out of the snapshot.</summary>
    public void Fail() => _isDone = true;

    /// <summary>Waits for <see cref="Complete"/>; gives up with the token, which whoever ends the run must signal.</summary>
    public void Wait(CancellationToken cancellationToken)
    {
        if (_isDone)
        {
            return;
        }

        lock (batch)
        {
            while (!_isDone)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Monitor.Wait(batch, TimeSpan.FromMilliseconds(100));
            }
        }
    }
}
