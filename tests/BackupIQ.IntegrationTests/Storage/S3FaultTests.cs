using System.Net;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Testing.Servers;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>S3 on a bad network.</summary>
public sealed class S3FaultTests(RadosGateway gateway) : StorageFaultTests
{
    /// <inheritdoc/>
    protected override int Programs => 4;

    /// <inheritdoc/>
    protected override string Secret => RadosGateway.SecretKey;

    private protected override IReadOnlyDictionary<string, string> Environment => RadosGateway.Environment;

    private protected override ValueTask<IPEndPoint> ServerAsync() => ValueTask.FromResult(new IPEndPoint(IPAddress.Loopback, gateway.Endpoint.Port));

    private protected override async ValueTask<string> NewPlaceAsync() => await gateway.MakeBucketAsync();

    private protected override string UrlAt(IPEndPoint server, string place, string prefix) => $"s3://{place}/{prefix}?endpoint=http://{server}";

    private protected override async Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix)
    {
        foreach ((string name, string value) in Environment)
        {
            System.Environment.SetEnvironmentVariable(name, value);
        }

        return await S3Backend.ConnectAsync(StorageUrl.Parse(UrlAt(server, place, prefix)), S3Conformance.Layout, TimeProvider.System, CancellationToken.None);
    }
}
