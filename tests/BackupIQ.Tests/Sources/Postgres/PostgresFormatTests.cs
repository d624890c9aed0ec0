using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Restore;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>What a PostgreSQL server's bytes and names mean.</summary>
public sealed class PostgresFormatTests
{
    [Fact]
    public void ChecksumsAreThoseOfTheServer()
    {
        byte[] page = PostgresBytes.Page;
        PageCheck.Checksum(page, 0).ShouldBe((ushort)19987);
        PageCheck.Checksum(page, 131072).ShouldBe((ushort)19985);
        PageCheck.IsSound(page, 0, hasChecksums: true).ShouldBeTrue();
        PageCheck.IsSound(page, 1, hasChecksums: true).ShouldBeFalse();
    }

    [Fact]
    public void EveryFlippedByteOfAPageIsSeen()
    {
        byte[] page = PostgresBytes.Page;
        for (int i = 0; i < page.Length; i += 7)
        {
            page[i] ^= 0x40;
            PageCheck.IsSound(page, 0, hasChecksums: true).ShouldBeFalse($"byte {i}");
            page[i] ^= 0x40;
        }
    }

    [Fact]
    public void APageOfZerosIsSoundAndOneThatIsZeroOnlyInItsHeaderIsNot()
    {
        byte[] page = new byte[8192];
        PageCheck.IsSound(page, 5, hasChecksums: true).ShouldBeTrue();
        PageCheck.IsSound(page, 5, hasChecksums: false).ShouldBeTrue();
        page[8191] = 1;
        PageCheck.IsSound(page, 5, hasChecksums: true).ShouldBeFalse();
        PageCheck.IsSound(page, 5, hasChecksums: false).ShouldBeFalse();
    }

    [Fact]
    public void WithoutChecksumsAPageIsJudgedByItsHeader()
    {
        byte[] page = PostgresBytes.Page;
        PageCheck.IsSound(page, 9, hasChecksums: false).ShouldBeTrue();
        page[12] = 0xFF;
        page[13] = 0xFF;
        PageCheck.IsSound(page, 9, hasChecksums: false).ShouldBeFalse();
    }

    [Fact]
    public void PgControlIsReadAndATornOneRefused()
    {
        byte[] bytes = PostgresBytes.Control;
        ControlFile control = ControlFile.TryRead(bytes).ShouldNotBeNull();
        control.SystemIdentifier.ShouldBe(7712463057743661131ul);
        control.CatalogVersion.ShouldBe(202209061u);
        control.Timeline.ShouldBe(1u);
        control.BlockSize.ShouldBe(8192);
        control.SegmentBlocks.ShouldBe(131072u);
        control.WalSegmentSize.ShouldBe(16u << 20);
        control.HasChecksums.ShouldBeTrue();
        control.State.ShouldBe(ControlFile.InProduction);
        control.MinRecoveryPoint.ShouldBe(0ul);
        for (int i = 0; i < 292; i++)
        {
            bytes[i] ^= 1;
            ControlFile.TryRead(bytes).ShouldBeNull($"byte {i}");
            bytes[i] ^= 1;
        }
    }

    [Theory]
    [InlineData("16384", 16384u, "main", 0u, false)]
    [InlineData("16384.12", 16384u, "main", 12u, false)]
    [InlineData("16384_vm", 16384u, "vm", 0u, false)]
    [InlineData("16384_fsm.1", 16384u, "fsm", 1u, false)]
    [InlineData("16384_init", 16384u, "init", 0u, false)]
    [InlineData("t3_16390", 16390u, "main", 0u, true)]
    [InlineData("t12_16390_vm.2", 16390u, "vm", 2u, true)]
    public void NamesOfRelationsAreTakenApart(string name, uint number, string fork, uint segment, bool isTemporary)
    {
        RelationName.TryParse(Encoding.ASCII.GetBytes(name), out RelationName relation).ShouldBeTrue();
        relation.ShouldBe(new RelationName(number, fork, segment, isTemporary));
    }

    [Theory]
    [InlineData("pg_filenode.map")]
    [InlineData("PG_VERSION")]
    [InlineData("16384_old")]
    [InlineData("16384.")]
    [InlineData("16384.1.2")]
    [InlineData("t_16384")]
    [InlineData("99999999999")]
    [InlineData("")]
    public void OtherNamesAreNoRelations(string name) => RelationName.TryParse(Encoding.ASCII.GetBytes(name), out _).ShouldBeFalse();

    [Fact]
    public void WhatTheServerMakesAnewIsLeftOutAndItsFoldersStay()
    {
        DataFolderRules.IsLeftOut(DataFolder.Top, "postmaster.pid", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Top, "backup_label", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Top, ".s.PGSQL.5432.lock", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Global, "pg_control", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Relations, "pg_internal.init.1234", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Databases, "pgsql_tmp", isFolder: true).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Wal, "000000010000000000000001", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Wal, "archive_status", isFolder: true).ShouldBeFalse();
        DataFolderRules.IsLeftOut(DataFolder.Emptied, "0000", isFolder: false).ShouldBeTrue();
        DataFolderRules.IsLeftOut(DataFolder.Top, "PG_VERSION", isFolder: false).ShouldBeFalse();
        DataFolderRules.Below(DataFolder.Top, "pg_replslot").ShouldBe(DataFolder.Emptied);
        DataFolderRules.Below(DataFolder.Databases, "16384").ShouldBe(DataFolder.Relations);
        DataFolderRules.Unlogged([.. ((string[])["1", "2", "2_init", "2_vm", "3_fsm"]).Select(Encoding.ASCII.GetBytes)]).ShouldBe([2u]);
    }

    [Fact]
    public void TheLabelSaysWhereTheWalBegins()
    {
        BackupLabel label = BackupLabel.Parse(
            "START WAL LOCATION: 2A/90062E8 (file 000000030000002A00000009)\nCHECKPOINT LOCATION: 2A/90BCA28\nBACKUP METHOD: streamed\nSTART TIMELINE: 3\n");
        label.ShouldBe(new BackupLabel(0x2A_0900_62E8, "000000030000002A00000009", 3));
        WalFileName.OfPlace(3, new Lsn(label.StartLsn), 16 << 20).ToString().ShouldBe(label.StartSegment);
        new Lsn(label.StartLsn).ToString().ShouldBe("2A/90062E8");
        Should.Throw<BackupIQException>(() => BackupLabel.Parse("START TIMELINE: 3\n")).Code.ShouldBe(ErrorCodes.SourceServer);
    }

    [Theory]
    [InlineData(1u << 20, "0000000100000001000001FF")]
    [InlineData(16u << 20, "00000001000000010000001F")]
    [InlineData(1u << 30, "000000010000000100000000")]
    public void SegmentsAreNamedBySizeToo(uint size, string name) => WalFileName.OfPlace(1, new Lsn(0x1_1FF0_0001), size).ToString().ShouldBe(name);

    [Fact]
    public void SettingsOfAnEarlierRecoveryAreTakenOut()
    {
        string text = RecoverySettings.AutoConf(
            "# kept\nrestore_command = 'cp /old/%f %p'\nshared_buffers = '1GB'\nRecovery_Target_Time = 'x'\n primary_conninfo = 'host=a'\narchive_mode=on\nport = 1\n",
            [("restore_command", "false"), ("recovery_target", "immediate"), ("archive_mode", "off"), ("primary_conninfo", "it's")]);
        text.ShouldBe(
            "# kept\nshared_buffers = '1GB'\nport = 1\n# Written by 'backupiq pg restore'.\nrestore_command = 'false'\nrecovery_target = 'immediate'\narchive_mode = 'off'\nprimary_conninfo = 'it''s'\n");
    }

    [Fact]
    public void TheMapOfTablespacesNamesTheNewPlaces() => RecoverySettings.TablespaceMap(
        "16400 /mnt/fast\n16401 /mnt/slow disk\n", new Dictionary<string, string> { ["16400"] = "/new/fast", ["16401"] = "/new/back\\slash" })
        .ShouldBe("16400 /new/fast\n16401 /new/back\\\\slash\n");

    [Theory]
    [InlineData("host=/run/postgresql user=backup dbname=shop port=5433", "backup", "shop", "/run/postgresql:5433")]
    [InlineData("postgres://backup@db.example:5433/shop?sslmode=require", "backup", "shop", "db.example:5433")]
    [InlineData("user = 'o\\'neil' host = db", "o'neil", "postgres", "db:5432")]
    [InlineData("postgresql://backup@/?host=%2Frun%2Fpg", "backup", "postgres", "/run/pg:5432")]
    [InlineData("host=a,b port=5433 user=backup", "backup", "postgres", "a:5433, b:5433")]
    [InlineData("postgres://backup@[::1]:5433,b/shop", "backup", "shop", "::1:5433, b:5432")]
    public void DsnsAreWrittenAsLibpqWritesThem(string text, string user, string database, string place)
    {
        PostgresDsn dsn = PostgresDsn.Parse(text);
        (dsn.User, dsn.Database, dsn.Place).ShouldBe((user, database, place));
    }

    [Theory]
    [InlineData("host")]
    [InlineData("host=a port=none")]
    [InlineData("host='a")]
    [InlineData("colour=blue")]
    [InlineData("host=a,b port=1,2,3")]
    [InlineData("host=a,,b")]
    [InlineData("host=a,b hostaddr=127.0.0.1")]
    [InlineData("postgres://host:none/")]
    [InlineData("postgres://me:hunter2@host/")]
    public void WhatIsNoDsnIsRefused(string text) => Should.Throw<BackupIQException>(() => PostgresDsn.Parse(text)).Code.ShouldBe(ErrorCodes.Configuration);

    [Fact]
    public void APasswordInADsnIsRefusedAndNotShown() =>
        Should.Throw<BackupIQException>(() => PostgresDsn.Parse("host=a password=hunter2")).Message.ShouldNotContain("hunter2");

    [Fact]
    public void EachHostOfADsnIsAServerOfItsOwn() => PostgresDsn.Parse("host=/run/a,b port=5433,5434 user=x").Each.Select(static one => one.Place).ShouldBe(["/run/a:5433", "b:5434"]);
}
