using BackupIQ.Primitives;
using BackupIQ.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Testing.Storage;

/// <summary>
/// Every guarantee of <see cref="IStorageBackend"/>, as tests: a backend's test class derives from this one and says how to connect.
/// What a storage does not declare (<see cref="StorageCapabilities"/>) is skipped.
/// </summary>
public abstract class StorageConformance : IAsyncLifetime
{
    private readonly List<IStorageBackend> _clients = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("backupiq-conformance-").FullName;

    /// <summary>The big object's bytes; a remote storage may take less.</summary>
    protected virtual int BigObjectSize => 40 * 1024 * 1024;

    private static CancellationToken Cancelled => new(canceled: true);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    /// <summary>Another client of the same storage, which is empty when a test begins. The suite disposes it.</summary>
    protected abstract ValueTask<IStorageBackend> ConnectAsync();

    /// <inheritdoc/>
    public virtual ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <inheritdoc/>
    public virtual async ValueTask DisposeAsync()
    {
        foreach (IStorageBackend client in _clients)
        {
            await client.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task WhatWasPutIsReadStatedAndListed()
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(100_000);
        (await PutAsync(storage, "d/ab/abcd", bytes)).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/ab/abcd", bytes);
        StoredObject stat = (await storage.StatAsync(new StorageKey("d/ab/abcd"), Token)).ShouldNotBeNull();
        stat.Key.Value.ShouldBe("d/ab/abcd");
        stat.Size.ShouldBe(bytes.Length);
        stat.StoredAt.Year.ShouldBeGreaterThan(1999);
        await ListingShowsAsync(storage, "d/", "d/ab/abcd");
        (await ListAsync(storage, "d/")).ShouldBe([stat]);
    }

    [Fact]
    public async Task AnotherClientSeesWhatWasPut()
    {
        IStorageBackend one = await ClientAsync();
        IStorageBackend other = await ClientAsync();
        await PutAsync(one, "s/1", Bytes(10));
        await ShouldHoldAsync(other, "s/1", Bytes(10));
        await ListingShowsAsync(other, "s/", "s/1");
        await PutAsync(other, "s/2", Bytes(11));
        await ShouldHoldAsync(one, "s/2", Bytes(11));
        await ListingShowsAsync(one, "s/", "s/1", "s/2");
    }

    [Fact]
    public async Task AnEmptyObjectIsAnObject()
    {
        IStorageBackend storage = await ClientAsync();
        (await PutAsync(storage, "l/empty", [])).ShouldBe(PutOutcome.Stored);
        (await storage.StatAsync(new StorageKey("l/empty"), Token)).ShouldNotBeNull().Size.ShouldBe(0);
        (await storage.ReadAsync(new StorageKey("l/empty"), 0, new byte[10], Token)).ShouldBe(0);
        (await PutAsync(storage, "l/empty", [])).ShouldBe(PutOutcome.Stored);
        (await PutAsync(storage, "l/empty", [1])).ShouldBe(PutOutcome.AlreadyThere);
    }

    [Fact]
    public async Task PuttingTheSameBytesAgainIsStored()
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(3_000_000);
        await PutAsync(storage, "d/1", bytes);
        (await PutAsync(storage, "d/1", bytes)).ShouldBe(PutOutcome.Stored);
        (await PutFileAsync(storage, "d/1", bytes, inSpool: true)).ShouldBe(PutOutcome.Stored);
        (await PutFileAsync(storage, "d/1", bytes, inSpool: false)).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/1", bytes);
    }

    [Fact]
    public async Task PuttingOtherBytesIsAlreadyThereAndChangesNothing()
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(2_500_000);
        await PutAsync(storage, "s/1", bytes);
        byte[] lastDiffers = [.. bytes];
        lastDiffers[^1] ^= 1;
        byte[][] others = [lastDiffers, [], bytes[..^1], [.. bytes, 0], Bytes(2_500_000, seed: 2)];
        foreach (byte[] other in others)
        {
            (await PutAsync(storage, "s/1", other)).ShouldBe(PutOutcome.AlreadyThere);
            (await PutFileAsync(storage, "s/1", other, inSpool: true)).ShouldBe(PutOutcome.AlreadyThere);
            (await PutFileAsync(storage, "s/1", other, inSpool: false)).ShouldBe(PutOutcome.AlreadyThere);
            await ShouldHoldAsync(storage, "s/1", bytes);
        }
    }

    /// <summary>
    /// Whether puts overlap is the machine's choice, so a storage that replaces may pass once in a while: where a backend can be stopped
    /// right before it publishes, its own tests should do that too.
    /// </summary>
    [Fact]
    public async Task OfManyPutsAtOnceOnOneKeyExactlyOneWins()
    {
        IStorageBackend[] clients = [await ClientAsync(), await ClientAsync(), await ClientAsync(), await ClientAsync()];
        Assert.SkipUnless(clients[0].Capabilities.ConditionalPut, "The storage does not declare ConditionalPut.");
        for (int round = 0; round < 30; round++)
        {
            string key = $"s/{round}";
            byte[][] contents = [.. clients.Select((_, i) => Bytes(200_000, seed: i))];
            PutOutcome[] outcomes = await Task.WhenAll(clients.Select((c, i) => Task.Run(
                () => i % 2 == 0 ? PutAsync(c, key, contents[i]) : PutFileAsync(c, key, contents[i], inSpool: true), Token)));
            outcomes.Count(o => o == PutOutcome.Stored).ShouldBe(1);
            await ShouldHoldAsync(clients[round % clients.Length], key, contents[Array.IndexOf(outcomes, PutOutcome.Stored)]);
        }
    }

    [Fact]
    public async Task OfManyPutsOfTheSameBytesAtOnceAllAreStored()
    {
        IStorageBackend[] clients = [await ClientAsync(), await ClientAsync()];
        for (int round = 0; round < 10; round++)
        {
            PutOutcome[] outcomes = await Task.WhenAll(
                Enumerable.Range(0, 6).Select(i => Task.Run(() => PutAsync(clients[i % 2], $"i/{round}", Bytes(4000)), Token)));
            outcomes.ShouldAllBe(o => o == PutOutcome.Stored);
        }
    }

    [Fact]
    public async Task WhoeverPutsIntoANewFolderFirstKeepsNobodyElseOut()
    {
        IStorageBackend[] clients = [await ClientAsync(), await ClientAsync(), await ClientAsync(), await ClientAsync()];
        for (int round = 0; round < 12; round++)
        {
            string folder = $"d/{round:x2}";
            PutOutcome[] outcomes = await Task.WhenAll(clients.Select((c, i) => Task.Run(() => PutAsync(c, $"{folder}/{i}", Bytes(40, seed: i)), Token)));
            outcomes.ShouldAllBe(o => o == PutOutcome.Stored);
        }
    }

    [Fact]
    public async Task ManyPutsAtOnceAllArrive()
    {
        IStorageBackend storage = await ClientAsync();
        string[] keys = [.. Enumerable.Range(0, 100).Select(i => $"d/{i % 16:x2}/{i:x4}")];
        await Task.WhenAll(keys.Select((k, i) => PutAsync(storage, k, Bytes(100 + i, seed: i))));
        await ListingShowsAsync(storage, "", keys);
        for (int i = 0; i < keys.Length; i++)
        {
            await ShouldHoldAsync(storage, keys[i], Bytes(100 + i, seed: i));
        }
    }

    [Fact]
    public async Task AnObjectIsNeverSeenInPart()
    {
        IStorageBackend writer = await ClientAsync();
        IStorageBackend reader = await ClientAsync();
        for (int round = 0; round < 5; round++)
        {
            StorageKey key = new($"d/{round}");
            byte[] bytes = Bytes(4_000_000, seed: round);
            Task<PutOutcome> put = Task.Run(() => PutAsync(writer, key.Value, bytes), Token);
            StoredObject? seen;
            do
            {
                seen = await reader.StatAsync(key, Token);
            }
            while (seen is null && !put.IsCompleted);
            seen?.Size.ShouldBe(bytes.Length);
            if (seen is not null)
            {
                await ShouldHoldAsync(reader, key.Value, bytes);
            }

            (await put).ShouldBe(PutOutcome.Stored);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AFileThatWasPutIsNoLongerTheCallers(bool inSpool)
    {
        IStorageBackend storage = await ClientAsync();
        string file = await FileAsync(storage, Bytes(2_000_000), inSpool);
        (await storage.PutAsync(new StorageKey("d/1"), StorageContent.FromFile(file), Token)).ShouldBe(PutOutcome.Stored);
        File.Exists(file).ShouldBeFalse();
        await ShouldHoldAsync(storage, "d/1", Bytes(2_000_000));

        file = await FileAsync(storage, Bytes(10), inSpool);
        (await storage.PutAsync(new StorageKey("d/1"), StorageContent.FromFile(file), Token)).ShouldBe(PutOutcome.AlreadyThere);
        File.Exists(file).ShouldBeFalse();

        file = await FileAsync(storage, Bytes(10), inSpool);
        await Should.ThrowAsync<OperationCanceledException>(
            async () => await storage.PutAsync(new StorageKey("d/2"), StorageContent.FromFile(file), Cancelled));
        File.Exists(file).ShouldBeFalse();
        (await storage.StatAsync(new StorageKey("d/2"), Token)).ShouldBeNull();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ALentFileStaysItsOwners(bool inSpool)
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(700_000);
        string file = await FileAsync(storage, bytes, inSpool);
        StorageContent lent = StorageContent.FromFile(file).Lend();
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.PutAsync(new StorageKey("d/1"), lent, Cancelled));
        (await storage.PutAsync(new StorageKey("d/1"), lent, Token)).ShouldBe(PutOutcome.Stored);
        (await storage.PutAsync(new StorageKey("d/1"), lent, Token)).ShouldBe(PutOutcome.Stored);
        await PutAsync(storage, "d/2", Bytes(5));
        (await storage.PutAsync(new StorageKey("d/2"), lent, Token)).ShouldBe(PutOutcome.AlreadyThere);
        (await File.ReadAllBytesAsync(file, Token)).AsSpan().SequenceEqual(bytes).ShouldBeTrue();

        File.Delete(file);
        await ShouldHoldAsync(storage, "d/1", bytes);
    }

    [Fact]
    public async Task AFileThatIsNotThereIsAStorageFailureAndLeavesNothing()
    {
        IStorageBackend storage = await ClientAsync();
        await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(
            new StorageKey("d/1"), StorageContent.FromFile(Path.Combine(_folder, "absent")), Token));
        (await storage.StatAsync(new StorageKey("d/1"), Token)).ShouldBeNull();
    }

    [Fact]
    public async Task ACancelledCallThrowsAndAPutLeavesNothing()
    {
        IStorageBackend storage = await ClientAsync();
        StorageKey key = new("d/1");
        await Should.ThrowAsync<OperationCanceledException>(
            async () => await storage.PutAsync(key, StorageContent.FromBytes(Bytes(10)), Cancelled));
        (await storage.StatAsync(key, Token)).ShouldBeNull();
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.ReadAsync(key, 0, new byte[1], Cancelled));
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.StatAsync(key, Cancelled));
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.DeleteAsync(key, Cancelled));
    }

    [Fact]
    public async Task RangesAreReadAsTheyStand()
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(1_000_000);
        await PutAsync(storage, "d/1", bytes);
        Random random = new(5);
        for (int i = 0; i < 200; i++)
        {
            int offset = random.Next(bytes.Length + 10);
            byte[] destination = new byte[i % 10 == 0 ? random.Next(500_000) : random.Next(5000)];
            int expected = Math.Clamp(bytes.Length - offset, 0, destination.Length);
            (await storage.ReadAsync(new StorageKey("d/1"), offset, destination, Token)).ShouldBe(expected);
            destination.AsSpan(0, expected).SequenceEqual(bytes.AsSpan(Math.Min(offset, bytes.Length), expected)).ShouldBeTrue();
        }

        (await storage.ReadAsync(new StorageKey("d/1"), bytes.Length, new byte[5], Token)).ShouldBe(0);
        (await storage.ReadAsync(new StorageKey("d/1"), long.MaxValue / 2, new byte[5], Token)).ShouldBe(0);
        (await storage.ReadAsync(new StorageKey("d/1"), 7, Memory<byte>.Empty, Token)).ShouldBe(0);
    }

    [Fact]
    public async Task ManyReadersOfManyObjectsEachGetTheirBytes()
    {
        IStorageBackend storage = await ClientAsync();
        for (int i = 0; i < 50; i++)
        {
            await PutAsync(storage, $"d/{i}", Bytes(20_000, seed: i));
        }

        await Task.WhenAll(Enumerable.Range(0, 8).Select(worker => Task.Run(
            async () =>
            {
                Random random = new(worker);
                byte[] destination = new byte[1000];
                for (int i = 0; i < 200; i++)
                {
                    int item = random.Next(50);
                    int offset = random.Next(19_000);
                    (await storage.ReadAsync(new StorageKey($"d/{item}"), offset, destination, Token)).ShouldBe(1000);
                    destination.AsSpan().SequenceEqual(Bytes(20_000, seed: item).AsSpan(offset, 1000)).ShouldBeTrue();
                }
            },
            Token)));
    }

    [Fact]
    public async Task WhatIsAbsentIsSaidToBeAbsent()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "d/ab/1", Bytes(5));
        foreach (string absent in new[] { "d/ab/2", "d/zz/1", "s/1", "d/ab", "d" })
        {
            (await storage.StatAsync(new StorageKey(absent), Token)).ShouldBeNull(absent);
            StorageException e = await Should.ThrowAsync<StorageException>(
                async () => await storage.ReadAsync(new StorageKey(absent), 0, new byte[1], Token));
            e.Code.ShouldBe(ErrorCodes.StorageObjectNotFound, absent);
        }

        (await ListAsync(storage, "s/")).ShouldBeEmpty();
        (await ListAsync(storage, "d/zz/")).ShouldBeEmpty();
    }

    [Fact]
    public async Task AListingHoldsWhatIsUnderItsPrefixAndNothingElse()
    {
        IStorageBackend storage = await ClientAsync();
        string[] keys = ["config", "s/1", "s/2", "sp/1", "d/00/a", "d/00/b", "d/01/c", "a/x/1", "a/y/2", "s.x/1"];
        foreach (string key in keys)
        {
            await PutAsync(storage, key, Bytes(10));
        }

        await ListingShowsAsync(storage, "", keys);
        await ListingShowsAsync(storage, "s/", "s/1", "s/2");
        await ListingShowsAsync(storage, "d/", "d/00/a", "d/00/b", "d/01/c");
        await ListingShowsAsync(storage, "d/00/", "d/00/a", "d/00/b");
        await ListingShowsAsync(storage, "a/x/", "a/x/1");
        (await ListAsync(storage, "config/")).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("s")]
    [InlineData("/")]
    [InlineData("../")]
    [InlineData("s//")]
    public async Task APrefixIsAWholeNumberOfSegments(string prefix)
    {
        IStorageBackend storage = await ClientAsync();
        await Should.ThrowAsync<ArgumentException>(async () => await ListAsync(storage, prefix));
    }

    [Fact]
    public async Task AListingSurvivesPutsAndDeletesMeanwhile()
    {
        IStorageBackend storage = await ClientAsync();
        for (int i = 0; i < 50; i++)
        {
            await PutAsync(storage, $"d/{i % 8}/stays{i}", Bytes(10));
        }

        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task churn = Task.Run(
            async () =>
            {
                for (int i = 0; !stop.IsCancellationRequested; i++)
                {
                    await PutAsync(storage, $"d/{i % 8}/goes{i}", Bytes(10));
                    await storage.DeleteAsync(new StorageKey($"d/{i % 8}/goes{i}"), Token);
                }
            },
            Token);
        for (int i = 0; i < 20; i++)
        {
            List<StoredObject> seen = await ListAsync(storage, "d/");
            if (storage.Capabilities.ListingLag == TimeSpan.Zero)
            {
                seen.Count(o => o.Key.Value.Contains("stays", StringComparison.Ordinal)).ShouldBe(50);
            }

            seen.ShouldAllBe(o => o.Size == 10);
        }

        await stop.CancelAsync();
        await churn;
    }

    [Fact]
    public async Task ADeletedObjectIsGoneAndItsKeyIsFree()
    {
        IStorageBackend storage = await ClientAsync();
        StorageKey key = new("d/ab/1");
        await PutAsync(storage, key.Value, Bytes(10));
        await ShouldHoldAsync(storage, key.Value, Bytes(10));
        await storage.DeleteAsync(key, Token);
        (await storage.StatAsync(key, Token)).ShouldBeNull();
        await Should.ThrowAsync<StorageException>(async () => await storage.ReadAsync(key, 0, new byte[1], Token));
        if (storage.Capabilities.ListingLag == TimeSpan.Zero)
        {
            (await ListAsync(storage, "d/")).ShouldBeEmpty();
        }

        await storage.DeleteAsync(key, Token);
        await storage.DeleteAsync(new StorageKey("never/there"), Token);
        (await PutAsync(storage, key.Value, Bytes(20, seed: 2))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, key.Value, Bytes(20, seed: 2));
    }

    [Fact]
    public async Task ManyAreDeletedTogetherAndTheRestStays()
    {
        IStorageBackend storage = await ClientAsync();
        string[] keys = [.. Enumerable.Range(0, 40).Select(static i => $"d/{i % 4}/{i}")];
        await Task.WhenAll(keys.Select(key => PutAsync(storage, key, Bytes(10))));
        StorageKey[] gone = [.. keys.Where(static key => key[2] != '3').Append("d/never/there").Select(static key => new StorageKey(key))];
        (await storage.DeleteAllAsync(gone, Token)).ShouldBeEmpty();
        (await storage.DeleteAllAsync(gone, Token)).ShouldBeEmpty("what is not there is deleted");
        (await storage.DeleteAllAsync([], Token)).ShouldBeEmpty();
        await Task.WhenAll(gone.Select(async key => (await storage.StatAsync(key, Token)).ShouldBeNull()));
        await Task.WhenAll(keys.Where(static key => key[2] == '3').Select(key => ShouldHoldAsync(storage, key, Bytes(10))));
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.DeleteAllAsync([new StorageKey("d/3/3")], Cancelled));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ABigObjectComesBackWhole(bool inSpool)
    {
        IStorageBackend storage = await ClientAsync();
        byte[] bytes = Bytes(BigObjectSize);
        (await PutFileAsync(storage, "d/big", bytes, inSpool)).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/big", bytes);
    }

    [Fact]
    public async Task KeysOfEveryShapeWork()
    {
        IStorageBackend storage = await ClientAsync();
        string[] keys =
        [
            "a", "x/" + new string('y', 198), "config/a.00000001", "l/0f.beat.17", "w/s-1/t_2/3-4", "1/2/3/4/5/6", ".hidden", "d/..x", "tmpx/1",
        ];
        foreach (string key in keys)
        {
            await PutAsync(storage, key, Bytes(key.Length));
        }

        await ListingShowsAsync(storage, "", keys);
        foreach (string key in keys)
        {
            await ShouldHoldAsync(storage, key, Bytes(key.Length));
        }
    }

    [Fact]
    public async Task SpaceIsToldOrUnknownButNeverNegative()
    {
        IStorageBackend storage = await ClientAsync();
        StorageSpace space = await storage.GetSpaceAsync(Token);
        foreach (long? bytes in new[] { space.Total, space.Used, space.Free })
        {
            (bytes ?? 0).ShouldBeGreaterThanOrEqualTo(0);
        }
    }

    /// <summary>A new client, disposed with the test.</summary>
    protected async ValueTask<IStorageBackend> ClientAsync()
    {
        IStorageBackend client = await ConnectAsync();
        _clients.Add(client);
        return client;
    }

    /// <summary>Puts bytes.</summary>
    protected static async Task<PutOutcome> PutAsync(IStorageBackend storage, string key, byte[] bytes) =>
        await storage.PutAsync(new StorageKey(key), StorageContent.FromBytes(bytes), Token);

    /// <summary>Puts bytes by way of a file, in the storage's spool folder or elsewhere.</summary>
    protected async Task<PutOutcome> PutFileAsync(IStorageBackend storage, string key, byte[] bytes, bool inSpool) =>
        await storage.PutAsync(new StorageKey(key), StorageContent.FromFile(await FileAsync(storage, bytes, inSpool)), Token);

    /// <summary>All that a prefix lists.</summary>
    protected static async Task<List<StoredObject>> ListAsync(IStorageBackend storage, string prefix)
    {
        List<StoredObject> found = [];
        await foreach (StoredObject item in storage.ListAsync(prefix, Token))
        {
            found.Add(item);
        }

        return found;
    }

    /// <summary>Reads an object whole and compares.</summary>
    protected static async Task ShouldHoldAsync(IStorageBackend storage, string key, byte[] bytes)
    {
        byte[] back = new byte[bytes.Length + 1];
        (await storage.ReadAsync(new StorageKey(key), 0, back, Token)).ShouldBe(bytes.Length);
        back.AsSpan(0, bytes.Length).SequenceEqual(bytes).ShouldBeTrue(key);
    }

    /// <summary>Bytes that follow from the seed.</summary>
    protected static byte[] Bytes(int length, int seed = 1)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static async Task ListingShowsAsync(IStorageBackend storage, string prefix, params string[] keys)
    {
        TimeSpan lag = storage.Capabilities.ListingLag;
        if (lag > TimeSpan.Zero)
        {
            // Nothing is promised before the lag is over; then everything is.
            await Task.Delay(lag, Token);
        }

        (await ListAsync(storage, prefix)).Select(o => o.Key.Value).Order(StringComparer.Ordinal)
            .ShouldBe(keys.Order(StringComparer.Ordinal));
    }

    private async Task<string> FileAsync(IStorageBackend storage, byte[] bytes, bool inSpool)
    {
        string path = Path.Combine((inSpool ? storage.SpoolFolder : null) ?? _folder, $"{SessionId.New()}.pack");
        await File.WriteAllBytesAsync(path, bytes, Token);
        return path;
    }
}
