using System.Text.Json;
using BackupIQ.Testing.Servers;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>
/// No test: a server of this suite for scripts that are not of it (tests/acceptance, <c>--storage</c>). It starts what BACKUPIQ_HOST names (s3, azure,
/// webdav, sftp), says in the file of BACKUPIQ_HOST_FILE how it is reached, and stops when that file is gone. Explicit, so that it runs only when it is named.
/// </summary>
public sealed class StorageHost(RadosGateway gateway, AzuriteFixture azurite)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact(Explicit = true)]
    public async Task Run()
    {
        string kind = Environment.GetEnvironmentVariable("BACKUPIQ_HOST") ?? throw new InvalidOperationException("BACKUPIQ_HOST names the storage: s3, azure, webdav or sftp.");
        string file = Environment.GetEnvironmentVariable("BACKUPIQ_HOST_FILE") ?? throw new InvalidOperationException("BACKUPIQ_HOST_FILE names the file to write.");
        using ApacheServer? apache = kind == "webdav" ? ApacheServer.Start() : null;
        using SshServer? ssh = kind == "sftp" ? SshServer.Start() : null;
        Place place = kind switch
        {
            "s3" => new(
                gateway.Url(await gateway.MakeBucketAsync(), Place.Name),
                new Dictionary<string, string> { ["AWS_ACCESS_KEY_ID"] = RadosGateway.AccessKey, ["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey },
                null),
            "azure" => new(await azurite.UrlAsync(await azurite.NewContainerAsync(), Place.Name), AzuriteFixture.Environment, null),
            "webdav" => new(apache!.Url(Place.Name), new Dictionary<string, string>(), apache.Root),
            "sftp" => new(ssh!.Url(Place.Name), new Dictionary<string, string>(), ssh.Root),
            _ => throw new InvalidOperationException($"There is no storage '{kind}'."),
        };
        await File.WriteAllTextAsync(file + ".new", JsonSerializer.Serialize(place), Token);
        File.Move(file + ".new", file);
        while (File.Exists(file))
        {
            await Task.Delay(200, Token);
        }
    }

    /// <summary>How it is reached.</summary>
    /// <param name="Url">The URL of a repository, its name to be put in.</param>
    /// <param name="Environment">Variables that open it.</param>
    /// <param name="Folder">Where the server keeps the objects as files; null where it does not.</param>
    private sealed record Place(string Url, IReadOnlyDictionary<string, string> Environment, string? Folder)
    {
        public const string Name = "REPOSITORY";
    }
}
