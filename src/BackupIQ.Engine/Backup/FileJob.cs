using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Backup;

/// <summary>A file on its way from the walk through a worker to its directory. One worker fills it in; the assembler waits for it.</summary>
internal sealed class FileJob(SourceEntry entry, NodeMetadata metadata)
{
    private readonly object _gate = new();
    private volatile bool _isDone;

    public SourceEntry Entry { get; } = entry;

    public NodeMetadata Metadata { get; private set; } = metadata;

    /// <summary>The file's state when it was opened: what the next run compares with.</summary>
    public SourceStat Stat { get; private set; } = entry.Stat;

    /// <summary>Where the content is, or null when the file could not be read.</summary>
    public FileContent? Content { get; private set; }

    public bool ChangedWhileRead { get; private set; }

    /// <summary>Bytes read.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Hands the result over; with <paramref name="content"/> null the file is left out of the snapshot.</summary>
    public void Complete(FileContent? content, in SourceStat stat, long bytesRead, bool changed)
    {
        Content = content;
        Stat = stat;
        BytesRead = bytesRead;
        ChangedWhileRead = changed;
        if (content is not null)
        {
            Metadata = Metadata with { Size = (ulong)bytesRead, Modified = stat.Modified };
        }

        lock (_gate)
        {
            _isDone = true;
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits for <see cref="Complete"/>; gives up with the token, which whoever ends the run must signal.</summary>
    public void Wait(CancellationToken cancellationToken)
    {
        if (_isDone)
        {
            return;
        }

        lock (_gate)
        {
            while (!_isDone)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Monitor.Wait(_gate, TimeSpan.FromMilliseconds(100));
            }
        }
    }
}
