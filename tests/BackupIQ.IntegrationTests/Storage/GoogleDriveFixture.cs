using BackupIQ.IntegrationTests.Storage;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.GoogleDrive;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers.Google;
using Xunit;

[assembly: AssemblyFixture(typeof(GoogleDriveFixture))]

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>One fake Drive for all tests that want one; it starts when the first does. It is a FAKE: see <see cref="FakeGoogle"/>.</summary>
public sealed class GoogleDriveFixture : IAsyncDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly Lazy<Task<FakeGoogleDrive>> _server;

    public GoogleDriveFixture() => _server = new(StartAsync);

    /// <summary>The server. A query for a name knows nothing of what was made within the last two seconds.</summary>
    public Task<FakeGoogleDrive> GetAsync() => _server.Value;

    /// <summary>What a person who signed in has.</summary>
    public string CredentialFile => Path.Combine(_scratch.Path, "drive.json");

    /// <summary>The URL of a folder, whose listings are believed after a second: they are right at once here, but nobody relies on that.</summary>
    public async ValueTask<string> UrlAsync(string folder, int lag = 1) => UrlAt((await GetAsync()).Address.Authority, folder, lag);

    /// <summary>The same behind another address of the server.</summary>
    public string UrlAt(string authority, string folder, int lag = 1) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"gdrive://{folder}?endpoint=http://{authority}&listing-lag={lag}&credentials={Uri.EscapeDataString(CredentialFile)}");

    /// <summary>A client.</summary>
    internal async ValueTask<IStorageBackend> ConnectAsync(string url, int largestWhole = GoogleDriveBackend.LargestWhole, IReadOnlyDictionary<string, string>? environment = null)
    {
        await GetAsync();
        return await GoogleDriveBackend.ConnectAsync(
            StorageUrl.Parse(url), largestWhole, (environment ?? new Dictionary<string, string>()).GetValueOrDefault, TimeProvider.System, TestContext.Current.CancellationToken);
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

    private async Task<FakeGoogleDrive> StartAsync()
    {
        FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        server.NamesLag = TimeSpan.FromSeconds(2);
        File.WriteAllText(CredentialFile, server.Accounts.Person("me@example.org"));
        return server;
    }
}
