using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Verification;

/// <summary>
/// Every class of damage in every kind of object. The oracle is the restore: the files and snapshots that check names are those that do not
/// come back, no more and no fewer.
/// </summary>
public sealed class DamageTests(DamageTests.SoundRepository sound) : IClassFixture<DamageTests.SoundRepository>
{
    private const string DataPack = "d/";
    private const string MetadataPack = "m/";
    private const string Index = "i/";
    private const string SnapshotObject = "s/";
    private const string Partial = "sp/";
    private const string KeySlot = "keys/";
    private const string Configuration = "config/";
    private const string Session = "l/";

    /// <summary>What is done to an object, given its bytes and those of another of its kind.</summary>
    public enum Damage
    {
        FlipAtStart,
        FlipInFormat,
        FlipInMiddle,
        FlipAtEnd,
        Truncated,
        Emptied,
        Deleted,
        Swapped,
        StaleCopy,
    }

    public static TheoryData<string, Damage> Cases()
    {
        TheoryData<string, Damage> cases = [];
        foreach (string kind in (string[])[DataPack, MetadataPack, Index, SnapshotObject, Partial, KeySlot, Configuration, Session])
        {
            foreach (Damage damage in Enum.GetValues<Damage>())
            {
                cases.Add(kind, damage);
            }
        }

        return cases;
    }

    [Fact]
    public async Task ASoundRepositoryIsNotAccusedOfAnything()
    {
        foreach (bool readData in (bool[])[false, true])
        {
            CheckResult result = await sound.Repository.CheckAsync(readData);
            result.Findings.ShouldBeEmpty();
            result.SnapshotsChecked.ShouldBe(3);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task CheckNamesTheObjectAndJustWhatCannotBeRestored(string kind, Damage damage)
    {
        string[] victims = [.. sound.Repository.Objects(kind).Where(IsNotTheWayIn)];
        victims.Length.ShouldBeGreaterThan(1, kind);
        for (int i = 0; i < Math.Min(victims.Length, 2); i++)
        {
            await using RealRepository copy = await sound.Repository.CopyAsync();
            string[] named = Apply(copy, damage, victims[i], victims[(i + 1) % victims.Length]);
            if (kind == Configuration && damage == Damage.Swapped)
            {
                await BothCopiesOfTheConfigurationAreLostAsync(copy);
                return;
            }

            await using RealRepository damaged = await copy.ReopenAsync();
            CheckResult result = await damaged.CheckAsync();
            ShouldName(result, kind, damage, named);
            await ShouldEqualWhatRestoresAsync(result, damaged, $"{kind} {damage} {named[0]}");
            CheckResult thorough = await damaged.CheckAsync(readData: true);
            thorough.Findings.Select(static f => f.Damage.ObjectName).ShouldBe(result.Findings.Select(static f => f.Damage.ObjectName), ignoreOrder: true);
        }
    }

    [Fact]
    public async Task ADamagedSlotKeepsNoOtherFromOpeningAndWithoutAnyTheKitIsPointedTo()
    {
        string[] slots = sound.Repository.Objects(KeySlot);
        foreach (string slot in slots)
        {
            await using RealRepository copy = await sound.Repository.CopyAsync();
            File.WriteAllText(InCopy(copy, slot), "damaged");
            if (IsNotTheWayIn(slot))
            {
                await using RealRepository opened = await copy.ReopenAsync();
                opened.Repository.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(sound.Repository.NameOf(slot));
            }
            else
            {
                BackupIQException closed = await Should.ThrowAsync<BackupIQException>(copy.ReopenAsync);
                closed.Code.ShouldBe(ErrorCodes.KeyDamaged);
                closed.Code.ExitCode.ShouldBe(12);
                closed.Guidance.ShouldContain("--recovery-kit");
            }
        }
    }

    // The slot of the key with which the tests open: without it there is nothing to check.
    private bool IsNotTheWayIn(string file) => !sound.Repository.NameOf(file).StartsWith(KeySlot, StringComparison.Ordinal) ||
        !File.ReadAllText(file).Contains("\"type\":\"keyfile\"", StringComparison.Ordinal);

    private string InCopy(RealRepository copy, string file) => Path.Combine(copy.Folder, sound.Repository.NameOf(file));

    private string[] Apply(RealRepository copy, Damage damage, string victim, string other)
    {
        byte[] bytes = File.ReadAllBytes(victim);
        byte[] others = File.ReadAllBytes(other);
        string path = InCopy(copy, victim);
        switch (damage)
        {
            case Damage.Deleted:
                File.Delete(path);
                break;
            case Damage.Truncated:
                File.WriteAllBytes(path, bytes[..(bytes.Length * 2 / 3)]);
                break;
            case Damage.Emptied:
                File.WriteAllBytes(path, []);
                break;
            case Damage.Swapped:
                File.WriteAllBytes(path, others);
                File.WriteAllBytes(InCopy(copy, other), bytes);
                return [sound.Repository.NameOf(victim), sound.Repository.NameOf(other)];
            case Damage.StaleCopy:
                File.WriteAllBytes(path, others);
                break;
            default:
                int at = damage switch { Damage.FlipAtStart => 0, Damage.FlipInFormat => 4, Damage.FlipInMiddle => bytes.Length / 2, _ => bytes.Length - 1 };
                bytes[at] ^= 0x10;
                File.WriteAllBytes(path, bytes);
                break;
        }

        return [sound.Repository.NameOf(victim)];
    }

    private static void ShouldName(CheckResult result, string kind, Damage damage, string[] names)
    {
        // Nothing says that a snapshot, slot or session should be there.
        bool leavesNoTrace = damage == Damage.Deleted && kind is SnapshotObject or Partial or KeySlot or Session;
        bool isError = !leavesNoTrace && kind is not (Partial or Session);
        (result.NumErrors > 0).ShouldBe(isError, $"{kind} {damage}: {string.Join("; ", result.Findings.Select(static f => f.Damage))}");
        if (leavesNoTrace)
        {
            result.Findings.ShouldBeEmpty();
            return;
        }

        if (kind == Index && damage == Damage.Deleted)
        {
            // The packs that it named say whose segment it was.
            CheckFinding lost = result.Findings.ShouldHaveSingleItem();
            lost.Damage.Kind.ShouldBe(DamageKind.IndexLost);
            names[0].ShouldStartWith(lost.Damage.ObjectName);
            result.SuggestRepairIndex.ShouldBeTrue();
            return;
        }

        foreach (string name in names)
        {
            result.Findings.Select(static f => f.Damage.ObjectName).ShouldContain(name);
            if (kind is DataPack or MetadataPack)
            {
                result.BrokenPacks.Select(static p => p.ToString()).ShouldContain(Path.GetFileName(name));
            }
        }
    }

    private static async Task ShouldEqualWhatRestoresAsync(CheckResult result, RealRepository damaged, string what)
    {
        HashSet<string> lost = [];
        HashSet<string> touched = [];
        foreach (Snapshot snapshot in await damaged.ListAsync())
        {
            string target = damaged.Scratch.At($"restored {Guid.NewGuid():n}");
            RestoreResult restore = await damaged.RestoreAsync(snapshot, target);
            lost.UnionWith(restore.Errors.Select(static issue => issue.PathText.TrimEnd('/')));
            if (restore.ErrorCount > 0)
            {
                touched.Add(snapshot.Id.ToString());
                restore.ExitCode.ShouldBe(14, what);
            }

            ScratchFolder.Run("rm", "-rf", target);
        }

        CheckFinding[] errors = [.. result.Findings.Where(static f => f.IsError)];
        errors.SelectMany(static f => f.Files).Select(static file => Encoding.UTF8.GetString(file.Path).TrimEnd('/')).Distinct().ShouldBe(lost, ignoreOrder: true, what);
        errors.SelectMany(static f => f.Snapshots).Select(static id => id.ToString()).Distinct().ShouldBe(touched, ignoreOrder: true, what);
        result.DamagedFiles.ShouldBe(lost.Count, what);
    }

    private static async Task BothCopiesOfTheConfigurationAreLostAsync(RealRepository copy)
    {
        BackupIQException lost = await Should.ThrowAsync<BackupIQException>(copy.ReopenAsync);
        lost.Code.ShouldBe(ErrorCodes.CorruptData);
        lost.Message.ShouldContain("--recovery-kit");
    }

    /// <summary>A repository with several objects of each kind and nothing wrong with it, made once for all tests.</summary>
    public sealed class SoundRepository : IAsyncLifetime
    {
        public RealRepository Repository { get; private set; } = null!;

        public async ValueTask InitializeAsync()
        {
            Repository = await RealRepository.CreateAsync();
            await Repository.Repository.Slots.AddRecoveryKitAsync("kit", asPage: false, CancellationToken.None);
            await Repository.Repository.Slots.AddRecoveryKitAsync("second kit", asPage: false, CancellationToken.None);
            ScratchFolder scratch = Repository.Scratch;
            for (int generation = 0; generation < 3; generation++)
            {
                for (int i = 0; i < 4; i++)
                {
                    scratch.WriteRandom($"source/generation {generation}/file {i}", 600_000, seed: (10 * generation) + i);
                    scratch.Write($"source/generation {generation}/folder {i}/small", Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat($"{generation} {i}, ", 200))));
                }

                await InterruptedAsync(generation);
                await Repository.BackupAsync(scratch.At("source"), Options);
            }
        }

        public ValueTask DisposeAsync() => Repository.DisposeAsync();

        // Packs of 4 MiB, so that there are several.
        private static BackupOptions Options => new() { Hostname = "here", IgnoreCtime = true, MemoryBudget = 32 << 20 };

        private async Task InterruptedAsync(int generation)
        {
            using CancellationTokenSource stop = new();
            BackupProgress progress = new()
            {
                OnItem = (path, _, _) =>
                {
                    if (Encoding.UTF8.GetString(path).EndsWith($"generation {generation}/file 2", StringComparison.Ordinal))
                    {
                        stop.Cancel();
                    }
                },
            };
            await Should.ThrowAsync<OperationCanceledException>(() => Repository.BackupAsync(Repository.Scratch.At("source"), Options, progress, stop.Token));
        }
    }
}
