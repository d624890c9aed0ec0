using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing;

namespace BackupIQ.Tests.Engine.Snapshots;

/// <summary>
/// A repository in memory with snapshots of any time, committed by the real protocol; their trees are nowhere. The storage has a clock of its own.
/// </summary>
internal sealed class SnapshotScene : IAsyncDisposable
{
    public static readonly DateTimeOffset Start = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private SnapshotScene(BackupRepository repository, MemoryBackend memory, ManualTime time, ManualTime storeTime)
    {
        Repository = repository;
        Memory = memory;
        Time = time;
        StoreTime = storeTime;
        Said = new AnnotationStore(repository, new AnnotationAuthor("desk", "ann", "test"), time);
    }

    public BackupRepository Repository { get; }

    public MemoryBackend Memory { get; }

    public ManualTime Time { get; }

    public ManualTime StoreTime { get; }

    public AnnotationStore Said { get; }

    public static async Task<SnapshotScene> CreateAsync(Func<MemoryBackend, IStorageBackend>? decorate = null, TimeZoneInfo? zone = null)
    {
        ManualTime time = new(Start, zone);
        ManualTime storeTime = new(Start);
        MemoryBackend memory = new(storeTime);
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        CreatedRepository created = await BackupRepository.CreateAsync(decorate?.Invoke(memory) ?? memory, options, time, CancellationToken.None);
        return new SnapshotScene(created.Repository, memory, time, storeTime);
    }

    /// <summary>Sets both clocks.</summary>
    public void Set(DateTimeOffset now)
    {
        Time.Now = now;
        StoreTime.Now = now;
    }

    /// <summary>Commits a snapshot that claims <paramref name="time"/>; the storage's clock says when it was stored.</summary>
    public async Task<SessionId> CommitAsync(
        DateTimeOffset time, string host = "here", string path = "/data", SnapshotType type = SnapshotType.Incremental, params string[] tags)
    {
        await using UploadSession session = await UploadSession.OpenAsync(
            Repository, new UploadOptions { Purpose = "backup", Hostname = host }, null, Time, CancellationToken.None);
        await session.CommitAsync(
            SnapshotStore.Write(new Snapshot
            {
                Time = time,
                Ended = time.AddMinutes(1),
                Hostname = host,
                Paths = [path],
                Tags = tags,
                Kind = "files",
                Type = type,
                Tree = new string('0', 64),
            }),
            CancellationToken.None);
        await session.EndAsync(CancellationToken.None);
        return session.Id;
    }

    public async Task<Snapshot> ReadAsync(SessionId id) =>
        (await new SnapshotStore(Repository).ListAnnotatedAsync(CancellationToken.None)).Single(snapshot => snapshot.Id == id);

    public async Task<IReadOnlyList<SessionId>> ShownAsync() =>
        [.. (await new SnapshotStore(Repository).ListAsync(CancellationToken.None)).Select(static snapshot => snapshot.Id)];

    /// <summary>The names that stand under a prefix.</summary>
    public async Task<IReadOnlyList<string>> NamesAsync(string prefix)
    {
        List<string> names = [];
        await foreach (StoredObject stored in Memory.ListAsync(prefix, CancellationToken.None))
        {
            names.Add(stored.Key.Value);
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    public async ValueTask DisposeAsync()
    {
        await Repository.DisposeAsync();
        await Memory.DisposeAsync();
    }
}
