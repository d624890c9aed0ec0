using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Data packs in an archive: Azure's archive tier (Azurite), and GLACIER by a labelled fake before Ceph.</summary>
public sealed class ArchiveTests(AzuriteFixture azurite, RadosGateway gateway) : IDisposable
{
    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Fact]
    public async Task WhatLiesInAzuresArchiveIsAskedForAndTheNextRunRestoresIt()
    {
        await UseAzureAsync();
        string source = _user.MakeTree();
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);

        // Everything but data is read as ever, and the next backup needs nothing else.
        File.WriteAllBytes(Path.Combine(source, "second.bin"), [.. Enumerable.Range(0, 100_000).Select(static i => (byte)(i * 7 / 3))]);
        _user.Backup(source);
        _user.Run("dump", "latest:" + source + "/large.bin").ShouldEndWith(15).Error.ShouldContain("it lies in the archive tier");

        // Only what is needed is asked for, and can be waited for.
        ProgramRun part = _user.Run("restore", "latest", "--target", _user.At("part"), "--include", "second.bin", "--wait-archive", "--archive-poll", "100ms", "--json").ShouldEndWith(0);
        JsonElement[] told = [.. part.Lines().Where(static line => line.GetProperty("message_type").GetString() == "archive")];
        told.Select(static one => (one.GetProperty("objects").GetInt32(), one.GetProperty("requested").GetInt32())).ShouldBe([(1, 1), (0, 0)]);
        new FileInfo(_user.At("part") + source + "/second.bin").Length.ShouldBe(100_000);

        string target = _user.At("restored");
        _user.Run("restore", "latest", "--target", target, "--dry-run").ShouldEndWith(0).Error.ShouldContain("are still in an archive, back within 15 h");
        _user.Run("restore", "latest", "--target", target, "--archive-priority", "bulk").ShouldEndWith(2).Error.ShouldContain("standard, expedited");
        ProgramRun asked = _user.Run("restore", "latest", "--target", target, "--archive-priority", "expedited").ShouldEndWith(15);
        asked.Error.ShouldContain("they were asked for, and are back within 1 h as a rule");
        asked.Error.ShouldContain("--wait-archive");
        Directory.Exists(target).ShouldBeFalse();

        // Azurite is quick.
        _user.Run("restore", "latest", "--target", target).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
    }

    [Fact]
    public async Task DumpCopyAndCheckWaitForWhatLiesInAnArchiveAndAPlainCheckDoesWithout()
    {
        await UseAzureAsync();
        string source = _user.MakeTree();
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);
        string[] soon = ["--wait-archive", "--archive-poll", "100ms"];

        // What can be told without the data is.
        ProgramRun check = _user.Run("check", "--json").ShouldEndWith(0);
        int archived = check.Summary().GetProperty("packs_archived").GetInt32();
        archived.ShouldBeGreaterThan(0);
        _user.Run("check").ShouldEndWith(0).Error.ShouldContain("not looked into");
        _user.Run("check", "--wait-archive").ShouldEndWith(2);
        ProgramRun unread = _user.Run("check", "--read-data").ShouldEndWith(15);
        unread.Error.ShouldContain("--wait-archive");
        unread.Error.ShouldNotContain("asked for");
        _user.Run("dump", "latest:" + source + "/large.bin").ShouldEndWith(15).Error.ShouldContain("--wait-archive");

        ProgramRun dump = _user.Run(["dump", "latest:" + source + "/large.bin", "--json", .. soon]).ShouldEndWith(0);
        dump.Output.ShouldBe(File.ReadAllBytes(Path.Combine(source, "large.bin")));
        dump.Error.ShouldContain("everything is back from the archive");

        // A copy brings back what it needs, and the next only what is new.
        File.WriteAllBytes(Path.Combine(source, "second.bin"), [.. Enumerable.Range(0, 100_000).Select(static i => (byte)(i * 7 / 3))]);
        _user.Backup(source);
        string other = _user.At("other");
        _user.RunPlain(["init", "--repo", other, .. _user.Secret]).ShouldEndWith(0);
        string[] copy = ["copy", "--repo", other, .. _user.Secret, "--no-input", "--from-repo", _user.Repository, "--from-key-file", _user.Secret[^1]];
        _user.RunPlain(copy).ShouldEndWith(15).Error.ShouldContain("--wait-archive");
        _user.RunPlain([.. copy, .. soon]).ShouldEndWith(0).Error.ShouldContain("are asked for now");
        _user.RunPlain(["restore", "latest", "--target", _user.At("copied"), "--repo", other, .. _user.Secret, "--no-input"]).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("copied") + source).ShouldBeEmpty();
        File.WriteAllBytes(Path.Combine(source, "third.bin"), [.. Enumerable.Range(0, 100_000).Select(static i => (byte)(i * 11 / 3))]);
        _user.Backup(source);
        JsonElement[] told = [.. _user.RunPlain([.. copy, .. soon, "--json"]).ShouldEndWith(0).Lines().Where(static line => line.GetProperty("message_type").GetString() == "archive")];
        told.Select(static one => (one.GetProperty("objects").GetInt32(), one.GetProperty("requested").GetInt32())).ShouldBe([(1, 1), (0, 0)]);

        // Everything is back by now but what is new since.
        File.WriteAllBytes(Path.Combine(source, "fourth.bin"), [.. Enumerable.Range(0, 100_000).Select(static i => (byte)(i * 13 / 3))]);
        _user.Backup(source);
        ProgramRun read = _user.Run(["check", "--read-data", "--json", .. soon]).ShouldEndWith(0);
        read.Summary().GetProperty("packs_archived").GetInt32().ShouldBe(0);
        read.Lines().Count(static line => line.GetProperty("message_type").GetString() == "archive").ShouldBe(2);
    }

    [Fact]
    public async Task AnArchivedObjectIsToldFromADamagedOneAndAPutThatIsRepeatedFindsItself()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        await using IStorageBackend storage = await azurite.ConnectAsync(await azurite.UrlAsync(await azurite.NewContainerAsync(), "", "&tier=archive"));
        StorageKey pack = new("d/aa/1");
        StorageKey snapshot = new("s/1");
        foreach (StorageKey key in (StorageKey[])[pack, snapshot, pack, snapshot])
        {
            (await storage.PutAsync(key, StorageContent.FromBytes("content"u8.ToArray()), token)).ShouldBe(PutOutcome.Stored);
        }

        (await storage.PutAsync(pack, StorageContent.FromBytes("another one"u8.ToArray()), token)).ShouldBe(PutOutcome.AlreadyThere);
        (await storage.GetReadinessAsync(snapshot, token)).ShouldBe(StorageReadiness.Ready);
        (await storage.GetReadinessAsync(pack, token)).ShouldBe(StorageReadiness.Archived);
        (await Should.ThrowAsync<StorageException>(async () => await storage.ReadAsync(pack, 0, new byte[10], token))).Code.ShouldBe(ErrorCodes.StorageArchived);
        (await Should.ThrowAsync<StorageException>(async () => await storage.GetReadinessAsync(new StorageKey("d/aa/2"), token))).Code.ShouldBe(ErrorCodes.StorageObjectNotFound);
        await storage.RecallAsync(pack, new RecallOrder(RecallPriority.Standard, 1), token);
        await storage.RecallAsync(pack, new RecallOrder(RecallPriority.Standard, 1), token);
        (await storage.GetReadinessAsync(pack, token)).ShouldBe(StorageReadiness.Ready);
        (await storage.ReadAsync(pack, 0, new byte[10], token)).ShouldBe(7);
    }

    [Fact]
    public async Task WhatALifecycleRuleMovedToGlacierIsWaitedFor()
    {
        string bucket = await gateway.MakeBucketAsync();
        await using FakeGlacier glacier = new(gateway.Endpoint);
        _user.Environment["AWS_ACCESS_KEY_ID"] = RadosGateway.AccessKey;
        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey;
        _user.Repository = $"s3://{bucket}/backup?endpoint={glacier.Address.ToString().TrimEnd('/')}";
        string source = _user.MakeTree();
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);
        glacier.IsArchiving = true;
        _user.Run("restore", "latest", "--target", _user.At("early")).ShouldEndWith(15).Error.ShouldContain("--wait-archive");
        glacier.Asked.ShouldBeEmpty();

        string target = _user.At("restored");
        ProgramRun run = _user.Run("restore", "latest", "--target", target, "--wait-archive", "--archive-poll", "200ms", "--archive-priority", "bulk", "--archive-days", "3").ShouldEndWith(0);
        run.Error.ShouldContain("of them are asked for now");
        run.Error.ShouldContain("everything is back from the archive");
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
        glacier.Asked.ShouldNotBeEmpty();
        glacier.Asked.ShouldAllBe(static asked => asked.Tier == "Bulk" && asked.Days == 3);
        glacier.Violations.ShouldBeEmpty();
    }

    private async Task UseAzureAsync()
    {
        foreach ((string name, string value) in AzuriteFixture.Environment)
        {
            _user.Environment[name] = value;
        }

        _user.Repository = await azurite.UrlAsync(await azurite.NewContainerAsync(), "backup", "&tier=archive");
    }
}
