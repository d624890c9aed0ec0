using System.Net;
using BackupIQ.Storage;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Google Cloud Storage, by its FAKE, on a bad network; objects of more than 100 kB go by uploads that can be taken up.</summary>
public sealed class GcsFaultTests(GoogleStorageFixture google) : StorageFaultTests
{
    /// <inheritdoc/>
    protected override int Scripts => 60;

    /// <inheritdoc/>
    protected override int LargestObject => 700_000;

    /// <inheritdoc/>
    protected override int Programs => 4;

    /// <inheritdoc/>
    protected override string Secret => "ya29.";

    private protected override IReadOnlyDictionary<string, string> Environment => google.Environment;

    private protected override async ValueTask<IPEndPoint> ServerAsync() => new(IPAddress.Loopback, (await google.GetAsync()).Address.Port);

    private protected override async ValueTask<string> NewPlaceAsync() => await google.NewBucketAsync();

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => GoogleStorageFixture.UrlAt(server.ToString(), place, prefix);

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix) =>
        await google.ConnectAsync(UrlAt(server, place, prefix), largestWhole: 100_000);
}
