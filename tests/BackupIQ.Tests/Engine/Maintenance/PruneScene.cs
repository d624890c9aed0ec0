using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;

namespace BackupIQ.Tests.Engine.Maintenance;

/// <summary>A repository on disk that is backed up into, thinned and pruned.</summary>
internal sealed class PruneScene : IAsyncDisposable
{
    private PruneScene(RealRepository repository, FaultyBackend storage)
    {
        Real = repository;
        Storage = storage;
    }

    public RealRepository Real { get; }

    public FaultyBackend Storage { get; }

    public ScratchFolder Scratch => Real.Scratch;

    public string Source => Scratch.At("source");

    public static async Task<PruneScene> CreateAsync()
    {
        FaultyBackend storage = null!;
        RealRepository repository = await RealRepository.CreateAsync(inner => storage = new FaultyBackend(inner, TimeProvider.System));
        return new PruneScene(repository, storage);
    }

    /// <summary>Writes files of random bytes that depend on the seed.</summary>
    public void WriteFiles(int count, int seed, int size = 200_000)
    {
        for (int i = 0; i < count; i++)
        {
            Scratch.WriteRandom($"source/file {i}", size, (seed * 1000) + i);
        }
    }

    public void DeleteFiles(IEnumerable<int> numbers)
    {
        foreach (int number in numbers)
        {
            File.Delete(Scratch.At("source", $"file {number}"));
        }
    }

    public async Task<Snapshot> BackupAsync(SnapshotType type = SnapshotType.Full) =>
        (await Real.BackupAsync(Source, new BackupOptions { Hostname = "here", Type = type })).Snapshot!;

    /// <summary>Removes a snapshot as forget does when its grace time is over.</summary>
    public Task ForgetAsync(Snapshot snapshot) => SnapshotObjects.RemoveAsync(Real.Repository, snapshot.Id, CancellationToken.None);

    public Task<PruneResult> PruneAsync(
        PruneLimits? limits = null, bool dryRun = false, bool exclusive = false, TimeSpan? lease = null, CancellationToken cancellationToken = default) =>
        new PruneRunner(Real.Repository, TimeProvider.System).RunAsync(
            new PruneOptions
            {
                Collector = Options with { Lease = lease ?? TimeSpan.FromMinutes(15) },
                Limits = limits ?? new PruneLimits(),
                DryRun = dryRun,
                Exclusive = exclusive,
            },
            new PruneProgress(),
            cancellationToken);

    public static CollectorOptions Options { get; } = new() { Hostname = "here", PollInterval = TimeSpan.FromMilliseconds(20) };

    public string[] Packs() => [.. Real.Objects("d/"), .. Real.Objects("m/")];

    public static long Bytes(string[] files) => files.Sum(static f => new FileInfo(f).Length);

    public Task PutAsync(string name, byte[] bytes) =>
        Storage.PutAsync(new StorageKey(name), StorageContent.FromBytes(bytes), CancellationToken.None).AsTask();

    /// <summary>A writer's session that has looked at marks and index, and does nothing more.</summary>
    public Task<UploadSession> OpenWriterAsync() => UploadSession.OpenAsync(
        Real.Repository, new UploadOptions { Hostname = "here", IndexEvery = long.MaxValue }, null, TimeProvider.System, CancellationToken.None);

    /// <summary>Announces a session of a process that is gone.</summary>
    public async Task<SessionId> AnnounceDeadAsync(string purpose)
    {
        using System.Diagnostics.Process gone = System.Diagnostics.Process.Start("true");
        await gone.WaitForExitAsync();
        SessionDocument document = LiveSession.Describe(purpose, "here", "", "", TimeProvider.System) with { ProcessId = gone.Id, ProcessStarted = 1 };
        await using LiveSession session = await LiveSession.OpenAsync(Real.Repository, document, TimeProvider.System, CancellationToken.None);
        return session.Id;
    }

    public async Task ShouldRestoreAsync(Snapshot snapshot)
    {
        string target = Scratch.At($"target {Guid.NewGuid():n}");
        (await Real.RestoreAsync(snapshot, target)).ExitCode.ShouldBe(0);
        ScratchFolder.Run("diff", "-r", Source, target + Source).ShouldBeEmpty();
    }

    public async Task ShouldBeCleanAsync()
    {
        CheckResult check = await Real.CheckAsync(readData: true);
        check.Findings.Where(static f => f.IsError).Select(static f => f.Damage.ToString()).ShouldBeEmpty();
    }

    public ValueTask DisposeAsync() => Real.DisposeAsync();
}
