using System.Net;
using BackupIQ.Storage;
using BackupIQ.Testing.Servers;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Azure Blob Storage, by Azurite, on a bad network; objects of more than 1 MiB go in blocks.</summary>
public sealed class AzureBlobFaultTests(AzuriteFixture azurite) : StorageFaultTests
{
    /// <inheritdoc/>
    protected override int Scripts => 30;

    /// <inheritdoc/>
    protected override int LargestObject => 1_500_000;

    /// <inheritdoc/>
    protected override string Secret => Azurite.Key;

    private protected override IReadOnlyDictionary<string, string> Environment => AzuriteFixture.Environment;

    private protected override async ValueTask<IPEndPoint> ServerAsync() => new(IPAddress.Loopback, (await azurite.GetAsync()).Port);

    private protected override async ValueTask<string> NewPlaceAsync() => await azurite.NewContainerAsync();

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => AzuriteFixture.UrlBy(Azurite.EndpointBy(server), place, prefix, "&block-size=1");

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix) => await azurite.ConnectAsync(UrlAt(server, place, prefix));
}
