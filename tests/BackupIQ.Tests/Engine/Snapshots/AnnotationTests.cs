using System.Text;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Snapshots;

/// <summary>Tags, holds, pins, verdicts and forgetting: what is said about a snapshot beside it (docs/format.md, Annotations).</summary>
public sealed class AnnotationTests
{
    [Fact]
    public async Task TagsChangeAndNoSnapshotDoes()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start, tags: ["own", "both"]);
        byte[] before = await BytesAsync(scene, RepositoryLayout.Snapshot(id));

        await scene.Said.TagAsync(await scene.ReadAsync(id), ["new", "both"], ["own"], CancellationToken.None);
        (await scene.ReadAsync(id)).Tags.ShouldBe(["both", "new"]);

        await scene.Said.TagAsync(await scene.ReadAsync(id), ["own"], ["new", "both"], CancellationToken.None);
        (await scene.ReadAsync(id)).Tags.ShouldBe(["own"]);

        (await BytesAsync(scene, RepositoryLayout.Snapshot(id))).ShouldBe(before);
        (await scene.ShownAsync()).ShouldBe([id]);
    }

    [Fact]
    public async Task ATagThatIsThereAlreadyPutsNothing()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start, tags: ["own"]);

        (await scene.Said.TagAsync(await scene.ReadAsync(id), ["own"], ["absent"], CancellationToken.None)).ShouldBeFalse();

        (await scene.NamesAsync("a/")).ShouldBeEmpty();
        (await scene.NamesAsync("f/")).ShouldBeEmpty();
    }

    [Fact]
    public async Task OfAnAddingAndARemovingAtOnceTheAddingWins()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.TagAsync(await scene.ReadAsync(id), ["x"], [], CancellationToken.None);
        Snapshot seenByBoth = await scene.ReadAsync(id);

        // One removes the tag that it sees while another, who saw none yet, adds it; the order of both does not matter.
        await scene.Said.TagAsync(seenByBoth with { Tags = [], Annotations = SnapshotAnnotations.None }, ["x"], [], CancellationToken.None);
        await scene.Said.TagAsync(seenByBoth, [], ["x"], CancellationToken.None);

        (await scene.ReadAsync(id)).Tags.ShouldBe(["x"]);
    }

    [Fact]
    public async Task AHoldKeepsASnapshotUntilItEndsOrIsReleased()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.HoldAsync(id, SnapshotScene.Start.AddDays(10), "audit", CancellationToken.None);

        BackupIQException refusal = await Should.ThrowAsync<BackupIQException>(() => scene.Said.ForgetAsync(id, TimeSpan.Zero, null, CancellationToken.None));
        refusal.Code.ShouldBe(ErrorCodes.RetentionRefused);
        refusal.Code.ExitCode.ShouldBe(17);
        (await scene.NamesAsync("f/")).ShouldBeEmpty();

        scene.Set(SnapshotScene.Start.AddDays(11));
        (await scene.ReadAsync(id)).Annotations.IsHeld(scene.Time.Now).ShouldBeFalse();

        await scene.Said.HoldAsync(id, null, null, CancellationToken.None);
        scene.Set(SnapshotScene.Start.AddYears(50));
        (await scene.ReadAsync(id)).Annotations.IsHeld(scene.Time.Now).ShouldBeTrue();

        (await scene.Said.ReleaseAsync(await scene.ReadAsync(id), CancellationToken.None)).ShouldBe(2);
        (await scene.ReadAsync(id)).Annotations.Holds.ShouldBeEmpty();
        await scene.Said.ForgetAsync(id, TimeSpan.Zero, null, CancellationToken.None);
    }

    [Fact]
    public async Task PinsAndVerdictsAreToldAndEnded()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.PinAsync(id, "before the move", CancellationToken.None);
        await scene.Said.PutVerdictAsync(id, "standard", passed: true, "12 of 12 checks passed", CancellationToken.None);

        SnapshotAnnotations said = (await scene.ReadAsync(id)).Annotations;
        said.Pins.ShouldHaveSingleItem().Reason.ShouldBe("before the move");
        said.Verdicts.ShouldHaveSingleItem().Passed.ShouldBeTrue();
        said.IsHeld(scene.Time.Now).ShouldBeFalse();

        (await scene.Said.UnpinAsync(id, CancellationToken.None)).ShouldBe(1);
        (await scene.ReadAsync(id)).Annotations.Pins.ShouldBeEmpty();
    }

    [Fact]
    public async Task TheLossOfAnyOneObjectChangesNothing()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start, tags: ["own"]);
        await scene.Said.TagAsync(await scene.ReadAsync(id), ["added", "gone"], ["own"], CancellationToken.None);
        await scene.Said.TagAsync(await scene.ReadAsync(id), [], ["gone"], CancellationToken.None);
        await scene.Said.HoldAsync(id, null, "audit", CancellationToken.None);
        await scene.Said.PinAsync(id, null, CancellationToken.None);
        SnapshotAnnotations before = (await scene.ReadAsync(id)).Annotations;
        string[] names = [.. await scene.NamesAsync("a/"), .. await scene.NamesAsync("f/")];
        names.Length.ShouldBe(2 * 6);

        foreach (string name in names)
        {
            StorageKey key = new(name);
            byte[] bytes = await BytesAsync(scene, key);
            foreach (byte[]? instead in (byte[]?[])[null, "garbage"u8.ToArray(), [.. bytes.Select(static b => (byte)(b ^ 1))]])
            {
                await ReplaceAsync(scene, key, instead);
                Snapshot after = await scene.ReadAsync(id);
                after.Tags.ShouldBe(["added"], name);
                after.Annotations.Holds.Select(static h => h.Id).ShouldBe(before.Holds.Select(static h => h.Id), name);
                after.Annotations.Pins.Count.ShouldBe(1, name);
                after.Annotations.Unreadable.ShouldBeEmpty(name);
            }

            await ReplaceAsync(scene, key, bytes);
        }
    }

    [Fact]
    public async Task WhatCannotBeReadMayBeAHoldAndIsTold()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        SessionId other = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.TagAsync(await scene.ReadAsync(id), ["x"], [], CancellationToken.None);
        foreach (string name in await scene.NamesAsync("a/"))
        {
            await ReplaceAsync(scene, new StorageKey(name), "garbage"u8.ToArray());
        }

        SnapshotStore store = new(scene.Repository);
        IReadOnlyList<Snapshot> shown = await store.ListAsync(CancellationToken.None);
        shown.Count.ShouldBe(2);
        store.Damaged.ShouldHaveSingleItem().ShouldContain("as if it were held");
        (await scene.ReadAsync(id)).Annotations.IsHeld(scene.Time.Now).ShouldBeTrue();
        (await scene.ReadAsync(other)).Annotations.IsHeld(scene.Time.Now).ShouldBeFalse();
        (await Should.ThrowAsync<BackupIQException>(() => scene.Said.ForgetAsync(id, TimeSpan.Zero, null, CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.RetentionRefused);

        // Released, the damage is gone and the snapshot as free as any.
        await scene.Said.ReleaseAsync(await scene.ReadAsync(id), CancellationToken.None);
        (await scene.ReadAsync(id)).Annotations.IsHeld(scene.Time.Now).ShouldBeFalse();
        (await scene.NamesAsync("a/")).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("""{"kind":"embargo","time":"2026-03-01T12:00:00+00:00"}""")]
    [InlineData("""{"kind":"tag","time":"2026-03-01T12:00:00+00:00"}""")]
    [InlineData("""{"kind":"forget","time":"2026-03-01T12:00:00+00:00","grace":0}""")]
    [InlineData("""{"kind":"withdraw","time":"2026-03-01T12:00:00+00:00","own_tags":["own"]}""")]
    [InlineData("""{"kind":"undelete","time":"2026-03-01T12:00:00+00:00","withdraws":["../../x"]}""")]
    [InlineData("""{"kind":"hold","time":"yesterday"}""")]
    [InlineData("""{"kind":99,"time":"2026-03-01T12:00:00+00:00"}""")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("")]
    public async Task AnAnnotationThatSaysNothingKnownHolds(string document)
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start, tags: ["own"]);
        await AnnotationObjects.PutAsync(scene.Repository, id, SessionId.New(), isWithdrawal: false, Encoding.UTF8.GetBytes(document), CancellationToken.None);

        Snapshot snapshot = await scene.ReadAsync(id);

        snapshot.Annotations.Unreadable.Count.ShouldBe(1);
        snapshot.Annotations.IsHeld(scene.Time.Now).ShouldBeTrue();
        snapshot.Annotations.IsForgotten.ShouldBeFalse();
        snapshot.Tags.ShouldBe(["own"]);
    }

    [Fact]
    public async Task AnAnnotationOfAnotherFormOfNameHoldsAndIsNotReleased()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Memory.PutAsync(new StorageKey($"a/{id}/legal-hold-2"), StorageContent.FromBytes("?"u8.ToArray()), CancellationToken.None);

        (await scene.ReadAsync(id)).Annotations.IsHeld(scene.Time.Now).ShouldBeTrue();
        (await Should.ThrowAsync<BackupIQException>(async () => await scene.Said.ReleaseAsync(await scene.ReadAsync(id), CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.RetentionRefused);
    }

    [Fact]
    public async Task AnAnnotationOfOneSnapshotSaysNothingAboutAnother()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId forgotten = await scene.CommitAsync(SnapshotScene.Start);
        SessionId other = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.ForgetAsync(forgotten, TimeSpan.Zero, null, CancellationToken.None);
        foreach (string name in await scene.NamesAsync("f/"))
        {
            byte[] bytes = await BytesAsync(scene, new StorageKey(name));
            string copied = name.Replace(forgotten.ToString(), other.ToString(), StringComparison.Ordinal);
            await scene.Memory.PutAsync(new StorageKey(copied), StorageContent.FromBytes(bytes), CancellationToken.None);
        }

        (await scene.ReadAsync(other)).Annotations.IsForgotten.ShouldBeFalse();
        (await scene.ReadAsync(other)).Annotations.IsHeld(scene.Time.Now).ShouldBeTrue();
    }

    [Fact]
    public async Task AForgottenSnapshotIsNotShownButStaysARootUntilUndeleted()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        SessionId other = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.ForgetAsync(id, TimeSpan.FromDays(7), "too many", CancellationToken.None);

        (await scene.ShownAsync()).ShouldBe([other]);
        (await RootsAsync(scene)).ShouldBe([id, other], ignoreOrder: true);
        Annotation forgetting = (await scene.ReadAsync(id)).Annotations.Forgettings.ShouldHaveSingleItem();
        forgetting.Reason.ShouldBe("too many");
        (await scene.ReadAsync(id)).Annotations.RemovedFrom.ShouldBe(SnapshotScene.Start.AddDays(7));

        (await scene.Said.UndeleteAsync(id, CancellationToken.None)).ShouldBeTrue();
        (await scene.ShownAsync()).ShouldBe([id, other], ignoreOrder: true);

        // Once more round: the old undeletion does not speak for the new forgetting.
        await scene.Said.ForgetAsync(id, TimeSpan.FromDays(7), null, CancellationToken.None);
        (await scene.ShownAsync()).ShouldBe([other]);
    }

    [Fact]
    public async Task AHoldPutWhileASnapshotIsForgottenWins()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start);
        await scene.Said.ForgetAsync(id, TimeSpan.FromDays(7), null, CancellationToken.None);

        await scene.Said.HoldAsync(id, null, "audit", CancellationToken.None);

        (await scene.ShownAsync()).ShouldBe([id]);
    }

    [Fact]
    public async Task AHoldThatBecomesVisibleBetweenLookingAndForgettingWinsToo()
    {
        SnapshotScene? at = null;
        SessionId id = default;
        int puts = 0;
        await using SnapshotScene scene = await SnapshotScene.CreateAsync(memory => new BeforePut(memory, async key =>
        {
            // As the first copy of the forgetting is put, another machine holds the snapshot.
            if (key.Value.StartsWith("f/", StringComparison.Ordinal) && ++puts == 1)
            {
                await at!.Said.HoldAsync(id, null, "audit", CancellationToken.None);
            }
        }));
        at = scene;
        id = await scene.CommitAsync(SnapshotScene.Start);

        (await Should.ThrowAsync<BackupIQException>(() => scene.Said.ForgetAsync(id, TimeSpan.Zero, null, CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.RetentionRefused);

        puts.ShouldBeGreaterThan(0);
        (await scene.ShownAsync()).ShouldBe([id]);
    }

    [Fact]
    public async Task CondemnedIsOnlyWhatNobodyTookBackBefore()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId forgotten = await scene.CommitAsync(SnapshotScene.Start);
        SessionId undeleted = await scene.CommitAsync(SnapshotScene.Start);
        foreach (SessionId id in (SessionId[])[forgotten, undeleted])
        {
            await scene.Said.ForgetAsync(id, TimeSpan.Zero, null, CancellationToken.None);
        }

        await scene.Said.UndeleteAsync(undeleted, CancellationToken.None);

        (await scene.Said.CondemnAsync(forgotten, CancellationToken.None)).ShouldBeTrue();
        (await scene.Said.CondemnAsync(undeleted, CancellationToken.None)).ShouldBeFalse();

        // Who comes after the condemnation is told that it may be too late.
        (await scene.Said.UndeleteAsync(forgotten, CancellationToken.None)).ShouldBeFalse();
        await scene.Memory.DeleteAsync(RepositoryLayout.Snapshot(forgotten), CancellationToken.None);
        (await Should.ThrowAsync<BackupIQException>(() => scene.Said.UndeleteAsync(forgotten, CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.SnapshotNotFound);
    }

    [Fact]
    public async Task ADocumentHasTheFieldsOfTheSpecification()
    {
        await using SnapshotScene scene = await SnapshotScene.CreateAsync();
        SessionId id = await scene.CommitAsync(SnapshotScene.Start, tags: ["own"]);
        await scene.Said.HoldAsync(id, SnapshotScene.Start.AddDays(1), "audit", CancellationToken.None);
        await scene.Said.TagAsync(await scene.ReadAsync(id), [], ["own"], CancellationToken.None);

        (string Name, string Json)[] documents = [.. (await AnnotationObjects.ReadAsync(scene.Repository, id, CancellationToken.None))
            .Select(static stored => (stored.Name, Encoding.UTF8.GetString(stored.Document!)))];

        documents.Select(static d => d.Json).ShouldBe(
            [
                """{"kind":"hold","time":"2026-03-01T12:00:00+00:00","hostname":"desk","username":"ann","program_version":"test","until":"2026-03-02T12:00:00+00:00","reason":"audit"}""",
                """{"kind":"withdraw","time":"2026-03-01T12:00:00+00:00","hostname":"desk","username":"ann","program_version":"test","withdraws":[],"own_tags":["own"]}""",
            ],
            ignoreOrder: true);
        documents.ShouldAllBe(d => d.Name.StartsWith(d.Json.Contains("hold", StringComparison.Ordinal) ? $"a/{id}/" : $"f/{id}/", StringComparison.Ordinal));
    }

    private static async Task<IReadOnlyList<SessionId>> RootsAsync(SnapshotScene scene)
    {
        List<SessionId> roots = [];
        await foreach (SnapshotObject root in SnapshotObjects.ReadRootsAsync(scene.Repository, CancellationToken.None))
        {
            roots.Add(root.Session);
        }

        return roots;
    }

    private static async Task<byte[]> BytesAsync(SnapshotScene scene, StorageKey key)
    {
        byte[] bytes = new byte[(await scene.Memory.StatAsync(key, CancellationToken.None))!.Value.Size];
        await scene.Memory.ReadAsync(key, 0, bytes, CancellationToken.None);
        return bytes;
    }

    private static async Task ReplaceAsync(SnapshotScene scene, StorageKey key, byte[]? bytes)
    {
        await scene.Memory.DeleteAsync(key, CancellationToken.None);
        if (bytes is not null)
        {
            await scene.Memory.PutAsync(key, StorageContent.FromBytes(bytes), CancellationToken.None);
        }
    }

    private sealed class BeforePut(IStorageBackend inner, Func<StorageKey, Task> act) : DelegatingBackend(inner)
    {
        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            await act(key);
            return await base.PutAsync(key, content, cancellationToken);
        }
    }
}
