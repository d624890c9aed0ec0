using BackupIQ.IntegrationTests.Storage;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.Azure;
using BackupIQ.Testing.Servers;
using Xunit;

[assembly: AssemblyFixture(typeof(AzuriteFixture))]

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>One Azurite for all tests that want one; it starts when the first does.</summary>
public sealed class AzuriteFixture : IAsyncDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private Azurite? _server;

    /// <summary>The server. Skips the test where it is not installed.</summary>
    public async ValueTask<Azurite> GetAsync()
    {
        string? program = Azurite.Program(Path.Combine(AppContext.BaseDirectory, "../../../.."));
        ServerProcess.Require(program is not null, "Azurite is not installed: npm ci in a copy of tests/servers at artifacts/servers, as .ci/run does.");
        await _gate.WaitAsync(TestContext.Current.CancellationToken);
        try
        {
            return _server ??= Azurite.Start(program!);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>A new container; its name.</summary>
    public async ValueTask<string> NewContainerAsync()
    {
        Azurite server = await GetAsync();
        string name = $"test-{Guid.NewGuid():n}";
        (await SendAsync(HttpMethod.Put, $"{server.Endpoint}/{name}?restype=container")).EnsureSuccessStatusCode().Dispose();
        return name;
    }

    /// <summary>The URL of a container, or of a prefix in it.</summary>
    public async ValueTask<string> UrlAsync(string container, string prefix = "", string options = "") => UrlBy((await GetAsync()).Endpoint, container, prefix, options);

    /// <summary>The same by way of another endpoint: a proxy.</summary>
    public static string UrlBy(string endpoint, string container, string prefix = "", string options = "") =>
        $"azblob://{container}{(prefix.Length == 0 ? "" : "/" + prefix)}?account={Azurite.Account}&endpoint={Uri.EscapeDataString(endpoint)}{options}";

    /// <summary>In which tier a blob is, by the server's own word.</summary>
    public async ValueTask<string> TierAsync(string container, string blob)
    {
        using HttpResponseMessage answer = await HeadAsync(container, blob);
        return answer.Headers.GetValues("x-ms-access-tier").Single();
    }

    /// <summary>What a blob carries beside its bytes.</summary>
    public async ValueTask<IReadOnlyDictionary<string, string>> MetadataAsync(string container, string blob)
    {
        const string Mark = "x-ms-meta-";
        using HttpResponseMessage answer = await HeadAsync(container, blob);
        return answer.Headers.Where(static header => header.Key.StartsWith(Mark, StringComparison.OrdinalIgnoreCase))
            .ToDictionary(static header => header.Key[Mark.Length..], static header => header.Value.Single(), StringComparer.Ordinal);
    }

    /// <summary>A client.</summary>
    internal async ValueTask<IStorageBackend> ConnectAsync(string url, IReadOnlyDictionary<string, string>? environment = null)
    {
        environment ??= Environment;
        return await AzureBlobBackend.ConnectAsync(StorageUrl.Parse(url), new RemoteLayout(["d/"], ["d/", "m/"]), environment.GetValueOrDefault, TimeProvider.System, TestContext.Current.CancellationToken);
    }

    /// <summary>The variables that open it.</summary>
    public static IReadOnlyDictionary<string, string> Environment { get; } = new Dictionary<string, string>(StringComparer.Ordinal) { ["AZURE_STORAGE_KEY"] = Azurite.Key };

    private async Task<HttpResponseMessage> HeadAsync(string container, string blob) =>
        (await SendAsync(HttpMethod.Head, $"{(await GetAsync()).Endpoint}/{container}/{string.Join('/', blob.Split('/').Select(Uri.EscapeDataString))}")).EnsureSuccessStatusCode();

    private static async Task<HttpResponseMessage> SendAsync(HttpMethod method, string address)
    {
        using HttpClient http = new(new SocketsHttpHandler());
        using HttpRequestMessage request = new(method, address);
        request.Headers.Add("x-ms-version", "2021-12-02");
        request.Headers.Add("x-ms-date", TimeProvider.System.GetUtcNow().ToString("r", System.Globalization.CultureInfo.InvariantCulture));
        await new SharedKeyCredential(Azurite.Account, Azurite.Key).SignAsync(request, http, TestContext.Current.CancellationToken);
        return await http.SendAsync(request, TestContext.Current.CancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _server?.Dispose();
        _gate.Dispose();
        return ValueTask.CompletedTask;
    }
}
