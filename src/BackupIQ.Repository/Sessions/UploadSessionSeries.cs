using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// Sessions that commit one snapshot each, one after the other. All are announced before marks and index are loaded, which they share. So
/// whatever one of them stores was stored while all later ones were open: a collector that marks it waits for them, and they may rely on it as
/// on their own. Where one is fenced the others are to be given up, too.
/// </summary>
public sealed class UploadSessionSeries : IAsyncDisposable
{
    private readonly IReadOnlyList<UploadSession> _sessions;
    private int _next;

    private UploadSessionSeries(IReadOnlyList<UploadSession> sessions, IndexLoad load)
    {
        _sessions = sessions;
        Index = load.Index;
        Findings = load.Findings;
    }

    /// <summary>The index as it was when the sessions were open, with what they stored since.</summary>
    public ChunkIndex Index { get; }

    /// <summary>What was found damaged while the index was loaded; the chunks concerned are stored again.</summary>
    public IReadOnlyList<string> Findings { get; }

    /// <summary>Announces <paramref name="count"/> sessions, then loads marks and index.</summary>
    /// <exception cref="StorageException">The storage cannot be written or read.</exception>
    public static async Task<UploadSessionSeries> OpenAsync(
        BackupRepository repository, UploadOptions options, int count, string? cacheFolder, TimeProvider time, CancellationToken cancellationToken)
    {
        List<UploadSession> sessions = [];
        try
        {
            for (int i = 0; i < count; i++)
            {
                sessions.Add(await UploadSession.OpenWithoutIndexAsync(repository, options, time, cancellationToken));
            }

            await SessionSweep.RunAsync(repository, sessions[0].Spool, time, cancellationToken);
            IndexLoad load = await IndexLoader.LoadAsync(repository, cacheFolder, cancellationToken);
            LockMemory memory = LockMemory.Of(repository, cacheFolder);
            sessions.ForEach(session => session.Share(load, memory));
            return new UploadSessionSeries(sessions, load);
        }
        catch
        {
            await DisposeAllAsync(sessions);
            throw;
        }
    }

    /// <summary>The next session; the series keeps it and disposes it.</summary>
    public UploadSession Next() => _sessions[_next++];

    /// <summary>Ends the sessions that have not committed.</summary>
    public async ValueTask DisposeAsync()
    {
        await DisposeAllAsync(_sessions);
        Index.Dispose();
    }

    private static async Task DisposeAllAsync(IEnumerable<UploadSession> sessions)
    {
        foreach (UploadSession session in sessions)
        {
            await session.DisposeAsync();
        }
    }
}
