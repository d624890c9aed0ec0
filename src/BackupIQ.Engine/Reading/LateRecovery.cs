using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// Adds to an index, once and only when something is missing, what packs say of themselves that no segment names: a lost segment then costs
/// time and no file. Thread-safe; blocks on the storage.
/// </summary>
internal sealed class LateRecovery(BackupRepository repository, ChunkIndex index, Action<string> notice)
{
    private readonly Lock _gate = new();
    private bool _isDone;

    /// <summary>Recovers what can be, unless that was done before.</summary>
    public void Run()
    {
        lock (_gate)
        {
            if (_isDone)
            {
                return;
            }

            _isDone = true;
            foreach (string finding in IndexRecovery.AddUnindexedPacksAsync(repository, index, CancellationToken.None).GetAwaiter().GetResult())
            {
                notice(finding);
            }
        }
    }
}
