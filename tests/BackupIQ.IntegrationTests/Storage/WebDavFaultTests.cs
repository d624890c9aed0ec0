using System.Net;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.WebDav;
using BackupIQ.Testing.Network;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>WebDAV, on Apache's mod_dav, on a bad network: which knows no checksum of what it is sent.</summary>
public sealed class WebDavFaultTests(SharedApache apache) : StorageFaultTests, IClassFixture<SharedApache>
{
    /// <inheritdoc/>
    protected override int Scripts => 36;

    /// <inheritdoc/>
    protected override string Secret => ApacheServer.Password;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task WithoutTlsBytesThatWereChangedOnTheirWayThereAreNoticedAndNeverGetTheirName()
    {
        await using FaultProxy proxy = ProxyBefore(await ServerAsync());
        await using IStorageBackend storage = await ConnectAsync(proxy.EndPoint, await NewPlaceAsync(), "run");
        byte[] bytes = new byte[3_000_000];
        new Random(1).NextBytes(bytes);
        (await storage.PutAsync(new StorageKey("s/first"), StorageContent.FromBytes(bytes), Token)).ShouldBe(PutOutcome.Stored);
        proxy.Script = static request => request.Method == "PUT" ? new ProxyFault(ProxyFaultKind.CorruptRequest, 2_345_678) : ProxyFault.None;
        StorageException changed = await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(new StorageKey("s/changed"), StorageContent.FromBytes(bytes), Token));
        changed.Message.ShouldContain("changed on the way");
        changed.IsTransient.ShouldBeTrue();
        (await storage.StatAsync(new StorageKey("s/changed"), Token)).ShouldBeNull();
        proxy.Script = static _ => ProxyFault.None;
        (await storage.PutAsync(new StorageKey("s/changed"), StorageContent.FromBytes(bytes), Token)).ShouldBe(PutOutcome.Stored);
    }

    [Fact]
    public async Task AnAnswerThatNamesARangeAndIsEmptyIsNotTheObjectsEnd()
    {
        await using FaultProxy proxy = ProxyBefore(await ServerAsync());
        await using IStorageBackend storage = await ConnectAsync(proxy.EndPoint, await NewPlaceAsync(), "run");
        await storage.PutAsync(new StorageKey("s/1"), StorageContent.FromBytes(new byte[100]), Token);
        proxy.Script = static _ => new ProxyFault(ProxyFaultKind.WrongLength, -100);
        (await Should.ThrowAsync<StorageException>(async () => await storage.ReadAsync(new StorageKey("s/1"), 0, new byte[200], Token))).IsTransient.ShouldBeTrue();
    }

    private protected override IReadOnlyDictionary<string, string> Environment { get; } = new Dictionary<string, string>();

    private protected override ValueTask<IPEndPoint> ServerAsync()
    {
        ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
        return ValueTask.FromResult(new IPEndPoint(IPAddress.Loopback, apache.Server!.Port));
    }

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => apache.Server!.UrlBy(server.Port, $"{place}/{prefix}");

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix) =>
        await WebDavBackend.ConnectAsync(StorageUrl.Parse(UrlAt(server, place, prefix)), TimeProvider.System, Token);
}
