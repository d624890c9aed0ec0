using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// The session of somebody who reads for long: while it lives no collector takes away what may be read. Where the storage does not take it
/// (it is read-only), or the key in use seals nothing any more, the reader does without, and lists again where it finds something gone. Disposed it has ended.
/// </summary>
public sealed class ReadingSession : IAsyncDisposable
{
    private readonly LiveSession? _life;

    private ReadingSession(LiveSession? life) => _life = life;

    /// <summary>Announces the reader, before it lists anything.</summary>
    public static async Task<ReadingSession> OpenAsync(BackupRepository repository, SessionDocument document, TimeProvider time, CancellationToken cancellationToken)
    {
        if (repository.Keys.OutdatedBy is not null)
        {
            return new ReadingSession(null);
        }

        try
        {
            return new ReadingSession(await LiveSession.OpenAsync(repository, document, time, cancellationToken));
        }
        catch (StorageException)
        {
            return new ReadingSession(null);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_life is null)
        {
            return;
        }

        try
        {
            await _life.EndAsync(CancellationToken.None);
        }
        catch (StorageException)
        {
            // It looks dead then, and the next collector gives it up.
        }
    }
}
