using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// A session's life in the repository (docs/format.md, Sessions): announced before anything is listed, a beat every few minutes, an end.
/// While it lives no collector takes away what it may rely on. Disposed without an end it looks dead, and is fenced off or ended by the
/// next collector.
/// </summary>
public sealed class LiveSession : IAsyncDisposable
{
    // A lease is judged by observers after 15 minutes without a new beat; four beats fit in, so a slow store does not cost a session.
    private static readonly TimeSpan BeatEvery = TimeSpan.FromMinutes(3);

    private readonly BackupRepository _repository;
    private readonly TimeProvider _time;
    private readonly Action<long> _onPut;
    private readonly Lock _gate = new();
    private ITimer? _beats;
    private Task _beating = Task.CompletedTask;
    private int _number;
    private bool _isOver;

    private LiveSession(BackupRepository repository, SessionId id, TimeProvider time, Action<long> onPut)
    {
        _repository = repository;
        _time = time;
        _onPut = onPut;
        Id = id;
    }

    /// <summary>The session's id.</summary>
    public SessionId Id { get; }

    /// <summary>
    /// Announces a session. When this returns, every collector that marks anything from now on sees it and waits for it.
    /// </summary>
    /// <exception cref="StorageException">The storage cannot be written.</exception>
    public static Task<LiveSession> OpenAsync(
        BackupRepository repository, SessionDocument document, TimeProvider time, CancellationToken cancellationToken) =>
        OpenAsync(repository, SessionId.New(), document, time, static _ => { }, cancellationToken);

    /// <summary>The document of a session of this process.</summary>
    public static SessionDocument Describe(string purpose, string hostname, string username, string programVersion, TimeProvider time) => new()
    {
        Purpose = purpose,
        Hostname = hostname,
        MachineName = Environment.MachineName,
        Username = username,
        ProcessId = Environment.ProcessId,
        ProcessStarted = ProcessIdentity.OwnStart,
        PidNamespace = ProcessIdentity.PidNamespace,
        BootId = ProcessIdentity.BootId,
        MachineId = ProcessIdentity.MachineId,
        Opened = time.GetUtcNow(),
        ProgramVersion = programVersion,
    };

    internal static async Task<LiveSession> OpenAsync(
        BackupRepository repository, SessionId id, SessionDocument document, TimeProvider time, Action<long> onPut, CancellationToken cancellationToken)
    {
        LiveSession session = new(repository, id, time, onPut);
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(document, SessionJson.Default.SessionDocument);
        await session.PutAsync(ObjectKind.SessionOpen, RepositoryLayout.SessionOpen(id), json, cancellationToken);
        await repository.WaitForListingsAsync(time, cancellationToken);
        session._beats = time.CreateTimer(static s => ((LiveSession)s!).Beat(), session, BeatEvery, BeatEvery);
        return session;
    }

    /// <summary>
    /// Says that the session is over, so that no collector waits for it. To be called only when every put of the session has been answered:
    /// one that may still arrive would arrive unprotected.
    /// </summary>
    public async Task EndAsync(CancellationToken cancellationToken)
    {
        await StopAsync();
        await PutAsync(ObjectKind.SessionEnd, RepositoryLayout.SessionEnd(Id), ReadOnlyMemory<byte>.Empty, cancellationToken);
    }

    /// <summary>
    /// Whether somebody else took this session for dead and ended or fenced it. What it listed before may have changed in ways from which a
    /// living session is protected.
    /// </summary>
    public async Task<bool> IsGivenUpAsync(CancellationToken cancellationToken)
    {
        foreach (StorageKey key in (StorageKey[])[RepositoryLayout.SessionEnd(Id), RepositoryLayout.Snapshot(Id), RepositoryLayout.Fence(Id)])
        {
            if (await _repository.Storage.StatAsync(key, cancellationToken) is not null)
            {
                return true;
            }
        }

        return await _repository.Storage.StatAsync(RepositoryLayout.SessionOpen(Id), cancellationToken) is null;
    }

    /// <summary>Stops beating; puts nothing.</summary>
    public async ValueTask DisposeAsync() => await StopAsync();

    private async Task StopAsync()
    {
        Task beating;
        lock (_gate)
        {
            _isOver = true;
            beating = _beating;
        }

        if (_beats is { } beats)
        {
            _beats = null;
            await beats.DisposeAsync();
        }

        await beating;
    }

    private void Beat()
    {
        lock (_gate)
        {
            // One at a time: where the storage hangs, beats do not pile up.
            if (!_isOver && _beating.IsCompleted)
            {
                _beating = BeatAsync();
            }
        }
    }

    private async Task BeatAsync()
    {
        await Task.Yield();
        try
        {
            // A number is used until it is there, so that there are no gaps: one that is taken was put by us, and its answer lost.
            await PutAsync(ObjectKind.SessionBeat, RepositoryLayout.SessionBeat(Id, _number + 1), ReadOnlyMemory<byte>.Empty, CancellationToken.None);
            _number++;
        }
        catch (StorageException)
        {
            // The next beat tries again; if none gets through the session is taken for dead, and finds out at its commit.
        }
    }

    private async Task PutAsync(ObjectKind kind, StorageKey key, ReadOnlyMemory<byte> plain, CancellationToken cancellationToken)
    {
        byte[] bytes = SealedObject.Seal(_repository.Keys, kind, key, plain.Span);
        await _repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken);
        _onPut(bytes.Length);
    }
}
