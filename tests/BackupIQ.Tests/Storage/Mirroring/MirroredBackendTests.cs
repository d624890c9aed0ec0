using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Mirroring;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;
using static BackupIQ.Tests.Storage.Mirroring.MirrorKit;

namespace BackupIQ.Tests.Storage.Mirroring;

public sealed class MirroredBackendTests
{
    private static readonly TimeProvider Clock = TimeProvider.System;

    private readonly MemoryBackend _storage = new(Clock);
    private readonly MemoryBackend _mirror = new(Clock);
    private readonly List<MirrorNotice> _notices = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AMirrorHasEverythingOnceARootIsAcknowledgedButWhatIsOfOneStorageAlone()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await using MirroredBackend both = await OpenMirroredAsync();
        await PutAsync(both, "l/00000000000000000000000000000001.open", "session");
        await PutAsync(both, "l/00000000000000000000000000000001.beat.1", "beat");
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "sp/1.0", "partial");
        await PutAsync(both, "v/1.0", "ledger");
        await PutAsync(both, "a/1/said", "annotation");
        await PutAsync(both, "i/1", "d/aa/1");

        // Contents at once, the index only with what needs it.
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value, "a/1/said", "d/aa/1"], ignoreOrder: true);
        (await PutAsync(both, "s/1", "i/1")).ShouldBe(PutOutcome.Stored);
        (await NamesAsync(_mirror)).ShouldBe(
            [Identity.Value, "a/1/said", "d/aa/1", "i/1", "l/00000000000000000000000000000001.open", "s/1"], ignoreOrder: true);
        _notices.ShouldBeEmpty();
    }

    [Fact]
    public async Task TheStorageAloneDecidesWhoIsFirst()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_storage, "s/1", "somebody's");
        await using MirroredBackend both = await OpenMirroredAsync();
        (await PutAsync(both, "s/1", "mine")).ShouldBe(PutOutcome.AlreadyThere);
        (await NamesAsync(_mirror, "s/")).ShouldBeEmpty();
        (await PutAsync(both, "a/1/x", "said")).ShouldBe(PutOutcome.Stored);
        (await PutAsync(both, "a/1/x", "said otherwise")).ShouldBe(PutOutcome.AlreadyThere);
        (await TextAsync(_mirror, "a/1/x")).ShouldBe("said");
    }

    [Fact]
    public async Task WhatOthersStoredWithoutTheMirrorComesBeforeARootThatNeedsIt()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_storage, "d/aa/others", "content");
        await PutAsync(_storage, "i/others", "d/aa/others");
        RecordingBackend recording = new(_mirror);
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add), Source(recording));
        await PutAsync(both, "s/1", "i/others");
        recording.Calls.Where(static call => call.Operation == StorageOperation.Put).Select(static call => call.Key).ShouldBe(["d/aa/others", "i/others", "s/1"]);
    }

    [Fact]
    public async Task AMirrorThatFailsIsToldOnceAndTheNextRootBringsItInStep()
    {
        await IdentifyAsync("one", _storage, _mirror);
        FaultyBackend faulty = new(_mirror, Clock, new Fault(StorageOperation.Put, "", FaultKind.FailBefore));
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add), Source(faulty));
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "d/aa/2", "content");
        await PutAsync(both, "i/1", "d/aa/1 d/aa/2");
        (await PutAsync(both, "s/1", "i/1")).ShouldBe(PutOutcome.Stored);
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value]);
        MirrorNotice told = _notices.ShouldHaveSingleItem();
        told.IsBehind.ShouldBe(true);
        told.Message.ShouldContain("'backupiq storage sync'");

        faulty.Heal();
        (await PutAsync(both, "s/2", "i/1")).ShouldBe(PutOutcome.Stored);
        (await NamesAsync(_mirror)).ShouldBe(await NamesAsync(_storage), ignoreOrder: true);
        _notices[^1].IsBehind.ShouldBe(false);
        _notices.Count.ShouldBe(2);
    }

    [Fact]
    public async Task AMirrorThatCannotBeReachedKeepsNothingFromBeingStored()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add), Unreachable("first"), Source(_mirror, "second"));
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "i/1", "d/aa/1");
        await PutAsync(both, "s/1", "i/1");
        (await NamesAsync(_mirror)).ShouldBe(await NamesAsync(_storage), ignoreOrder: true);
        _notices.ShouldHaveSingleItem().Mirror.ShouldBe("first");
    }

    [Fact]
    public async Task WhoOnlyReadsAStorageThatAnswersConnectsToNoMirror()
    {
        await IdentifyAsync("one", _storage);
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add), new MirrorSource("mirror", static _ => throw new InvalidOperationException("It was connected to.")));
        (await TextAsync(both, Identity.Value)).ShouldBe("one");
        await NamesAsync(both);
        await both.StatAsync(Identity, Token);
        await PutAsync(both, "l/00000000000000000000000000000001.open", "a reader's session");
        await both.DeleteAsync(new StorageKey("l/00000000000000000000000000000001.beat.1"), Token);
    }

    [Fact]
    public async Task AMirrorOfAnotherRepositoryIsRefusedBeforeAnythingIsPutThere()
    {
        await IdentifyAsync("one", _storage);
        await IdentifyAsync("other", _mirror);
        await using MirroredBackend both = await OpenMirroredAsync();
        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => PutAsync(both, "d/aa/1", "content"));
        refused.Code.ShouldBe(ErrorCodes.Configuration);
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value]);
    }

    [Fact]
    public async Task AnEmptyMirrorIsNotFilledUnasked()
    {
        await IdentifyAsync("one", _storage);
        await using MirroredBackend both = await OpenMirroredAsync();
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "s/1", "i/0");
        (await NamesAsync(_mirror)).ShouldBeEmpty();
        _notices.ShouldHaveSingleItem().Message.ShouldContain("holds no repository yet");
    }

    [Fact]
    public async Task ReadsGoToAMirrorWhereTheStorageFailsOrLacksContents()
    {
        await IdentifyAsync("one", _storage, _mirror);
        FaultyBackend faulty = new(_storage, Clock);
        await using MirroredBackend both = await OpenAsync(faulty, Options(_notices.Add), Source(_mirror));
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "a/1/x", "said");
        foreach (ErrorCode code in (ErrorCode[])[ErrorCodes.StorageConnection, ErrorCodes.StorageTimeout, ErrorCodes.CircuitBreakerOpen, ErrorCodes.Storage])
        {
            faulty.Heal();
            faulty.Add(new Fault(StorageOperation.Read, "", FaultKind.FailBefore) { Code = code });
            (await TextAsync(both, "d/aa/1")).ShouldBe("content");
            (await TextAsync(both, "a/1/x")).ShouldBe("said");
        }

        _notices.ShouldHaveSingleItem().IsBehind.ShouldBeNull();

        // What the mirror does not have either fails as the storage failed, and is never "not there".
        (await Should.ThrowAsync<StorageException>(() => TextAsync(both, "a/1/unknown"))).Code.ShouldBe(ErrorCodes.Storage);

        faulty.Heal();
        await _storage.DeleteAsync(new StorageKey("d/aa/1"), Token);
        await _storage.DeleteAsync(new StorageKey("a/1/x"), Token);
        (await TextAsync(both, "d/aa/1")).ShouldBe("content");
        (await Should.ThrowAsync<StorageException>(() => TextAsync(both, "a/1/x"))).Code.ShouldBe(ErrorCodes.StorageObjectNotFound);
        _notices.Count.ShouldBe(2);
    }

    [Fact]
    public async Task WrongCredentialsAreToldAndNotCoveredUp()
    {
        await IdentifyAsync("one", _storage, _mirror);
        FaultyBackend faulty = new(_storage, Clock, new Fault(StorageOperation.Read, "", FaultKind.FailBefore) { Code = ErrorCodes.StorageAuthentication });
        await using MirroredBackend both = await OpenAsync(faulty, Options(_notices.Add), Source(_mirror));
        (await Should.ThrowAsync<StorageException>(() => TextAsync(both, Identity.Value))).Code.ShouldBe(ErrorCodes.StorageAuthentication);
    }

    [Fact]
    public async Task WhatLiesInAnArchiveIsReadyWhereAMirrorHasItAtHand()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_storage, "d/aa/1", "content");
        await PutAsync(_storage, "d/aa/2", "content");
        await PutAsync(_mirror, "d/aa/1", "content");
        await using MirroredBackend both = await OpenAsync(new ArchivedBackend(_storage), Options(_notices.Add), Unreachable("first"), Source(_mirror, "second"));
        (await both.GetReadinessAsync(new StorageKey("d/aa/1"), Token)).ShouldBe(StorageReadiness.Ready);
        (await both.GetReadinessAsync(new StorageKey("d/aa/2"), Token)).ShouldBe(StorageReadiness.Archived);
        (await TextAsync(both, "d/aa/1")).ShouldBe("content");
        (await Should.ThrowAsync<StorageException>(() => TextAsync(both, "d/aa/2"))).Code.ShouldBe(ErrorCodes.StorageArchived);
    }

    [Theory]
    [InlineData(StorageOperation.List)]
    [InlineData(StorageOperation.Stat)]
    public async Task WhereTheStorageCannotTellWhatIsThereAMirrorTakesItsPlaceAndNothingIsWritten(StorageOperation operation)
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_mirror, "s/1", "root");
        FaultyBackend faulty = new(_storage, Clock, new Fault(operation, "", FaultKind.FailBefore) { Times = 1 });
        RecordingBackend recording = new(faulty);
        await using MirroredBackend both = await OpenAsync(recording, Options(_notices.Add), Source(_mirror));
        if (operation == StorageOperation.List)
        {
            (await NamesAsync(both, "s/")).ShouldBe(["s/1"]);
        }
        else
        {
            (await both.StatAsync(new StorageKey("s/1"), Token)).ShouldNotBeNull();
        }

        both.AnsweredBy.ShouldBe("mirror");
        recording.Clear();
        (await TextAsync(both, "s/1")).ShouldBe("root");
        (await NamesAsync(both, "s/")).ShouldBe(["s/1"]);
        (await Should.ThrowAsync<StorageException>(() => PutAsync(both, "l/x", "session"))).Code.ShouldBe(ErrorCodes.StorageConnection);
        await Should.ThrowAsync<StorageException>(async () => await both.DeleteAsync(new StorageKey("s/1"), Token));
        recording.Calls.ShouldBeEmpty();
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value, "s/1"], ignoreOrder: true);
        _notices.ShouldHaveSingleItem().Message.ShouldContain("nothing is written");
    }

    [Fact]
    public async Task AStorageThatCannotBeConnectedToIsReadFromItsMirrorOrFailsAsItFailed()
    {
        StorageException away = new(ErrorCodes.StorageConnection, "The disk is not mounted.");
        await IdentifyAsync("one", _mirror);
        MirrorSource[] mirrors = [Unreachable("first"), Source(_mirror, "second")];
        await using MirroredBackend read = await MirroredBackend.OpenAsync(null, away, mirrors, Options(_notices.Add), Clock, Token);
        (await TextAsync(read, Identity.Value)).ShouldBe("one");
        read.Capabilities.CanDelete.ShouldBeFalse();
        string file = Path.GetTempFileName();
        await Should.ThrowAsync<StorageException>(async () => await read.PutAsync(new StorageKey("d/aa/1"), StorageContent.FromFile(file), Token));
        File.Exists(file).ShouldBeFalse();

        (await Should.ThrowAsync<StorageException>(() => MirroredBackend.OpenAsync(null, away, [Unreachable()], Options(), Clock, Token))).ShouldBeSameAs(away);
        (await Should.ThrowAsync<StorageException>(() => MirroredBackend.OpenAsync(null, away, [Source(new MemoryBackend(Clock))], Options(), Clock, Token))).ShouldBeSameAs(away);
    }

    [Fact]
    public async Task AnOpenBreakerIsNotWaitedForWhereAMirrorCanBeRead()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_storage, "d/aa/1", "content");
        await PutAsync(_mirror, "d/aa/1", "content");
        FaultyBackend faulty = new(_storage, Clock, new Fault(StorageOperation.Read, "", FaultKind.FailBefore));
        RecordingBackend recording = new(faulty);
        ResilienceOptions options = new() { IsReadElsewhere = true, Random = static () => 0, Retry = RetryProfile.Standard };
        using StorageRegistry registry = new(Clock);
        IStorageBackend stack = StorageStack.Wrap(new RemoteBackend(recording), "memory", options, registry, Clock);
        await using MirroredBackend both = await OpenAsync(stack, Options(_notices.Add), Source(_mirror));
        for (int i = 0; i < 20; i++)
        {
            (await TextAsync(both, "d/aa/1")).ShouldBe("content");
        }

        registry.Breakers.ShouldHaveSingleItem().State.ShouldBe(BreakerState.Open);
        recording.Count(StorageOperation.Read).ShouldBe(options.FailuresToOpen);
        _notices.ShouldHaveSingleItem().Message.ShouldContain("is read in its place");
    }

    [Fact]
    public async Task AListingThatBreaksInTheMiddleIsAFailure()
    {
        await IdentifyAsync("one", _storage, _mirror);
        FaultyBackend faulty = new(_storage, Clock, new Fault(StorageOperation.List, "", FaultKind.FailAfter));
        await using MirroredBackend both = await OpenAsync(faulty, Options(), Source(_mirror));
        await Should.ThrowAsync<StorageException>(() => NamesAsync(both));
        both.AnsweredBy.ShouldBeNull();
    }

    [Fact]
    public async Task ADeletionComesToMirrorsFirstAndOnlyOnceTheyAreInStep()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_storage, "d/aa/old", "content");
        await PutAsync(_mirror, "d/aa/old", "content");
        await using MirroredBackend both = await OpenMirroredAsync();

        // What the old content's chunks moved to was stored by somebody who knows nothing of the mirror.
        await PutAsync(_storage, "d/aa/new", "content");
        await PutAsync(_storage, "i/new", "d/aa/new");
        await both.DeleteAllAsync([new StorageKey("d/aa/old")], Token);
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value, "d/aa/new", "i/new"], ignoreOrder: true);
        (await NamesAsync(_storage)).ShouldBe([Identity.Value, "d/aa/new", "i/new"], ignoreOrder: true);

        await PutAsync(_storage, "i/later", "d/aa/new");
        await both.DeleteAsync(new StorageKey("i/new"), Token);
        (await NamesAsync(_mirror)).ShouldBe([Identity.Value, "d/aa/new", "i/later"], ignoreOrder: true);
        _notices.ShouldBeEmpty();
    }

    [Fact]
    public async Task ARootThatWasRemovedWhileTheMirrorWasAwayKeepsItBehindUntilSomebodyDecides()
    {
        await IdentifyAsync("one", _storage, _mirror);
        foreach (MemoryBackend storage in (MemoryBackend[])[_storage, _mirror])
        {
            await PutAsync(storage, "d/aa/1", "content");
            await PutAsync(storage, "i/1", "d/aa/1");
            await PutAsync(storage, "s/1", "i/1");
        }

        foreach (string gone in (string[])["s/1", "i/1", "d/aa/1"])
        {
            await _storage.DeleteAsync(new StorageKey(gone), Token);
        }

        await using MirroredBackend both = await OpenMirroredAsync();
        await PutAsync(both, "d/aa/2", "content");
        await PutAsync(both, "i/2", "d/aa/2");
        await PutAsync(both, "s/2", "i/2");
        (await NamesAsync(_mirror, "s/")).ShouldBe(["s/1"]);
        (await LackingAsync(_mirror)).ShouldBeNull();
        _notices.ShouldHaveSingleItem().Message.ShouldContain("it has 1 snapshots that");
        (await NamesAsync(_storage, "s/")).ShouldBe(["s/2"]);
    }

    [Fact]
    public async Task PartsOfAnIndexThatTheStorageHasNoMoreGoByThemselvesUnlessOneMayOnlyAdd()
    {
        await IdentifyAsync("one", _storage, _mirror);
        await PutAsync(_mirror, "i/old", "d/aa/gone");
        bool mayRemove = false;
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add) with { MayRemove = () => mayRemove }, Source(_mirror));
        await PutAsync(both, "d/aa/1", "content");
        await PutAsync(both, "i/1", "d/aa/1");
        await PutAsync(both, "s/1", "i/1");
        (await NamesAsync(_mirror, "i/")).ShouldBe(["i/1", "i/old"], ignoreOrder: true);
        _notices.ShouldHaveSingleItem().Message.ShouldContain("who may only add");
        mayRemove = true;
        await PutAsync(both, "s/2", "i/1");
        (await NamesAsync(_mirror)).ShouldBe(await NamesAsync(_storage), ignoreOrder: true);
    }

    [Fact]
    public async Task ARootStandsWhenItsMirroringIsCancelled()
    {
        await IdentifyAsync("one", _storage, _mirror);
        using CancellationTokenSource stop = new();
        await using MirroredBackend both = await OpenAsync(_storage, Options(_notices.Add), Source(new CancellingBackend(_mirror, stop)));
        await PutAsync(both, "d/aa/1", "content", stop.Token);
        await PutAsync(both, "i/1", "d/aa/1", stop.Token);
        (await PutAsync(both, "s/1", "i/1", stop.Token)).ShouldBe(PutOutcome.Stored);
        (await NamesAsync(_mirror, "s/")).ShouldBeEmpty();
        _notices.ShouldHaveSingleItem().Message.ShouldContain("interrupted");
    }

    [Fact]
    public async Task ANewRepositoryWantsEmptyMirrors()
    {
        await using (MirroredBackend both = await OpenAsync(_storage, Options(isNew: true), Source(_mirror)))
        {
            await PutAsync(both, "keys/1", "slot");
            await PutAsync(both, Identity.Value, "one");
        }

        (await NamesAsync(_mirror)).ShouldBe([Identity.Value, "keys/1"], ignoreOrder: true);
        (await Should.ThrowAsync<BackupIQException>(() => OpenAsync(new MemoryBackend(Clock), Options(isNew: true), Source(_mirror)))).Code.ShouldBe(ErrorCodes.RepositoryExists);
    }

    private Task<MirroredBackend> OpenMirroredAsync() => OpenAsync(_storage, Options(_notices.Add), Source(_mirror));

    /// <summary>Not on this machine, so that the whole stack stands before it.</summary>
    private sealed class RemoteBackend(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override StorageCapabilities Capabilities => base.Capabilities with { IsLocal = false };
    }

    /// <summary>Its contents lie in an archive.</summary>
    private sealed class ArchivedBackend(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
            IsArchived(key) ? throw new StorageException(ErrorCodes.StorageArchived, "It lies in an archive.") : base.ReadAsync(key, offset, destination, cancellationToken);

        public override ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) =>
            ValueTask.FromResult(IsArchived(key) ? StorageReadiness.Archived : StorageReadiness.Ready);

        private static bool IsArchived(StorageKey key) => key.Value.StartsWith("d/", StringComparison.Ordinal);
    }

    /// <summary>Somebody presses Ctrl-C when the mirror is listed as a whole.</summary>
    private sealed class CancellingBackend(IStorageBackend inner, CancellationTokenSource stop) : DelegatingBackend(inner)
    {
        public override IAsyncEnumerable<StoredObject> ListAsync(string prefix, CancellationToken cancellationToken)
        {
            if (prefix.Length == 0)
            {
                stop.Cancel();
            }

            return base.ListAsync(prefix, cancellationToken);
        }
    }
}
