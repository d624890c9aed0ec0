using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>Folders that are not on a disk of this machine.</summary>
public sealed class NetworkMountTests
{
    private const string Mounts = """
        22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
        122 22 0:48 / /mnt/nas rw,relatime shared:61 master:4 - nfs4 nas.example:/export/my\040backups rw,vers=4.2,addr=10.0.0.2
        1 0 0:2 / / rw - rootfs rootfs rw
        31 22 0:50 / /mnt/box rw,nosuid - fuse.sshfs ann@box:/home/ann rw,user_id=0
        40 22 8:33 / /media/stick rw - fuseblk /dev/sdc1 rw
        """;

    [Theory]
    [InlineData(122, "nfs4", "nas.example:/export/my backups")]
    [InlineData(31, "fuse.sshfs", "ann@box:/home/ann")]
    [InlineData(22, "ext4", "/dev/vda")]
    [InlineData(1, "rootfs", "rootfs")]
    [InlineData(2, "", "")]
    public void AMountIsFoundByItsNumber(int id, string type, string source) => NetworkMount.Find(Mounts, id).ShouldBe((type, source));

    [Fact]
    public void AFolderOnADiskAndOneThatIsNotThereAreNone()
    {
        using ScratchFolder folder = new();
        NetworkMount.At(folder.Path).ShouldBeNull();
        NetworkMount.At(folder.At("not-there")).ShouldBeNull();
    }

    [Fact]
    public void WhatCannotBeNamedIsStillANetworkFileSystem() =>
        new NetworkMount("", "", TimeSpan.FromMinutes(1)).ToString().ShouldBe("a network file system");
}
