using BackupIQ.IntegrationTests.Storage;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.Gcs;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers.Google;
using Xunit;

[assembly: AssemblyFixture(typeof(GoogleStorageFixture))]

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>One fake Cloud Storage for all tests that want one; it starts when the first does. It is a FAKE: see <see cref="FakeGoogle"/>.</summary>
public sealed class GoogleStorageFixture : IAsyncDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly Lazy<Task<FakeGoogleStorage>> _server;

    public GoogleStorageFixture() => _server = new(StartAsync);

    /// <summary>The server.</summary>
    public Task<FakeGoogleStorage> GetAsync() => _server.Value;

    /// <summary>The key of a service account that may do everything with objects.</summary>
    public string KeyFile => Path.Combine(_scratch.Path, "backups.json");

    /// <summary>The variables that open it.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal) { ["GOOGLE_APPLICATION_CREDENTIALS"] = KeyFile };

    /// <summary>A new bucket; its name.</summary>
    public async ValueTask<string> NewBucketAsync(bool objectRetention = false, bool versioning = false, bool requesterPays = false)
    {
        string name = $"test-{Guid.NewGuid():n}";
        (await GetAsync()).MakeBucket(name, objectRetention, versioning, requesterPays);
        return name;
    }

    /// <summary>The URL of a bucket, or of a prefix in it.</summary>
    public async ValueTask<string> UrlAsync(string bucket, string prefix = "", string options = "") => UrlAt((await GetAsync()).Address.Authority, bucket, prefix, options);

    /// <summary>The same behind another address of the server.</summary>
    public static string UrlAt(string authority, string bucket, string prefix, string options = "") =>
        $"gs://{bucket}{(prefix.Length == 0 ? "" : "/" + prefix)}?endpoint=http://{authority}{options}";

    /// <summary>A client.</summary>
    internal async ValueTask<IStorageBackend> ConnectAsync(
        string url, IReadOnlyDictionary<string, string>? environment = null, TimeProvider? time = null, int largestWhole = GcsBackend.LargestWhole)
    {
        await GetAsync();
        return await GcsBackend.ConnectAsync(
            StorageUrl.Parse(url), new RemoteLayout(["d/"], ["d/", "m/"]), largestWhole, (environment ?? Environment).GetValueOrDefault, time ?? TimeProvider.System, TestContext.Current.CancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_server.IsValueCreated)
        {
            await (await _server.Value).DisposeAsync();
        }

        _scratch.Dispose();
    }

    private async Task<FakeGoogleStorage> StartAsync()
    {
        FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        File.WriteAllText(KeyFile, server.Accounts.ServiceAccount("backups"));
        return server;
    }
}
