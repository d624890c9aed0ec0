using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Storage;
using BackupIQ.Tests.Engine.Snapshots;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>Forgetting, bringing back and removing for good, on a storage.</summary>
public sealed class ForgetRunnerTests
{
    private static readonly AnnotationAuthor s_author = new("desk", "ann", "test");

    [Fact]
    public async Task ForgottenSnapshotsGoWhenTheGraceTimeIsOverAndNotBefore()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId[] ids = await CommitAsync(scene, 10);

        ForgetResult forgotten = await ForgetAsync(scene, "keep:last=6");
        forgotten.Done.ShouldBe(ids[..4], ignoreOrder: true);
        (await scene.ShownAsync()).ShouldBe(ids[4..], ignoreOrder: true);

        scene.Set(scene.Time.Now.AddDays(7).AddMinutes(-1));
        (await RemoveAsync(scene)).Done.ShouldBeEmpty();
        (await scene.NamesAsync("s/")).Count.ShouldBe(10);

        scene.Set(scene.Time.Now.AddMinutes(2));
        (await RemoveAsync(scene)).Done.ShouldBe(ids[..4], ignoreOrder: true);
        (await scene.NamesAsync("s/")).ShouldBe(ids[4..].Select(static id => $"s/{id}"), ignoreOrder: true);
        (await scene.NamesAsync("a/")).ShouldBeEmpty();
        (await scene.NamesAsync("f/")).ShouldBeEmpty();
    }

    [Fact]
    public async Task ThePlanIsStoredBeforeAnythingHappensAndSweptLater()
    {
        RecordingBackend? recording = null;
        await using SnapshotScene scene = await SnapshotScene.CreateAsync(memory => recording = new RecordingBackend(memory));
        SessionId[] ids = await CommitAsync(scene, 3);
        recording!.Clear();

        await ForgetAsync(scene, "keep:last=2", TimeSpan.Zero);
        await RemoveAsync(scene);

        string[] changes = [.. recording.Calls.Where(static c => c.Operation is StorageOperation.Put or StorageOperation.Delete).Select(static c => $"{c.Operation} {c.Key[..Math.Min(8, c.Key.Length)]}")];
        string f = $"f/{ids[0]}"[..8];
        changes.ShouldBe(
            ["Put p/forget", $"Put {f}", $"Put {f}", "Put p/remove", $"Put {f}", $"Put {f}", $"Delete s/{ids[0]}"[..15], .. Enumerable.Repeat($"Delete {f}", 4)]);

        scene.Set(scene.Time.Now.AddDays(91));
        await RemoveAsync(scene);
        (await scene.NamesAsync("p/")).ShouldBeEmpty();
    }

    [Theory]
    [InlineData(30, 0)]
    [InlineData(0, 30)]
    public async Task AClockThatIsAheadRemovesNothingEarly(int ourDays, int storeDays)
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        await CommitAsync(scene, 4);
        await ForgetAsync(scene, "keep:last=2");
        scene.Time.Now = scene.Time.Now.AddDays(ourDays);
        scene.StoreTime.Now = scene.StoreTime.Now.AddDays(storeDays);

        (await RemoveAsync(scene)).Done.ShouldBeEmpty();

        (await scene.NamesAsync("s/")).Count.ShouldBe(4);
    }

    [Fact]
    public async Task WhatIsHeldOrBroughtBackIsNotRemoved()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId[] ids = await CommitAsync(scene, 6);
        await ForgetAsync(scene, "keep:last=3");
        await scene.Said.UndeleteAsync(ids[0], CancellationToken.None);
        await scene.Said.HoldAsync(ids[1], null, "audit", CancellationToken.None);
        scene.Set(scene.Time.Now.AddDays(8));

        (await RemoveAsync(scene)).Done.ShouldBe([ids[2]]);

        (await scene.ShownAsync()).ShouldBe([ids[0], ids[1], .. ids[3..]], ignoreOrder: true);
    }

    [Fact]
    public async Task AHoldThatBecomesVisibleAtTheLastMomentSavesTheSnapshot()
    {
        SnapshotScene? at = null;
        SessionId saved = default;
        await using SnapshotScene scene = await SnapshotScene.CreateAsync(memory => new BeforeCall(memory, async (operation, key) =>
        {
            // The removal lists what is said about the snapshot after its condemnation: whatever is there by then counts.
            if (operation == StorageOperation.List && saved != default && key == $"a/{saved}/" && at is { } scene)
            {
                at = null;
                await scene.Said.HoldAsync(saved, null, "audit", CancellationToken.None);
            }
        }));
        SessionId[] ids = await CommitAsync(scene, 4);
        await ForgetAsync(scene, "keep:last=2", TimeSpan.Zero);
        (saved, at) = (ids[0], scene);

        ForgetResult removed = await RemoveAsync(scene);

        removed.Done.ShouldBe([ids[1]]);
        removed.Failures.ShouldHaveSingleItem().Code.ShouldBe(ErrorCodes.RetentionRefused);
        (await scene.ShownAsync()).ShouldContain(saved);
    }

    [Fact]
    public async Task ASnapshotWhoseSessionHasNotEndedGoesAndTheSessionStaysForCollectorsToFence()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId[] ids = await CommitAsync(scene, 2);
        await scene.Memory.DeleteAsync(RepositoryLayout.SessionEnd(ids[0]), CancellationToken.None);
        await ForgetAsync(scene, "keep:last=1", TimeSpan.Zero);

        (await RemoveAsync(scene)).Done.ShouldBe([ids[0]]);
        (await scene.NamesAsync("s/")).ShouldHaveSingleItem();

        // A commit that is tried again may bring it back, so a collector must still see that session and bar it before it deletes anything.
        (await scene.Memory.StatAsync(RepositoryLayout.SessionOpen(ids[0]), CancellationToken.None)).ShouldNotBeNull();
    }

    [Fact]
    public async Task WhatFailsInABatchIsTriedAloneAndTheRestIsTold()
    {
        FaultyBackend? faulty = null;
        await using SnapshotScene scene = await SnapshotScene.CreateAsync(memory => faulty = new FaultyBackend(memory, TimeProvider.System));
        SessionId[] ids = await CommitAsync(scene, 50);

        // One snapshot fails for good, another once.
        faulty!.Add(new Fault(StorageOperation.Put, $"f/{ids[3]}/", FaultKind.FailBefore));
        faulty.Add(new Fault(StorageOperation.Put, $"f/{ids[20]}/", FaultKind.FailAfter) { Times = 1 });

        ForgetResult forgotten = await ForgetAsync(scene, "keep:last=25");

        forgotten.Done.Count.ShouldBe(24);
        ForgetFailure failure = forgotten.Failures.ShouldHaveSingleItem();
        failure.Snapshot.ShouldBe(ids[3]);
        failure.Code.ShouldBe(ErrorCodes.StorageConnection);
        (await scene.ShownAsync()).Count.ShouldBe(26);
    }

    [Fact]
    public async Task AnInterruptedRemovalIsFinishedByTheNext()
    {
        FaultyBackend? faulty = null;
        await using SnapshotScene scene = await SnapshotScene.CreateAsync(memory => faulty = new FaultyBackend(memory, TimeProvider.System));
        SessionId[] ids = await CommitAsync(scene, 2);
        await scene.Said.TagAsync(await scene.ReadAsync(ids[0]), ["x"], [], CancellationToken.None);
        await ForgetAsync(scene, "keep:last=1", TimeSpan.Zero);
        faulty!.Add(new Fault(StorageOperation.Delete, "f/", FaultKind.FailBefore) { Times = 2 });
        await RemoveAsync(scene);
        (await scene.NamesAsync("s/")).Count.ShouldBe(1);
        (await scene.NamesAsync("f/")).ShouldNotBeEmpty();

        await RemoveAsync(scene);

        (await scene.NamesAsync("a/")).ShouldBeEmpty();
        (await scene.NamesAsync("f/")).ShouldBeEmpty();
        (await scene.ShownAsync()).ShouldBe([ids[1]]);
    }

    [Fact]
    public async Task ADamagedSnapshotCanBeForgottenByItsId()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId[] ids = await CommitAsync(scene, 3);
        await scene.Memory.DeleteAsync(RepositoryLayout.Snapshot(ids[0]), CancellationToken.None);
        await scene.Memory.PutAsync(RepositoryLayout.Snapshot(ids[0]), StorageContent.FromBytes("garbage"u8.ToArray()), CancellationToken.None);
        SnapshotStore store = new(scene.Repository);
        IReadOnlyList<Snapshot> all = await store.ListAsync(CancellationToken.None);
        store.DamagedIds.ShouldBe([ids[0]]);

        ForgetPlan plan = new ForgetPlanner(all, true, scene.Time.Now, TimeZoneInfo.Utc).ByName([], store.DamagedIds, new ForgetOptions { Grace = TimeSpan.Zero });
        ForgetRunner runner = new(scene.Repository, s_author, scene.Time);
        (await runner.ForgetAsync(plan, CancellationToken.None)).Done.ShouldBe([ids[0]]);
        (await RemoveAsync(scene)).Done.ShouldBe([ids[0]]);

        (await scene.NamesAsync("s/")).Count.ShouldBe(2);
    }

    [Fact]
    public async Task ARefusedPlanChangesNothing()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        await CommitAsync(scene, 10);

        (await Should.ThrowAsync<BackupIQException>(() => ForgetAsync(scene, "keep:last=1"))).Code.ShouldBe(ErrorCodes.RetentionRefused);

        (await scene.NamesAsync("f/")).ShouldBeEmpty();
        (await scene.NamesAsync("p/")).ShouldBeEmpty();
    }

    // One a day, the last at the scene's time; each session ended, as a backup's is.
    private static async Task<SessionId[]> CommitAsync(SnapshotScene scene, int count)
    {
        List<SessionId> ids = [];
        for (int i = count - 1; i >= 0; i--)
        {
            scene.Set(SnapshotScene.Start.AddDays(-i));
            ids.Add(await scene.CommitAsync(scene.Time.Now));
        }

        return [.. ids];
    }

    private static async Task<ForgetResult> ForgetAsync(SnapshotScene scene, string policy, TimeSpan? grace = null)
    {
        IReadOnlyList<Snapshot> all = await new SnapshotStore(scene.Repository).ListAsync(CancellationToken.None);
        ForgetPlanner planner = new(all, scene.Repository.HasStoreTimes, scene.Time.GetUtcNow(), TimeZoneInfo.Utc);
        ForgetPlan plan = planner.ByRules(
            static _ => true, new ForgetOptions { Policy = RetentionPolicy.Parse(policy), Grace = grace ?? ForgetOptions.DefaultGrace });
        return await new ForgetRunner(scene.Repository, s_author, scene.Time).ForgetAsync(plan, CancellationToken.None);
    }

    private static Task<ForgetResult> RemoveAsync(SnapshotScene scene) =>
        new ForgetRunner(scene.Repository, s_author, scene.Time).RemoveDueAsync(CancellationToken.None);

    private sealed class BeforeCall(IStorageBackend inner, Func<StorageOperation, string, Task> act) : DelegatingBackend(inner)
    {
        public override async IAsyncEnumerable<StoredObject> ListAsync(
            string prefix, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await act(StorageOperation.List, prefix);
            await foreach (StoredObject stored in base.ListAsync(prefix, cancellationToken))
            {
                yield return stored;
            }
        }
    }
}
