using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Logs;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Logs;

public sealed class LogArchiveTests
{
    private const string Group = "00000001";
    private const string Name = "000000010000000000000003";

    [Fact]
    public void AFileHasTheBytesOfTheFormat()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        LogSeries series = LogSeries.Of(keys, "main");
        series.ToString().ShouldBe(GoldenSeries);
        StorageKey key = RepositoryLayout.Log(series, Group, Name);
        byte[] content = "a small segment"u8.ToArray();
        MemoryStream stored = new();
        LogObject.Write(keys, key, Head(keys, content) with { StoredAt = DateTimeOffset.UnixEpoch.AddSeconds(1_800_000_000) }, new MemoryStream(content), stored, FixedKeys.Row());
        Convert.ToHexStringLower(stored.ToArray()).ShouldBe(Golden);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(LogHead.PieceLength - 1)]
    [InlineData(LogHead.PieceLength)]
    [InlineData((2 * LogHead.PieceLength) + 77)]
    public async Task WhatIsPutIsReadAgain(int length)
    {
        (FakeStorage _, BackupRepository repository, LogArchive archive) = await NewAsync();
        byte[] content = Content(length);
        (await PutAsync(repository, archive, Name, content)).ShouldBe(LogPut.Stored);
        (await ReadAsync(archive, Name)).ShouldBe(content);
        LogHead head = (await archive.ReadHeadAsync(Group, Name, CancellationToken.None)).ShouldNotBeNull();
        head.Length.ShouldBe(length);
        head.Facts.ShouldBe([1, 2, 3]);
        (await archive.ReadHeadAsync(Group, "000000010000000000000004", CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public async Task TheSameFileAgainIsSuccessAndAnotherOneIsRefusedAndChangesNothing()
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        byte[] content = Content(100_000);
        await PutAsync(repository, archive, Name, content);
        byte[] before = Object(storage).Value;
        (await PutAsync(repository, archive, Name, content)).ShouldBe(LogPut.SameThere);
        content[50_000] ^= 1;
        (await PutAsync(repository, archive, Name, content)).ShouldBe(LogPut.OtherThere);
        Object(storage).Value.ShouldBe(before);
    }

    [Fact]
    public async Task ObjectsCannotBeSwappedCutOrChanged()
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await PutAsync(repository, archive, Name, Content(2_200_000));
        await PutAsync(repository, archive, "000000010000000000000004", Content(50));
        (string key, byte[] whole) = Object(storage);
        byte[] other = storage.Objects.Single(static o => o.Key.EndsWith("04", StringComparison.Ordinal)).Value;
        foreach (byte[] forged in (byte[][])[other, whole[..^1], whole[..^700_000], whole[..60], [.. whole, 0], [.. whole[..^9], (byte)(whole[^9] ^ 1), .. whole[^8..]], []])
        {
            storage.Objects[key] = forged;
            (await Should.ThrowAsync<BackupIQException>(() => ReadAsync(archive, Name))).Code.ShouldBe(ErrorCodes.CorruptData);
        }
    }

    [Fact]
    public async Task WhatAKilledPushLeftIsRemovedAfterAWhile()
    {
        (FakeStorage _, BackupRepository repository, LogArchive archive) = await NewAsync();
        string left = Path.Combine(Path.GetTempPath(), $"{SessionId.New()}.log");
        string underWay = Path.Combine(Path.GetTempPath(), $"{SessionId.New()}.log");
        File.WriteAllText(left, "");
        File.WriteAllText(underWay, "");
        File.SetLastWriteTimeUtc(left, DateTime.UtcNow.AddHours(-2));
        await PutAsync(repository, archive, Name, Content(10));
        File.Exists(left).ShouldBeFalse();
        File.Exists(underWay).ShouldBeTrue();
        File.Delete(underWay);
    }

    [Fact]
    public async Task WhoMayOnlyAddPushesAndChangesNothing()
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await PutAsync(repository, archive, Name, Content(100));
        await using AppendOnlyBackend closed = new(storage, RepositoryLayout.MaintainerPrefixes);
        closed.Close();
        BackupRepository adding = BackupRepository.Of(closed, repository.Keys, repository.Configuration, TimeProvider.System);
        LogArchive added = new(adding, "main", TimeProvider.System);
        (await PutAsync(adding, added, "000000010000000000000004", Content(200))).ShouldBe(LogPut.Stored);
        (await PutAsync(adding, added, Name, Content(100))).ShouldBe(LogPut.SameThere);
        (await PutAsync(adding, added, Name, Content(101))).ShouldBe(LogPut.OtherThere);
        (await ReadAsync(archive, Name)).ShouldBe(Content(100));
    }

    [Fact]
    public async Task HeadsThatWereReadAreRememberedAndProvenWhenTheyAreUsed()
    {
        using ScratchFolder cache = new();
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await PutAsync(repository, archive, Name, Content(100));
        LogArchive first = new(repository, "main", TimeProvider.System, cache.Path);
        LogFile file = await OnlyAsync(first);
        (await first.ReadHeadAsync(file, CancellationToken.None)).ShouldNotBeNull().Length.ShouldBe(100);
        first.SaveHeads();

        // The storage need not be asked again.
        string key = Object(storage).Key;
        storage.Unreadable.Add(key);
        LogArchive second = new(repository, "main", TimeProvider.System, cache.Path);
        (await second.ReadHeadAsync(file, CancellationToken.None)).ShouldNotBeNull().Length.ShouldBe(100);

        // Of another object of that name nothing is known, and what is damaged in the cache is read anew.
        await Should.ThrowAsync<StorageException>(() => second.ReadHeadAsync(file with { Stored = file.Stored with { Size = 7 } }, CancellationToken.None));
        string kept = Directory.EnumerateFiles(cache.Path, "*", SearchOption.AllDirectories).ShouldHaveSingleItem();
        byte[] bytes = File.ReadAllBytes(kept);
        bytes[^5] ^= 1;
        File.WriteAllBytes(kept, bytes);
        LogArchive third = new(repository, "main", TimeProvider.System, cache.Path);
        await Should.ThrowAsync<StorageException>(() => third.ReadHeadAsync(file, CancellationToken.None));
        storage.Unreadable.Clear();
        (await third.ReadHeadAsync(file, CancellationToken.None)).ShouldNotBeNull().Length.ShouldBe(100);
        foreach (byte[] other in (byte[][])[[], bytes[..^7], bytes[..20], [.. bytes, 1, 2, 3], new byte[100]])
        {
            File.WriteAllBytes(kept, other);
            LogArchive any = new(repository, "main", TimeProvider.System, cache.Path);
            (await any.ReadHeadAsync(file, CancellationToken.None)).ShouldNotBeNull().Length.ShouldBe(100);
        }
    }

    [Fact]
    public async Task AFileIsCopiedIntoARepositoryWithOtherKeysAndKeepsItsTime()
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await archive.DescribeAsync([1], "main"u8.ToArray(), CancellationToken.None);
        await PutAsync(repository, archive, Name, Content(1_500_000));
        LogHead stored = (await archive.ReadHeadAsync(Group, Name, CancellationToken.None)).ShouldNotBeNull();
        (FakeStorage _, BackupRepository other, LogArchive target) = await NewAsync();
        LogFile file = await OnlyAsync(archive);
        (await target.CopyAsync(archive, file, CancellationToken.None)).ShouldBe(LogPut.Stored);
        (await target.CopyAsync(archive, file, CancellationToken.None)).ShouldBe(LogPut.SameThere);
        (await ReadAsync(target, Name)).ShouldBe(Content(1_500_000));
        LogHead copy = (await target.ReadHeadAsync(Group, Name, CancellationToken.None)).ShouldNotBeNull();
        copy.StoredAt.ShouldBe(stored.StoredAt);
        copy.Facts.ShouldBe(stored.Facts);
        copy.Content.ShouldNotBe(stored.Content);
        (await target.CopyAsync(archive, file with { Name = "000000010000000000000009" }, CancellationToken.None)).ShouldBeNull();
        (await LogArchive.ListNamesAsync(repository, TimeProvider.System, static _ => { }, CancellationToken.None)).ShouldBe(["main"]);
        (await LogArchive.ListNamesAsync(other, TimeProvider.System, static _ => { }, CancellationToken.None)).ShouldBeEmpty();

        // What is damaged is not copied.
        (string key, byte[] bytes) = Object(storage);
        bytes[^100] ^= 1;
        (FakeStorage empty, BackupRepository _, LogArchive third) = await NewAsync();
        await Should.ThrowAsync<CorruptDataException>(() => third.CopyAsync(archive, file, CancellationToken.None));
        empty.Objects.Keys.ShouldAllBe(static name => !name.StartsWith("w/", StringComparison.Ordinal));
        key.ShouldNotBeNull();
    }

    [Fact]
    public async Task TheStorageDoesNotLearnTheName()
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await archive.DescribeAsync([1], "main"u8.ToArray(), CancellationToken.None);
        await PutAsync(repository, archive, Name, Content(10));
        storage.Objects.Keys.Where(static key => key.StartsWith("w/", StringComparison.Ordinal)).ShouldAllBe(static key => !key.Contains("main"));
        LogSeries.Of(repository.Keys, "other").ShouldNotBe(archive.Series);
    }

    [Fact]
    public async Task TheFirstDescriptionStaysAndOneCopyOfItIsEnough()
    {
        (FakeStorage storage, BackupRepository _, LogArchive archive) = await NewAsync();
        (await archive.DescribeAsync([1, 7], "main"u8.ToArray(), CancellationToken.None)).Head.Facts.ShouldBe([1, 7]);
        (await archive.DescribeAsync([1, 8], "main"u8.ToArray(), CancellationToken.None)).Head.Facts.ShouldBe([1, 7]);
        string first = storage.Objects.Keys.Single(static key => key.EndsWith("a.series", StringComparison.Ordinal));
        storage.Objects[first] = [1, 2, 3];
        (await archive.ReadDescriptionAsync(CancellationToken.None)).ShouldNotBeNull().Head.Facts.ShouldBe([1, 7]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task CheckFindsWhatIsDamaged(bool inHead)
    {
        (FakeStorage storage, BackupRepository repository, LogArchive archive) = await NewAsync();
        await PutAsync(repository, archive, Name, Content(100_000));
        CheckRunner runner = new(repository, TimeProvider.System);
        CheckOptions all = new() { ReadData = ReadDataSubset.All };
        (await runner.RunAsync(all, new CheckProgress(), CancellationToken.None)).Findings.ShouldBeEmpty();
        (string key, byte[] bytes) = Object(storage);
        bytes[inHead ? 70 : ^100] ^= 1;
        CheckFinding found = (await runner.RunAsync(all, new CheckProgress(), CancellationToken.None)).Findings.ShouldHaveSingleItem();
        found.IsError.ShouldBeTrue();
        found.Damage.ObjectName.ShouldBe(key);
    }

    // Computed by an independent implementation (Python's cryptography).
    private const string GoldenSeries = "5e934f688dbc62798315b48b618d69b0";
    private const string Golden =
        "4249514c010000007c0000004249514f010d020000000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1ff1824cd56898eda5"
        + "01a0559b1c3fe992ab27434740df18af819a980270a425643c5242c649993529f56c459758883087e1ba0c53d1fed12533da1b59222e7aa78580e40458aed20f"
        + "b400145e0144a29d1f00000000e1a07fea968f77517499861e74450e18f535c63ebb168626e0c1dd7371b3f7";

    private static async Task<(FakeStorage Storage, BackupRepository Repository, LogArchive Archive)> NewAsync()
    {
        FakeStorage storage = new();
        BackupRepository repository = (await RepositoryBuilder.CreateAsync(storage)).Repository;
        return (storage, repository, new LogArchive(repository, "main", TimeProvider.System));
    }

    private static Task<LogPut> PutAsync(BackupRepository repository, LogArchive archive, string name, byte[] content) =>
        archive.PutAsync(Group, name, Head(repository.Keys, content), () => new MemoryStream(content), CancellationToken.None);

    private static LogHead Head(RepositoryKeys keys, byte[] content)
    {
        Blake3Hasher hasher = Blake3Hasher.CreateKeyed(keys.DataIdKey);
        hasher.Update(content);
        return new LogHead(LogKind.PostgresSegment, content.Length, default, LogArchive.IdOf(hasher), [1, 2, 3]);
    }

    private static async Task<byte[]> ReadAsync(LogArchive archive, string name)
    {
        MemoryStream read = new();
        (await archive.ReadAsync(Group, name, LogArchive.WriteTo(read), CancellationToken.None)).ShouldNotBeNull();
        return read.ToArray();
    }

    private static async Task<LogFile> OnlyAsync(LogArchive archive)
    {
        List<LogFile> files = [];
        await foreach (LogFile file in archive.ListAsync(null, CancellationToken.None))
        {
            files.Add(file);
        }

        return files.ShouldHaveSingleItem();
    }

    private static KeyValuePair<string, byte[]> Object(FakeStorage storage) => storage.Objects.Single(static o => o.Key.EndsWith(Name, StringComparison.Ordinal));

    private static byte[] Content(int length)
    {
        var content = new byte[length];
        new Random(length).NextBytes(content.AsSpan(0, length / 2));
        return content;
    }
}
