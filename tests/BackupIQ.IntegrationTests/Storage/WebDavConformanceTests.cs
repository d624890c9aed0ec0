using BackupIQ.Storage;
using BackupIQ.Storage.Remote.WebDav;
using BackupIQ.Testing.Servers;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>A server that lives as long as a test class, where it is installed.</summary>
public sealed class SharedApache : IDisposable
{
    public ApacheServer? Server { get; } = ApacheServer.IsInstalled ? ApacheServer.Start() : null;

    public void Dispose() => Server?.Dispose();
}

/// <inheritdoc cref="SharedApache"/>
public sealed class SharedRcloneDav : IDisposable
{
    public RcloneDavServer? Server { get; } = RcloneDavServer.IsInstalled ? new RcloneDavServer() : null;

    public void Dispose() => Server?.Dispose();
}

/// <summary>The guarantees of storage, on Apache's mod_dav; and what only WebDAV has.</summary>
public sealed class ApacheConformanceTests(SharedApache apache) : StorageConformance, IClassFixture<SharedApache>
{
    // A name that has to be escaped, and is missing: the first put makes it.
    private readonly string _folder = $"räume & mehr/{Guid.NewGuid():n}";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private ApacheServer Server => apache.Server!;

    [Fact]
    public async Task WhatARunThatEndedBadlyLeftIsSweptAndNothingElseIs()
    {
        IStorageBackend first = await ClientAsync();
        await PutAsync(first, "s/1", Bytes(10));
        string spool = Path.Combine(Server.Root, _folder, "tmp");
        Directory.EnumerateFileSystemEntries(spool).ShouldBeEmpty();
        string old = Path.Combine(spool, new string('a', 32) + ".put");
        string young = Path.Combine(spool, new string('b', 32) + ".put");
        string foreign = Path.Combine(spool, "letter.txt");
        foreach (string file in new[] { old, young, foreign })
        {
            await File.WriteAllTextAsync(file, "x", Token);
        }

        File.SetLastWriteTimeUtc(old, new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        File.SetLastWriteTimeUtc(foreign, new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        IStorageBackend second = await ClientAsync();
        await PutAsync(second, "s/2", Bytes(10));
        Directory.EnumerateFiles(spool).Order(StringComparer.Ordinal).ShouldBe([young, foreign]);
    }

    [Fact]
    public async Task AFolderThatVanishesIsNoEmptyStorage()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "s/1", Bytes(10));
        Directory.Delete(Path.Combine(Server.Root, _folder), recursive: true);
        (await Should.ThrowAsync<StorageException>(async () => await ListAsync(storage, "s/"))).Message.ShouldContain("not there any more");
        (await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("s/1"), Token))).Message.ShouldContain("not there any more");
        await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/2", Bytes(10)));
        Directory.Exists(Path.Combine(Server.Root, _folder)).ShouldBeFalse();
    }

    [Fact]
    public async Task AnEmptyFolderThatVanishesIsMadeAgain()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "s/1", Bytes(10));
        await storage.DeleteAsync(new StorageKey("s/1"), Token);
        Directory.Delete(Path.Combine(Server.Root, _folder, "s"));
        Directory.Delete(Path.Combine(Server.Root, _folder, "tmp"));
        await PutAsync(storage, "s/2", Bytes(10));
        await ShouldHoldAsync(storage, "s/2", Bytes(10));
    }

    [Fact]
    public async Task AFolderIsNeverDeletedInAnObjectsPlace()
    {
        IStorageBackend storage = await ClientAsync();
        await PutAsync(storage, "d/ab/1", Bytes(10));
        await Should.ThrowAsync<StorageException>(async () => await storage.DeleteAsync(new StorageKey("d/ab"), Token));
        await ShouldHoldAsync(storage, "d/ab/1", Bytes(10));
    }

    protected override async ValueTask<IStorageBackend> ConnectAsync()
    {
        ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
        return await WebDavBackend.ConnectAsync(StorageUrl.Parse(Server.Url(_folder)), TimeProvider.System, Token);
    }
}

/// <summary>The guarantees of storage, on rclone's WebDAV server.</summary>
public sealed class RcloneDavConformanceTests(SharedRcloneDav rclone) : StorageConformance, IClassFixture<SharedRcloneDav>
{
    private readonly string _folder = Guid.NewGuid().ToString("n");

    protected override async ValueTask<IStorageBackend> ConnectAsync()
    {
        ServerProcess.Require(RcloneDavServer.IsInstalled, RcloneDavServer.Missing);
        return await WebDavBackend.ConnectAsync(StorageUrl.Parse(rclone.Server!.Url(_folder)), TimeProvider.System, TestContext.Current.CancellationToken);
    }
}
