using BackupIQ.Primitives;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A file that is there whole and durable, or not at all.</summary>
internal sealed class WalTarget : IDisposable
{
    private readonly string _target;
    private readonly string _temporary;
    private bool _isCommitted;

    public WalTarget(string target)
    {
        _target = Path.GetFullPath(target);
        _temporary = Path.Combine(Path.GetDirectoryName(_target) ?? "/", $".backupiq-{SessionId.New()}");
        Stream = DurableFile.OpenPrivate(_temporary, FileMode.CreateNew, FileShare.None);
    }

    public FileStream Stream { get; }

    public void Commit()
    {
        Stream.Flush(flushToDisk: true);
        Stream.Dispose();
        File.Move(_temporary, _target, overwrite: true);
        _isCommitted = true;
        DurableFile.SyncFolder(Path.GetDirectoryName(_target) ?? "/");
    }

    public void Dispose()
    {
        Stream.Dispose();
        if (!_isCommitted)
        {
            File.Delete(_temporary);
        }
    }
}
