using System.Globalization;
using System.Text.Json;
using BackupIQ.Testing.Servers;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>
/// No test: a server of this suite for scripts that are not of it (tests/acceptance, <c>--storage</c>). It starts what BACKUPIQ_HOST names (s3, azure,
/// webdav, sftp), says in the file of BACKUPIQ_HOST_FILE how it is reached, and stops when that file is gone. Meanwhile it does what a file beside that one,
/// <c>….do</c>, says, and deletes it then: <c>pause</c>, <c>continue</c>, <c>kill</c>, <c>start</c>, and for S3 <c>limit BYTES</c> and <c>unlimit</c>. What is
/// stored outlives a kill. Explicit, so that it runs only when it is named.
/// </summary>
public sealed class StorageHost(AzuriteFixture azurite)
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact(Explicit = true)]
    public async Task Run()
    {
        string kind = Environment.GetEnvironmentVariable("BACKUPIQ_HOST") ?? throw new InvalidOperationException("BACKUPIQ_HOST names the storage: s3, azure, webdav or sftp.");
        string file = Environment.GetEnvironmentVariable("BACKUPIQ_HOST_FILE") ?? throw new InvalidOperationException("BACKUPIQ_HOST_FILE names the file to write.");
        await using RadosGateway ceph = new() { IsDurable = true };
        using ApacheServer? apache = kind == "webdav" ? ApacheServer.Start() : null;
        using SshServer? ssh = kind == "sftp" ? SshServer.Start() : null;
        string bucket = kind == "s3" ? await ceph.MakeBucketAsync() : "";
        (Place place, IServerControl server) = kind switch
        {
            "s3" => (
                new Place(
                    ceph.Url(bucket, Place.Name),
                    RadosGateway.Environment,
                    null,
                    null),
                ceph),
            "azure" => (new Place(await azurite.UrlAsync(await azurite.NewContainerAsync(), Place.Name), AzuriteFixture.Environment, null, (await azurite.GetAsync()).Disk), await azurite.GetAsync()),
            "webdav" => (new Place(apache!.Url(Place.Name), new Dictionary<string, string>(), apache.Root, apache.Root), apache.Process),
            "sftp" => (new Place(ssh!.Url(Place.Name), new Dictionary<string, string>(), ssh.Root, ssh.Root), (IServerControl)ssh.Process),
            _ => throw new InvalidOperationException($"There is no storage '{kind}'."),
        };
        await File.WriteAllTextAsync(file + ".new", JsonSerializer.Serialize(place), Token);
        File.Move(file + ".new", file);
        while (File.Exists(file))
        {
            if (File.Exists(file + ".do"))
            {
                await DoAsync(await File.ReadAllTextAsync(file + ".do", Token), server, ceph, bucket);
                File.Delete(file + ".do");
            }

            await Task.Delay(50, Token);
        }
    }

    private static async Task DoAsync(string command, IServerControl server, RadosGateway ceph, string bucket)
    {
        switch (command.Split(' '))
        {
            case ["pause"]:
                server.Pause();
                break;
            case ["continue"]:
                server.Continue();
                break;
            case ["kill"]:
                server.Kill();
                break;
            case ["start"]:
                await server.StartAgainAsync();
                break;
            case ["limit", var bytes]:
                await ceph.LimitAsync(bucket, long.Parse(bytes, CultureInfo.InvariantCulture));
                break;
            case ["unlimit"]:
                await ceph.LimitAsync(bucket, null);
                break;
            default:
                throw new InvalidOperationException($"There is no command '{command}'.");
        }
    }

    /// <summary>How it is reached.</summary>
    /// <param name="Url">The URL of a repository, its name to be put in.</param>
    /// <param name="Environment">Variables that open it.</param>
    /// <param name="Folder">Where the server keeps the objects as files; null where it does not.</param>
    /// <param name="Disk">Where a disk may be mounted, before anything is stored, that is then the server's; null where it cannot.</param>
    private sealed record Place(string Url, IReadOnlyDictionary<string, string> Environment, string? Folder, string? Disk)
    {
        public const string Name = "REPOSITORY";
    }
}
