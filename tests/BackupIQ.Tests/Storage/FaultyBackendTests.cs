using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>The tools that other tests rely on do what they say.</summary>
public sealed class FaultyBackendTests
{
    private readonly MemoryBackend _memory = new(TimeProvider.System);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AFailureBeforeHasNoEffectAndOneAfterHas()
    {
        await using FaultyBackend storage = Faulty(
            new Fault(StorageOperation.Put, "a/", FaultKind.FailBefore), new Fault(StorageOperation.Put, "b/", FaultKind.FailAfter));
        (await FailsAsync(() => PutAsync(storage, "a/1"))).IsTransient.ShouldBeTrue();
        await FailsAsync(() => PutAsync(storage, "b/1"));
        (await PutAsync(storage, "c/1")).ShouldBe(PutOutcome.Stored);
        (await ListAsync(_memory)).ShouldBe(["b/1", "c/1"]);
        storage.Applied.ShouldBe(2);
        storage.Heal();
        (await PutAsync(storage, "b/1")).ShouldBe(PutOutcome.Stored);
    }

    [Fact]
    public async Task SkipAndTimesPickTheCalls()
    {
        await using FaultyBackend storage = Faulty(
            new Fault(StorageOperation.Put, "", FaultKind.FailBefore) { Skip = 1, Times = 2, Code = ErrorCodes.StorageTimeout });
        await PutAsync(storage, "1");
        (await FailsAsync(() => PutAsync(storage, "2"))).Code.ShouldBe(ErrorCodes.StorageTimeout);
        await FailsAsync(() => PutAsync(storage, "3"));
        await PutAsync(storage, "4");
        (await ListAsync(_memory)).ShouldBe(["1", "4"]);
    }

    [Fact]
    public async Task ReadsAreCutAndBitsFlipped()
    {
        await using FaultyBackend storage = Faulty(
            new Fault(StorageOperation.Read, "cut", FaultKind.TruncateRead), new Fault(StorageOperation.Read, "flip", FaultKind.FlipByte));
        await PutAsync(storage, "cut");
        await PutAsync(storage, "flip");
        byte[] bytes = new byte[4];
        (await storage.ReadAsync(new StorageKey("cut"), 0, bytes, Token)).ShouldBe(2);
        (await storage.ReadAsync(new StorageKey("flip"), 0, bytes, Token)).ShouldBe(4);
        bytes.ShouldBe([1, 2, 3 ^ 0x10, 4]);
    }

    [Fact]
    public async Task AFullStorageTakesWhatStillFits()
    {
        await using FaultyBackend storage = Faulty();
        storage.Room = 10;
        await PutAsync(storage, "1");
        await PutAsync(storage, "2");
        (await FailsAsync(() => PutAsync(storage, "3"))).Code.ShouldBe(ErrorCodes.StorageFull);
        (await ListAsync(_memory)).ShouldBe(["1", "2"]);
    }

    [Fact]
    public async Task AHiddenPutIsReadByNameButListedLater()
    {
        await using FaultyBackend storage = new(_memory, TimeProvider.System, new Fault(StorageOperation.Put, "s/", FaultKind.HideFromListings))
        {
            ListingLag = TimeSpan.FromSeconds(5),
        };
        storage.Capabilities.ListingLag.ShouldBe(TimeSpan.FromSeconds(5));
        await PutAsync(storage, "s/1");
        (await ListAsync(storage)).ShouldBeEmpty();
        (await storage.StatAsync(new StorageKey("s/1"), Token)).ShouldNotBeNull();
        storage.Reveal("s/");
        (await ListAsync(storage)).ShouldBe(["s/1"]);
    }

    [Fact]
    public async Task ListingsDeletesStatsAndSpaceFailToo()
    {
        await using FaultyBackend storage = Faulty([.. Enum.GetValues<StorageOperation>()
            .Where(o => o != StorageOperation.Put).Select(o => new Fault(o, "", FaultKind.FailAfter))]);
        await PutAsync(storage, "1");
        await FailsAsync(() => ListAsync(storage));
        await FailsAsync(async () => await storage.StatAsync(new StorageKey("1"), Token));
        await FailsAsync(async () => await storage.GetSpaceAsync(Token));
        await FailsAsync(async () => await storage.ReadAsync(new StorageKey("1"), 0, new byte[1], Token));
        await FailsAsync(async () => await storage.DeleteAsync(new StorageKey("1"), Token));
        (await ListAsync(_memory)).ShouldBeEmpty();
    }

    [Fact]
    public async Task ARecorderTellsWhatWasAsked()
    {
        await using RecordingBackend storage = new(_memory);
        await PutAsync(storage, "d/1");
        await PutAsync(storage, "s/1");
        await storage.ReadAsync(new StorageKey("d/1"), 2, new byte[7], Token);
        await ListAsync(storage);
        storage.Calls.ShouldBe(
        [
            new StorageCall(StorageOperation.Put, "d/1", 0, 4),
            new StorageCall(StorageOperation.Put, "s/1", 0, 4),
            new StorageCall(StorageOperation.Read, "d/1", 2, 7),
            new StorageCall(StorageOperation.List, "", 0, 0),
        ]);
        storage.Count(StorageOperation.Put).ShouldBe(2);
        storage.Count(StorageOperation.Put, "s/").ShouldBe(1);
        storage.Bytes(StorageOperation.Put).ShouldBe(8);
        storage.Clear();
        storage.Calls.ShouldBeEmpty();
    }

    private FaultyBackend Faulty(params Fault[] script) => new(_memory, TimeProvider.System, script);

    private static async Task<PutOutcome> PutAsync(IStorageBackend storage, string key) =>
        await storage.PutAsync(new StorageKey(key), StorageContent.FromBytes(new byte[] { 1, 2, 3, 4 }), Token);

    private static async Task<List<string>> ListAsync(IStorageBackend storage)
    {
        List<string> keys = [];
        await foreach (StoredObject item in storage.ListAsync("", Token))
        {
            keys.Add(item.Key.Value);
        }

        keys.Sort(StringComparer.Ordinal);
        return keys;
    }

    private static Task<StorageException> FailsAsync(Func<Task> call) => Should.ThrowAsync<StorageException>(call);
}
