using System.Diagnostics;
using System.Text.Json;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>The whole program on a repository on S3 (Ceph).</summary>
public sealed class S3ProgramTests(RadosGateway gateway) : IAsyncLifetime
{
    private readonly ProgramUser _user = new();
    private string _bucket = "";

    public async ValueTask InitializeAsync()
    {
        _bucket = await gateway.MakeBucketAsync();
        _user.Environment["AWS_ACCESS_KEY_ID"] = RadosGateway.AccessKey;
        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey;
        _user.Repository = gateway.Url(_bucket, "laptop/backup");
    }

    public ValueTask DisposeAsync()
    {
        _user.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public void ARepositoryLivesItsWholeLifeThere()
    {
        _user.WithNewRepository();
        _user.Run("init").ShouldEndWith(7);
        string source = _user.MakeTree(large: 20 << 20);
        _user.Backup(source).GetProperty("files_new").GetInt32().ShouldBe(4);
        JsonElement again = _user.Backup(source, "--ignore-ctime");
        again.GetProperty("files_unmodified").GetInt32().ShouldBe(4);
        again.GetProperty("data_blobs").GetInt32().ShouldBe(0);
        RestoresEqual(source, "first");
        _user.Run("check", "--read-data").ShouldEndWith(0);

        // The large file goes with the snapshots that have it.
        File.Delete(Path.Combine(source, "large.bin"));
        _user.Backup(source, "--type", "full");
        _user.Run("forget", "--keep-last", "1", "--grace", "0", "--allow-mass", "--yes").ShouldEndWith(0);
        _user.Run("prune", "--yes").ShouldEndWith(0);
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        RestoresEqual(source, "second");
        _user.Run("stats", "--json").ShouldEndWith(0).Json().GetProperty("stored_size").GetInt64().ShouldBeLessThan(1 << 20);
        _user.Run("doctor").Text.ShouldContain(_user.Repository);
    }

    [Fact]
    public void SnapshotsOfALocalRepositoryAreCopiedThereAndBack()
    {
        string remote = _user.Repository;
        string[] key = _user.Secret;
        _user.WithNewRepository();
        _user.Repository = _user.At("local");
        _user.Run("init").ShouldEndWith(0);
        string source = _user.MakeTree();
        _user.Backup(source);

        string[] fromLocal = ["--from-repo", _user.Repository, "--from-key-file", key[1]];
        _user.Repository = remote;
        _user.Run(["copy", .. fromLocal, "--json"]).ShouldEndWith(0).Summary().GetProperty("snapshots_copied").GetInt32().ShouldBe(1);
        _user.Run(["copy", .. fromLocal, "--json"]).ShouldEndWith(0).Summary().GetProperty("snapshots_copied").GetInt32().ShouldBe(0);
        RestoresEqual(source, "restored");

        _user.Repository = _user.At("third");
        _user.Run("init").ShouldEndWith(0);
        _user.Run("copy", "--from-repo", remote, "--from-key-file", key[1]).ShouldEndWith(0);
        RestoresEqual(source, "back");
    }

    [Fact]
    public async Task ABackupThatIsKilledHarmsNothingAndTheNextClearsWhatItLeftHere()
    {
        _user.WithNewRepository();
        string source = _user.MakeTree(large: 60 << 20);
        ProgramUser.RunningProgram running = _user.Start("backup", source, "--limit-upload", "8M", "--no-progress");
        using AmazonS3Client client = gateway.NewClient();
        Stopwatch watch = Stopwatch.StartNew();
        string spool = Path.Combine(_user.Home, ".cache", "backupiq", "spool");
        while (!HasFiles(spool) || (await client.ListObjectsV2Async(new ListObjectsV2Request { BucketName = _bucket, Prefix = "laptop/backup/d/" })).S3Objects is not { Count: > 0 })
        {
            running.HasEnded.ShouldBeFalse();
            watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(60));
            await Task.Delay(20);
        }

        running.Interrupt(9);
        running.Wait().Code.ShouldNotBe(0);
        HasFiles(spool).ShouldBeTrue();
        _user.Run("check", "--read-data").ShouldEndWith(0);

        _user.Backup(source);
        RestoresEqual(source, "restored");
        HasFiles(spool).ShouldBeFalse();
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void WhatIsWrongIsSaidOnOneLineWithoutTheSecret()
    {
        _user.WithNewRepository();
        string repository = _user.Repository;
        List<ProgramRun> runs = [];
        ProgramRun Fail(int code, string told)
        {
            ProgramRun run = _user.Run("snapshots", "-v").ShouldEndWith(code);
            // Beside it -v tells of each retry.
            run.Error.Trim().Split('\n').Count(static line => !line.StartsWith("s3 http", StringComparison.Ordinal)).ShouldBe(1, run.Error);
            run.Error.ShouldContain(told);
            runs.Add(run);
            return run;
        }

        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey + "x";
        Fail(13, "does not know the credentials");
        _user.Environment["AWS_ACCESS_KEY_ID"] = "nobody";
        Fail(13, "does not know the credentials");
        _user.Environment.Remove("AWS_ACCESS_KEY_ID");
        _user.Environment["AWS_EC2_METADATA_DISABLED"] = "true";
        Fail(13, "AWS_ACCESS_KEY_ID");
        _user.Environment["AWS_ACCESS_KEY_ID"] = RadosGateway.AccessKey;
        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey;

        _user.Repository = gateway.Url("no-such-bucket", "p");
        Fail(10, "there is no bucket 'no-such-bucket'");
        _user.Repository = gateway.Url(_bucket, "elsewhere");
        Fail(10, "There is no repository");
        _user.Repository = $"s3://{_bucket}/p?endpoint=http://127.0.0.1:1";
        Fail(15, "nothing listens");
        _user.Repository = $"s3://{_bucket}/p?endpoint=http://no-such-host.invalid&insecure=true";
        Fail(15, "name is not known");
        _user.Repository = gateway.TlsUrl(_bucket, "laptop/backup");
        Fail(15, "ca=FILE");
        _user.Repository = gateway.Url(_bucket, "laptop/backup", "sse=AES256");
        Fail(15, "sse=AES256");
        _user.Repository = $"s3://{RadosGateway.AccessKey}:{RadosGateway.SecretKey}@{_bucket}/p";
        Fail(2, "carries a password");
        _user.Repository = gateway.Url(_bucket, "laptop/backup", "lock=governance", "lock-days=1");
        Fail(2, "object lock");

        _user.Repository = repository;
        runs.Add(_user.Run("snapshots", "-vv").ShouldEndWith(0));
        _user.Repository = gateway.TlsUrl(_bucket, "laptop/backup", "ca=" + gateway.AuthorityFile);
        runs.Add(_user.Run("check", "--json").ShouldEndWith(0));
        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey + "x";
        runs.Add(_user.Run("snapshots", "-vv"));
        runs.ShouldAllBe(static run => !run.Text.Contains(RadosGateway.SecretKey) && !run.Error.Contains(RadosGateway.SecretKey));
    }

    [Fact]
    public void TheServerHoldsWhatARepositoryReliesOnAndNothingIsLeftThere()
    {
        ProgramRun run = _user.RunPlain("storage", "test", _user.Repository).ShouldEndWith(0);
        run.Text.ShouldContain("All that a repository relies on held.");
        run.Text.ShouldContain("Content-MD5");
        JsonElement report = _user.RunPlain("storage", "test", gateway.TlsUrl(_bucket, "laptop/backup", "ca=" + gateway.AuthorityFile, "sse=aws:kms", "sse-kms-id=" + RadosGateway.KmsKey), "--large", "0", "--json")
            .ShouldEndWith(0).Json();
        report.GetProperty("capabilities").GetProperty("server_encryption").GetString().ShouldBe("aws:kms");
        report.GetProperty("capabilities").GetProperty("conditional_put").GetBoolean().ShouldBeTrue();
        JsonElement info = _user.RunPlain("storage", "info", gateway.TlsUrl(_bucket, "laptop/backup", "ca=" + gateway.AuthorityFile), "--tls-minimum", "1.3", "--limit-connections", "3", "--json")
            .ShouldEndWith(0).Json();
        info.GetProperty("objects").GetArrayLength().ShouldBe(0);
        info.GetProperty("provider").GetProperty("connections").GetInt32().ShouldBeLessThanOrEqualTo(3);
        info.GetProperty("provider").GetProperty("breaker").GetString().ShouldBe("closed");
        info.GetProperty("provider").GetProperty("latencies").GetProperty("list").GetProperty("count").GetInt32().ShouldBe(1);

        _user.Environment["AWS_SECRET_ACCESS_KEY"] = RadosGateway.SecretKey + "x";
        _user.RunPlain("storage", "test", _user.Repository).ShouldEndWith(13);
        _user.RunPlain("storage", "info", $"s3://{_bucket}/p?endpoint=http://127.0.0.1:1", "--retry-profile", "quick").ShouldEndWith(15);
    }

    [Fact]
    public void AClockThatIsOffByAnHourIsSaid()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/faketime"), "faketime is missing");
        _user.WithNewRepository();
        foreach (string offset in new[] { "+1h", "-1h" })
        {
            _user.Prefix = ["faketime", "-f", offset];
            ProgramRun run = _user.Run("snapshots").ShouldEndWith(15);
            run.Error.ShouldContain("clock");
        }
    }

    [Fact]
    public async Task WhatTheStorageHasLockedIsNotForgottenForGood()
    {
        _user.Repository = gateway.Url(await gateway.MakeBucketAsync(hasLock: true), "p", "lock=governance", "lock-days=1");
        _user.WithNewRepository();
        string source = _user.MakeTree();
        _user.Backup(source);
        File.WriteAllText(Path.Combine(source, "new"), "new\n");
        _user.Backup(source, "--type", "full");
        ProgramRun run = _user.Run("forget", "--keep-last", "1", "--grace", "0", "--allow-mass", "--prune", "--yes").ShouldEndWith(17);
        run.Error.ShouldContain("locked by the storage");
        _user.Run("prune", "--yes").Code.ShouldBeOneOf(0, 17);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        RestoresEqual(source, "restored");
    }

    [Fact]
    public async Task WhatKeptSnapshotsNeedStaysLockedAndTheRestDoesNot()
    {
        string bucket = await gateway.MakeBucketAsync(hasLock: true);
        _user.Repository = gateway.Url(bucket, "p", "lock=governance", "lock-days=1");
        _user.WithNewRepository();
        string source = _user.MakeTree(large: 5 << 20);
        string gone = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        File.Delete(Path.Combine(source, "large.bin"));
        File.WriteAllText(Path.Combine(source, "new"), "new\n");
        _user.Backup(source, "--type", "full");
        _user.Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0, "half of a day is not over yet");
        Dictionary<string, DateTime> before = await LocksAsync(bucket);
        before.Values.ShouldAllBe(static until => until < DateTime.UtcNow.AddDays(2));

        // As if the lock of the first snapshot had ended and it had been removed for good; and locks of a day are short beside the month that is asked for now.
        await RemoveAsync($"p/s/{gone}");
        _user.Repository = gateway.Url(bucket, "p", "lock=governance", "lock-days=30");
        ProgramRun prune = _user.Run("prune", "--max-unused", "0", "--yes").ShouldEndWith(17);
        prune.Error.ShouldContain("locked by the storage");
        Dictionary<string, DateTime> after = await LocksAsync(bucket);
        after.Where(static one => one.Key.StartsWith("p/d/", StringComparison.Ordinal)).Select(static one => one.Value > DateTime.UtcNow.AddDays(20)).ShouldBe([true, false], ignoreOrder: true);
        foreach (string name in after.Keys.Where(static name => !name.StartsWith("p/d/", StringComparison.Ordinal) && !name.StartsWith("p/m/", StringComparison.Ordinal)))
        {
            after[name].ShouldBe(DateTime.UtcNow.AddDays(30), TimeSpan.FromMinutes(10), name);
        }

        ProgramRun check = _user.Run("check", "--json").ShouldEndWith(0);
        check.Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0, "prune has done it");
        check.Summary().GetProperty("lock_problem").ValueKind.ShouldBe(JsonValueKind.Null);

        async Task RemoveAsync(string name)
        {
            using AmazonS3Client client = gateway.NewClient();
            string version = (await client.GetObjectMetadataAsync(bucket, name)).VersionId;
            await client.DeleteObjectAsync(new DeleteObjectRequest { BucketName = bucket, Key = name, VersionId = version, BypassGovernanceRetention = true });
        }
    }

    [Fact]
    public async Task ABackupKeepsLockedWhatItSharesWithOlderOnesAndAsksForItButOnce()
    {
        string bucket = await gateway.MakeBucketAsync(hasLock: true);
        _user.Repository = gateway.Url(bucket, "p", "lock=governance", "lock-days=1");
        _user.WithNewRepository();
        string source = _user.MakeTree(large: 2 << 20);
        _user.Backup(source);
        _user.Repository = gateway.Url(bucket, "p", "lock=governance", "lock-days=30");
        _user.Run("backup", source).ShouldEndWith(0).Error.ShouldContain("end later now");
        Dictionary<string, DateTime> locks = await LocksAsync(bucket);
        locks.Where(static one => one.Key.StartsWith("p/d/", StringComparison.Ordinal) || one.Key.StartsWith("p/keys/", StringComparison.Ordinal) || one.Key.StartsWith("p/config/", StringComparison.Ordinal))
            .ShouldAllBe(static one => one.Value > DateTime.UtcNow.AddDays(29));
        _user.Run("backup", source).ShouldEndWith(0).Error.ShouldNotContain("later now");
        string cache = Path.Combine(_user.Home, ".cache", "backupiq");
        Directory.EnumerateFiles(cache, "locks-*", SearchOption.AllDirectories).ShouldHaveSingleItem();
        Directory.Delete(cache, recursive: true);
        _user.Run("backup", source).ShouldEndWith(0).Error.ShouldNotContain("later now");
        _user.Run("check").ShouldEndWith(0).Error.ShouldContain("later now", customMessage: "the first snapshot's own object");
    }

    private async Task<Dictionary<string, DateTime>> LocksAsync(string bucket)
    {
        using AmazonS3Client client = gateway.NewClient();
        Dictionary<string, DateTime> locks = [];
        foreach (S3Object item in (await client.ListObjectsV2Async(new ListObjectsV2Request { BucketName = bucket, Prefix = "p/" })).S3Objects)
        {
            if ((await client.GetObjectMetadataAsync(bucket, item.Key)).ObjectLockRetainUntilDate is { } until)
            {
                locks.Add(item.Key, until.ToUniversalTime());
            }
        }

        return locks;
    }

    private static bool HasFiles(string folder) => Directory.Exists(folder) && Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Any();

    private void RestoresEqual(string source, string target)
    {
        _user.Run("restore", "latest", "--target", _user.At(target), "--verify").ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At(target) + source).ShouldBeEmpty();
    }
}
