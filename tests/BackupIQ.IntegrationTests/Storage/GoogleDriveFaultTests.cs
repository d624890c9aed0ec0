using System.Net;
using BackupIQ.Storage;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Google Drive, by its FAKE, on a bad network; objects of more than 100 kB go by uploads that can be taken up.</summary>
public sealed class GoogleDriveFaultTests(GoogleDriveFixture google) : StorageFaultTests
{
    /// <inheritdoc/>
    protected override int Scripts => 60;

    /// <inheritdoc/>
    protected override int LargestObject => 700_000;

    /// <inheritdoc/>
    protected override int Programs => 4;

    /// <inheritdoc/>
    protected override string Secret => "ya29.";

    private protected override IReadOnlyDictionary<string, string> Environment { get; } = new Dictionary<string, string>();

    private protected override async ValueTask<IPEndPoint> ServerAsync() => new(IPAddress.Loopback, (await google.GetAsync()).Address.Port);

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => google.UrlAt(server.ToString(), $"{place}-{prefix}", lag: 0);

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix) =>
        await google.ConnectAsync(UrlAt(server, place, prefix), largestWhole: 100_000);
}
