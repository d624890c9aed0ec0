using System.Diagnostics;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Rclone;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>A server that lives as long as a test class, where it is installed.</summary>
public sealed class SharedSsh : IDisposable
{
    public SshServer? Server { get; } = SshServer.IsInstalled ? SshServer.Start() : null;

    public void Dispose() => Server?.Dispose();
}

/// <summary>The guarantees of storage, through rclone to OpenSSH.</summary>
public sealed class SftpConformanceTests(SharedSsh ssh) : StorageConformance, IClassFixture<SharedSsh>
{
    // What would have to be quoted in rclone's own spelling.
    private readonly string _folder = $"a ] folder, of: \"ann\"/{Guid.NewGuid():n}";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AFolderThatVanishesIsNoEmptyStorage()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "s/1", Bytes(10));
        Directory.Delete(Path.Combine(ssh.Server!.Root, _folder), recursive: true);
        (await Should.ThrowAsync<StorageException>(async () => await ListAsync(storage, "s/"))).Message.ShouldContain("not there any more");
        (await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("s/1"), Token))).Message.ShouldContain("not there any more");
    }

    [Fact]
    public async Task SpaceIsTheServers()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "s/1", Bytes(10));
        (await storage.GetSpaceAsync(Token)).Free.ShouldNotBeNull().ShouldBeGreaterThan(0);
    }

    protected override async ValueTask<IStorageBackend> ConnectAsync()
    {
        ServerProcess.Require(SshServer.IsInstalled, SshServer.Missing);
        return await RcloneBackend.ConnectAsync(ssh.Server!.Url(_folder), TimeProvider.System, Token);
    }
}

/// <summary>The guarantees of storage, through rclone to a folder of this machine.</summary>
public sealed class RcloneFolderConformanceTests : StorageConformance
{
    private readonly ScratchFolder _scratch = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task RcloneEndsWithItsClient()
    {
        IStorageBackend storage = await ClientAsync();
        Children().ShouldNotBeEmpty();
        await storage.DisposeAsync();
        Children().ShouldBeEmpty();

        int[] Children() =>
        [
            .. Directory.EnumerateDirectories("/proc").Select(Path.GetFileName).Where(static name => int.TryParse(name, out _)).Select(static name => int.Parse(name!)).Where(id =>
            {
                try
                {
                    return File.ReadAllText($"/proc/{id}/environ").Contains(_scratch.Path, StringComparison.Ordinal);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    return false;
                }
            }),
        ];
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        _scratch.Dispose();
    }

    protected override async ValueTask<IStorageBackend> ConnectAsync()
    {
        ServerProcess.Require(RcloneDavServer.IsInstalled, RcloneDavServer.Missing);
        return await RcloneBackend.ConnectAsync($"rclone::local:{_scratch.At("repository")}", TimeProvider.System, Token);
    }
}
