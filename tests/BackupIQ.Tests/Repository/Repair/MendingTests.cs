using BackupIQ.Engine.Repair;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance.Repair;
using BackupIQ.Repository.Parity;
using BackupIQ.Storage;
using BackupIQ.Tests.Engine;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Repair;

/// <summary>Damaged objects of a real repository get the bytes back that they had.</summary>
public sealed class MendingTests : IAsyncLifetime
{
    private readonly BackedUpFolder _folder = new();
    private Dictionary<string, byte[]> _whole = [];

    public async ValueTask InitializeAsync()
    {
        _folder.WriteRandom("large", 3_000_000, 1);
        for (int i = 0; i < 40; i++)
        {
            _folder.WriteRandom($"small-{i}", 300 + (i * 777), i);
        }

        await _folder.BackupAsync();
        _whole = _folder.Objects("").ToDictionary(static name => name, name => File.ReadAllBytes(PathOf(name)));
    }

    public ValueTask DisposeAsync() => _folder.DisposeAsync();

    [Fact]
    public async Task WhatFollowsFromOtherPartsNeedsNoParity()
    {
        foreach (string pack in Packs())
        {
            byte[] whole = _whole[pack];
            int first = BitConverter.ToInt32(whole, whole.Length - 32);
            int length = BitConverter.ToInt32(whole, whole.Length - 28);
            (string, Action<byte[]>)[] wounds =
            [
                ("head", bytes => bytes.AsSpan(0, 64).Clear()),
                ("session in the head", static bytes => bytes[9] ^= 1),
                ("salt", static bytes => bytes[40] ^= 1),
                ("first table", bytes => bytes[first + 3] ^= 1),
                ("second table", bytes => bytes[first + length + 3] ^= 1),
                ("both tables", bytes => bytes.AsSpan(first, 2 * length).Clear()),
                ("trailer", static bytes => bytes[^20] ^= 1),
                ("tables and trailer", bytes => bytes.AsSpan(first).Clear()),
            ];
            foreach ((string what, Action<byte[]> wound) in wounds)
            {
                Damage(pack, wound);
                RepairResult result = await RepairAsync();
                result.Objects.ShouldHaveSingleItem().Mending.Means.ShouldBe(MendingMeans.Structure, what);
                ShouldBeWhole(what);
            }

            await File.WriteAllBytesAsync(PathOf(pack), whole[..(first + length)]);
            IsDamageLeft(await RepairAsync()).ShouldBeFalse();
            ShouldBeWhole("cut behind the first table");
        }
    }

    [Fact]
    public async Task WhatDoesNotFollowNeedsParityAndIsToldWithoutIt()
    {
        string pack = Packs()[0];
        Damage(pack, static bytes => bytes.AsSpan(200, 40).Clear());

        RepairResult result = await RepairAsync(isTrial: true);

        MendedObject item = result.Objects.ShouldHaveSingleItem();
        (item.ObjectName, item.Mending.Means).ShouldBe((pack, MendingMeans.Moved));
        item.Mending.Told.ShouldContain("it has no parity");
        (await File.ReadAllBytesAsync(PathOf(pack))).AsSpan(200, 40).ContainsAnyExcept((byte)0).ShouldBeFalse("nothing is changed that cannot be mended");
    }

    [Fact]
    public async Task AFewWrongBytesAreMendedByTheSealAlone()
    {
        Random random = new(5);
        foreach (string name in _whole.Keys.Where(static name => name[0] is 'd' or 'm' or 's' or 'i'))
        {
            for (int round = 0; round < 5; round++)
            {
                // Behind the head or header, before a pack's tables.
                int at = random.Next(64, _whole[name].Length / 2);
                Damage(name, bytes => bytes[at] ^= (byte)random.Next(1, 256));
                MendedObject item = (await RepairAsync()).Objects.ShouldHaveSingleItem();
                (item.ObjectName, item.Mending.Means).ShouldBe((name, MendingMeans.Seal));
                ShouldBeWhole($"{name}, byte {at}");
            }
        }
    }

    [Fact]
    public async Task EveryObjectComesBackFromItsParity()
    {
        await AddParityAsync(5);
        Random random = new(3);
        foreach (string name in _whole.Keys.Where(static name => !name.StartsWith("l/", StringComparison.Ordinal) && !name.StartsWith("keys/", StringComparison.Ordinal)))
        {
            Damage(name, bytes => random.NextBytes(bytes.AsSpan(bytes.Length / 3, Math.Max(1, bytes.Length / 40))));
            RepairResult result = await RepairAsync();
            IsDamageLeft(result).ShouldBeFalse(name);
            ShouldBeWhole(name);
        }
    }

    [Fact]
    public async Task ATrialSaysTheSameAndPutsNothing()
    {
        await AddParityAsync(5);
        string pack = Packs()[0];
        Damage(pack, static bytes => bytes.AsSpan(0, 1000).Clear());
        byte[] damaged = await File.ReadAllBytesAsync(PathOf(pack));
        string[] before = _folder.Objects("");

        RepairResult trial = await RepairAsync(isTrial: true);

        (await File.ReadAllBytesAsync(PathOf(pack))).ShouldBe(damaged);
        _folder.Objects("").ShouldBe(before);
        trial.Objects.ShouldBe((await RepairAsync()).Objects);
    }

    [Fact]
    public async Task ParityOfOtherBytesMendsNothing()
    {
        await AddParityAsync(5);
        string[] packs = Packs();
        string theirs = _folder.Objects($"e/{packs[1]}.").ShouldHaveSingleItem();
        string ours = _folder.Objects($"e/{packs[0]}.").ShouldHaveSingleItem();
        File.Copy(PathOf(theirs), PathOf(ours), overwrite: true);
        Damage(packs[0], static bytes => bytes.AsSpan(300, 40).Clear());

        RepairResult result = await RepairAsync();

        result.Objects.ShouldHaveSingleItem().Mending.Means.ShouldBe(MendingMeans.Moved);
        (await File.ReadAllBytesAsync(PathOf(packs[0]))).Length.ShouldBe(_whole[packs[0]].Length);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ACrashAtAnyMomentOfTheReplacementLosesNothing(bool isEffectSeen)
    {
        await AddParityAsync(5);
        string pack = Packs()[0];
        for (int writes = 0; ; writes++)
        {
            Damage(pack, static bytes => bytes.AsSpan(100, 50).Clear());
            bool hasCrashed = false;
            await using (BackupRepository dying = await _folder.OpenOnAsync(storage => new DyingBackend(storage, writes, isEffectSeen)))
            {
                try
                {
                    await new RepairRunner(dying, TimeProvider.System).RepairPacksAsync(new RepairOptions { Hostname = "here" }, new CheckProgress(), CancellationToken.None);
                }
                catch (StorageException)
                {
                    hasCrashed = true;
                }
            }

            RepairResult result = await RepairAsync();

            IsDamageLeft(result).ShouldBeFalse($"crash after {writes} writes");
            ShouldBeWhole($"crash after {writes} writes");
            _folder.Objects("e/").ShouldNotContain(static name => name.EndsWith(".mended", StringComparison.Ordinal));
            if (!hasCrashed)
            {
                writes.ShouldBeGreaterThan(4);
                return;
            }
        }
    }

    private static bool IsDamageLeft(RepairResult result) =>
        result.Objects.Any(static item => item.Mending.Means is not (MendingMeans.Structure or MendingMeans.Parity or MendingMeans.Seal));

    private string PathOf(string name) => Path.Combine(_folder.RepositoryPath, name);

    private string[] Packs() => [.. _whole.Keys.Where(static name => name.StartsWith("d/", StringComparison.Ordinal) || name.StartsWith("m/", StringComparison.Ordinal))];

    private void Damage(string name, Action<byte[]> wound)
    {
        byte[] bytes = [.. _whole[name]];
        wound(bytes);
        File.WriteAllBytes(PathOf(name), bytes);
    }

    private void ShouldBeWhole(string what)
    {
        foreach ((string name, byte[] bytes) in _whole)
        {
            File.ReadAllBytes(PathOf(name)).AsSpan().SequenceEqual(bytes).ShouldBeTrue($"{name} after {what}");
        }
    }

    private async Task AddParityAsync(int percent)
    {
        BackupRepository repository = await _folder.RepositoryAsync();
        ParityPlan plan = await ParityPipeline.PlanAsync(repository, percent, null, CancellationToken.None);
        await new ParityPipeline(repository, new ParityProgress(), workers: 2).RunAsync(plan, CancellationToken.None);
    }

    private async Task<RepairResult> RepairAsync(bool isTrial = false) =>
        await new RepairRunner(await _folder.RepositoryAsync(), TimeProvider.System)
            .RepairPacksAsync(new RepairOptions { Hostname = "here", IsTrial = isTrial }, new CheckProgress(), CancellationToken.None);

    /// <summary>After so many writes nothing goes through any more; the last may still have had its effect.</summary>
    private sealed class DyingBackend(IStorageBackend inner, int writes, bool isEffectSeen) : DelegatingBackend(inner)
    {
        private int _left = writes;

        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            if (_left-- > 0)
            {
                return await base.PutAsync(key, content, cancellationToken);
            }

            if (_left == -1 && isEffectSeen)
            {
                await base.PutAsync(key, content, cancellationToken);
            }

            throw Dead(key);
        }

        public override async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
        {
            if (_left-- > 0 || (_left == -1 && isEffectSeen))
            {
                await base.DeleteAsync(key, cancellationToken);
            }

            if (_left < 0)
            {
                throw Dead(key);
            }
        }

        private static StorageException Dead(StorageKey key) => new(ErrorCodes.StorageConnection, $"The machine died at {key}.");
    }
}
