using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Conformance;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Conformance;

/// <summary>Trying a storage: an honest one passes and keeps nothing, and each way of lying is found out.</summary>
public sealed class ConformanceRunTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task ADiskHoldsEverythingAndNothingIsLeftOnIt()
    {
        ConformanceReport report = await RunAsync(Open(), Open());
        report.Guarantees.ShouldAllBe(static guarantee => guarantee.State == GuaranteeState.Held || guarantee.Name == "clock");
        report.Guarantees.Count.ShouldBe(11);
        report.StoppedBy.ShouldBeNull();
        report.Latencies.Keys.ShouldBe(
            [StorageOperation.Put, StorageOperation.Stat, StorageOperation.Read, StorageOperation.List, StorageOperation.Delete], ignoreOrder: true);
        report.UploadRate.ShouldNotBeNull().ShouldBeGreaterThan(0);
        report.DownloadRate.ShouldNotBeNull().ShouldBeGreaterThan(0);
        report.LeftBehind.ShouldBeEmpty();
        Remains().ShouldBeEmpty();
    }

    [Fact]
    public async Task AStorageThatReplacesWhatIsThereIsFoundOut()
    {
        ConformanceReport report = await RunAsync(new Replacing(Open()), new Replacing(Open()));
        StateOf(report, "overwrite").ShouldBe(GuaranteeState.Broken);
        StateOf(report, "put if absent").ShouldBe(GuaranteeState.Broken);
        report.LeftBehind.ShouldBeEmpty();
    }

    [Fact]
    public async Task AStorageThatLetsTwoWinOnlyWhenTheyRaceIsFoundOut()
    {
        ConformanceReport report = await RunAsync(new Racing(Open()), new Racing(Open()));
        StateOf(report, "put if absent").ShouldBe(GuaranteeState.Broken);
        StateOf(report, "overwrite").ShouldBe(GuaranteeState.Held);
    }

    [Fact]
    public async Task ARaceIsNoMatterWhereNobodyPromisesToDecideIt()
    {
        ConformanceReport report = await RunAsync(new Undecided(new Racing(Open())), new Undecided(new Racing(Open())));
        GuaranteeResult race = report.Guarantees.Single(static guarantee => guarantee.Name == "put if absent");
        race.State.ShouldBe(GuaranteeState.NotOffered);
        race.Seen.ShouldContain("more than one won");
    }

    [Fact]
    public async Task AListingThatLagsIsFoundOutAndItsLagIsTold()
    {
        GuaranteeResult listing = (await RunAsync(new Lagging(Open()), Open())).Guarantees.Single(static guarantee => guarantee.Name == "list after write");
        listing.State.ShouldBe(GuaranteeState.Broken);
        listing.Seen.ShouldContain("after 0.");
        listing.Guidance!.ShouldContain("listing-lag");
    }

    [Theory]
    [InlineData(typeof(FromTheBeginning), "ranges")]
    [InlineData(typeof(Ahead), "clock")]
    [InlineData(typeof(OtherSizes), "sizes and times")]
    [InlineData(typeof(ShorterNames), "names")]
    [InlineData(typeof(Flipping), "large object")]
    [InlineData(typeof(Flipping), "read after write")]
    public async Task WhatIsNotKeptIsBroken(Type lie, string guarantee)
    {
        ConformanceReport report = await RunAsync((IStorageBackend)Activator.CreateInstance(lie, Open())!, (IStorageBackend)Activator.CreateInstance(lie, Open())!);
        StateOf(report, guarantee).ShouldBe(GuaranteeState.Broken);
    }

    [Fact]
    public async Task WhatAStorageKeepsAgainstItsWordIsNamed()
    {
        ConformanceReport report = await RunAsync(new Keeping(Open()), new Keeping(Open()));
        StateOf(report, "delete").ShouldBe(GuaranteeState.Broken);
        report.LeftBehind.ShouldContain($"{report.Folder}/delete/it");
    }

    [Fact]
    public async Task WhereNothingMayBeDeletedNothingMoreIsPut()
    {
        ConformanceReport report = await RunAsync(new Refusing(Open()), new Refusing(Open()));
        StateOf(report, "delete").ShouldBe(GuaranteeState.Broken);
        report.Guarantees.Skip(1).ShouldAllBe(static guarantee => guarantee.State == GuaranteeState.NotTried);
        report.StoppedBy.ShouldBe(ErrorCodes.StorageAuthentication);
        report.LeftBehind.ShouldBe([$"{report.Folder}/delete/it"]);
        Remains().ShouldBe(report.LeftBehind);
    }

    [Fact]
    public async Task ARunThatIsCancelledRemovesWhatItPut()
    {
        using CancellationTokenSource stop = new();
        IStorageBackend storage = Open();
        await Should.ThrowAsync<OperationCanceledException>(async () => await new ConformanceRun(storage, Open(), Options, TimeProvider.System) { Folders = Open() }.RunAsync(
            name =>
            {
                if (name == "large object")
                {
                    Remains().ShouldNotBeEmpty();
                    stop.Cancel();
                }
            },
            stop.Token));
        Remains().ShouldBeEmpty();
    }

    private static ConformanceOptions Options { get; } = new()
    {
        Names = [new StorageKey("config/a.00000001"), new StorageKey($"d/ab/{new string('a', 64)}"), new StorageKey("l/0f.beat.17")],
        LargeObject = (9 << 20) + 17,
        Races = 5,
        Samples = 3,
    };

    private static GuaranteeState StateOf(ConformanceReport report, string name) => report.Guarantees.Single(guarantee => guarantee.Name == name).State;

    private static async Task<ConformanceReport> RunAsync(IStorageBackend storage, IStorageBackend second)
    {
        await using (storage)
        await using (second)
        {
            return await new ConformanceRun(storage, second, Options, TimeProvider.System) { Folders = second as IFolderStorage }.RunAsync(null, Token);
        }
    }

    private LocalBackend Open() => LocalBackend.Open(_folder.Path, new LocalOptions(), TimeProvider.System);

    // Files and folders, without the one for what is yet to be put.
    private string[] Remains()
    {
        string[] below = [.. Directory.EnumerateFileSystemEntries(_folder.Path, "*", SearchOption.AllDirectories).Where(path => path != _folder.At("tmp"))];
        string[] files = [.. below.Where(File.Exists)];
        return [.. (files.Length > 0 ? files : below).Select(path => Path.GetRelativePath(_folder.Path, path))];
    }

    /// <summary>A put replaces what is there.</summary>
    private sealed class Replacing(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            await Inner.DeleteAsync(key, cancellationToken);
            await Inner.PutAsync(key, content, cancellationToken);
            return PutOutcome.Stored;
        }
    }

    /// <summary>Looks, lets a moment pass, and replaces what came meanwhile.</summary>
    private sealed class Racing(IStorageBackend inner) : DelegatingBackend(inner)
    {
        // One after the other on the disk itself, which would say that an object went away while it was compared.
        private readonly SemaphoreSlim _disk = new(1);

        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            bool isRaced = await Inner.StatAsync(key, cancellationToken) is null && key.Value.Contains("/race/", StringComparison.Ordinal);
            await Task.Delay(isRaced ? 20 : 0, cancellationToken);
            await _disk.WaitAsync(cancellationToken);
            try
            {
                if (isRaced)
                {
                    await Inner.DeleteAsync(key, cancellationToken);
                }

                return await Inner.PutAsync(key, content, cancellationToken);
            }
            finally
            {
                _disk.Release();
            }
        }
    }

    /// <summary>Promises nothing of races.</summary>
    private sealed class Undecided(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override StorageCapabilities Capabilities => Inner.Capabilities with { ConditionalPut = false };
    }

    /// <summary>The first two listings of a prefix show nothing.</summary>
    private sealed class Lagging(IStorageBackend inner) : DelegatingBackend(inner)
    {
        private readonly Dictionary<string, int> _asked = [];

        public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            _asked[prefix] = _asked.GetValueOrDefault(prefix) + 1;
            if (_asked[prefix] > 2)
            {
                await foreach (StoredObject item in Inner.ListAsync(prefix, cancellationToken))
                {
                    yield return item;
                }
            }
        }
    }

    /// <summary>Every read begins at the beginning.</summary>
    private sealed class FromTheBeginning(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
            Inner.ReadAsync(key, 0, destination, cancellationToken);
    }

    /// <summary>Its clock is an hour ahead.</summary>
    private sealed class Ahead(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override StorageCapabilities Capabilities => Inner.Capabilities with { HasStoreClock = true };

        public override async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
            await Inner.StatAsync(key, cancellationToken) is { } found ? found with { StoredAt = found.StoredAt.AddHours(1) } : null;
    }

    /// <summary>Listings tell another size.</summary>
    private sealed class OtherSizes(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await foreach (StoredObject item in Inner.ListAsync(prefix, cancellationToken))
            {
                yield return item with { Size = item.Size + 1 };
            }
        }
    }

    /// <summary>Keeps no more than the first letters of a long name.</summary>
    private sealed class ShorterNames(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken) =>
            Inner.PutAsync(key.Value.Length > 64 ? new StorageKey(key.Value[..64]) : key, content, cancellationToken);
    }

    /// <summary>One bit of what is read is another.</summary>
    private sealed class Flipping(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
        {
            int read = await Inner.ReadAsync(key, offset, destination, cancellationToken);
            if (read > 50_000)
            {
                destination.Span[50_000] ^= 4;
            }

            return read;
        }
    }

    /// <summary>Says that it deletes, and does not.</summary>
    private sealed class Keeping(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) => ValueTask.CompletedTask;
    }

    /// <summary>Lets nobody delete.</summary>
    private sealed class Refusing(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) =>
            throw new StorageException(ErrorCodes.StorageAuthentication, $"The object {key} could not be deleted: the storage forbids it");
    }
}
