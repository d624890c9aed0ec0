using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Sources.Files;
using BackupIQ.Storage;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Verification;

/// <summary>The ledger of verifications: what it spares, and that it proves nothing.</summary>
public sealed class LedgerTests : IAsyncLifetime
{
    private const int Backups = 6;

    private static readonly DateTimeOffset s_start = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly ScratchFolder _scratch = new();
    private readonly ManualTime _time = new(s_start);
    private readonly MemoryBackend _memory;
    private readonly WatchedBackend _watched;
    private readonly AppendOnlyBackend _storage;
    private BackupRepository _repository = null!;

    public LedgerTests()
    {
        _memory = new MemoryBackend(_time);
        _watched = new WatchedBackend(_memory);
        _storage = new AppendOnlyBackend(_watched, RepositoryLayout.MaintainerPrefixes);
    }

    public async ValueTask InitializeAsync()
    {
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        _repository = (await BackupRepository.CreateAsync(_storage, options, _time, CancellationToken.None)).Repository;
        string source = Directory.CreateDirectory(_scratch.At("source")).FullName;
        Random random = new(1);
        for (int i = 0; i < Backups; i++)
        {
            byte[] bytes = new byte[400_000];
            random.NextBytes(bytes);
            await File.WriteAllBytesAsync(Path.Combine(source, $"file {i}"), bytes);
            using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
            await new BackupRunner(_repository, _time, null).RunAsync(files, new BackupOptions { Hostname = "here" }, new BackupProgress(), CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _repository.DisposeAsync();
        await _storage.DisposeAsync();
        _scratch.Dispose();
    }

    [Fact]
    public async Task OnlyWhatIsOlderIsReadAgain()
    {
        CheckResult first = await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All });
        long packs = first.Verification.Packs;
        packs.ShouldBeGreaterThanOrEqualTo(2 * Backups);
        first.Verification.PacksVerified.ShouldBe(packs);
        first.Verification.NeverVerified.ShouldBe(0);

        _time.Now = s_start.AddDays(29);
        CheckResult early = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });
        early.Verification.PacksFresh.ShouldBe(packs);
        early.Verification.PacksVerified.ShouldBe(0);
        early.Verification.Oldest.ShouldBe(s_start);
        _watched.DataBytes.ShouldBeLessThan(Backups * 200_000, "heads and contents tables are looked at all the same");

        _time.Now = s_start.AddDays(31);
        CheckResult late = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });
        late.Verification.PacksFresh.ShouldBe(0);
        late.Verification.PacksVerified.ShouldBe(packs);
        late.Verification.Oldest.ShouldBe(_time.Now);
        _watched.DataBytes.ShouldBeGreaterThan(Backups * 400_000);
    }

    [Fact]
    public async Task ATimeBudgetIsKeptAndTheNextCheckGoesOnWithTheOldest()
    {
        // Each read of a pack takes a minute.
        _watched.OnPackRead = _ => _time.Now += TimeSpan.FromMinutes(1);
        List<long> due = [];
        for (int i = 0; i < 20 && (due.Count == 0 || due[^1] > 0); i++)
        {
            CheckResult result = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30), Budget = TimeSpan.FromMinutes(4), Concurrency = 1 });
            result.NumErrors.ShouldBe(0);
            result.Verification.PacksVerified.ShouldBeGreaterThan(0);
            due.Add(result.Verification.PacksDue);
        }

        due.Count.ShouldBeGreaterThan(2);
        due.ShouldBe(due.OrderDescending());
        due[^1].ShouldBe(0);
        (await StateAsync()).NeverVerified.ShouldBe(0);
    }

    [Fact]
    public async Task SharesAreTakenFromWhatWasNotVerifiedTheLongest()
    {
        for (int i = 0; i < 4; i++)
        {
            _time.Now = s_start.AddDays(i);
            await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.Parse("25%") });
        }

        VerificationState state = await StateAsync();
        state.NeverVerified.ShouldBe(0);
        state.Oldest.ShouldBe(s_start);

        // The fifth time it is the turn of the first quarter.
        _time.Now = s_start.AddDays(4);
        await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.Parse("25%") });
        (await StateAsync()).Oldest.ShouldBe(s_start.AddDays(1));
    }

    [Fact]
    public async Task AnInterruptedCheckIsGoneOnWith()
    {
        using CancellationTokenSource stop = new();
        int packsRead = 0;
        _watched.OnPackRead = size =>
        {
            if (size > 300_000 && ++packsRead == 4)
            {
                stop.Cancel();
            }
        };
        await Should.ThrowAsync<OperationCanceledException>(() => CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All, Concurrency = 1 }, stop.Token));
        _watched.OnPackRead = static _ => { };
        VerificationState state = await StateAsync();
        state.Interrupted.ShouldBe(s_start);
        long left = state.NeverVerified;
        left.ShouldBeInRange(1, state.Packs - 1);

        _time.Now = s_start.AddHours(1);
        CheckResult rest = await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All, Resume = true });
        rest.Verification.PacksVerified.ShouldBe(left);
        rest.Verification.PacksFresh.ShouldBe(state.Packs - left);
        rest.Verification.NeverVerified.ShouldBe(0);
        (await StateAsync()).Interrupted.ShouldBeNull();

        // Nothing to go on with: everything is read.
        (await CheckAsync(new CheckOptions { Resume = true })).Verification.PacksVerified.ShouldBe(state.Packs);
    }

    [Fact]
    public async Task WhatWasFoundDamagedCountsNoMoreAsVerified()
    {
        await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All });
        StorageKey pack = await LargestPackAsync();
        byte[] bytes = await BytesAsync(pack);
        byte[] damaged = [.. bytes];
        damaged[bytes.Length / 2] ^= 1;
        await ReplaceAsync(pack, damaged);
        _time.Now = s_start.AddDays(2);
        (await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All })).NumErrors.ShouldBe(1);

        _time.Now = s_start.AddDays(3);
        CheckResult again = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });
        again.Verification.PacksVerified.ShouldBe(0);
        again.Verification.NeverVerified.ShouldBe(1);
        again.NumErrors.ShouldBe(1);

        // Put right, it is read by the next check, although one had verified it long before.
        await ReplaceAsync(pack, bytes);
        _time.Now = s_start.AddDays(4);
        CheckResult mended = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });
        mended.Verification.PacksVerified.ShouldBe(1);
        mended.Verification.NeverVerified.ShouldBe(0);
    }

    [Fact]
    public async Task ADamagedLedgerIsToldAndCostsTimeAndNothingElse()
    {
        long packs = (await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All })).Verification.Packs;
        foreach (StorageKey key in await KeysAsync("v/"))
        {
            await ReplaceAsync(key, "garbage"u8.ToArray());
        }

        CheckResult result = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });

        result.NumErrors.ShouldBe(0);
        result.Findings.ShouldHaveSingleItem().Damage.ObjectName.ShouldStartWith("v/");
        result.Verification.PacksVerified.ShouldBe(packs);
    }

    [Fact]
    public async Task ALostLedgerCostsTimeAndNothingElse()
    {
        long packs = (await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All })).Verification.Packs;
        foreach (StorageKey key in await KeysAsync("v/"))
        {
            await ReplaceAsync(key, null);
        }

        CheckResult result = await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) });

        result.Findings.ShouldBeEmpty();
        result.Verification.PacksVerified.ShouldBe(packs);
    }

    [Fact]
    public async Task AnEntryCountsForTheExactPackOnlyAndNotFromTheFuture()
    {
        PackId known = (await PackListing.ReadAsync(_repository, CancellationToken.None)).First();
        PackId other = new(known.High, known.Low ^ 1);
        await PutAsync(new LedgerSegment(0, false, true,
        [
            new LedgerEntry(other, s_start.ToUnixTimeSeconds(), VerifiedLevel.Chunks),
            new LedgerEntry(known, s_start.AddDays(400).ToUnixTimeSeconds(), VerifiedLevel.Damaged),
        ]));

        VerificationLedger ledger = await VerificationLedger.LoadAsync(_repository, _time, CancellationToken.None);

        ledger.LastVerified(known, VerifiedLevel.Hash).ShouldBeNull();
        ledger.LastVerified(other, VerifiedLevel.Hash).ShouldBe(s_start);
        (await CheckAsync(new CheckOptions { MaxAge = TimeSpan.FromDays(30) })).Verification.PacksFresh.ShouldBe(0);
    }

    [Fact]
    public async Task WhatTheStorageSaysOfAnEntrysTimeCountsWhereItIsEarlier()
    {
        PackId pack = (await PackListing.ReadAsync(_repository, CancellationToken.None)).First();
        await PutAsync(new LedgerSegment(0, false, true, [new LedgerEntry(pack, s_start.AddDays(40).ToUnixTimeSeconds(), VerifiedLevel.Chunks)]));
        _time.Now = s_start.AddDays(50);

        VerificationLedger ledger = await VerificationLedger.LoadAsync(_repository, _time, CancellationToken.None);

        ledger.LastVerified(pack, VerifiedLevel.Chunks).ShouldBe(s_start);
    }

    [Fact]
    public async Task ManyPiecesArePutTogetherAndSayTheSame()
    {
        for (int i = 0; i < 20; i++)
        {
            _time.Now = s_start.AddDays(2 * i);
            await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.Parse("10%") });
        }

        (await KeysAsync("v/")).Count.ShouldBeLessThan(17);
        VerificationState state = await StateAsync();
        state.NeverVerified.ShouldBe(0);
        state.Oldest!.Value.ShouldBeGreaterThan(s_start.AddDays(2 * 8));
    }

    [Fact]
    public async Task WhoMayOnlyAddPutsNoPiecesTogether()
    {
        _storage.Close();
        for (int i = 0; i < 20; i++)
        {
            _time.Now = s_start.AddDays(2 * i);
            (await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.Parse("10%") })).Verification.LedgerProblem.ShouldBeNull();
        }

        (await KeysAsync("v/")).Count.ShouldBeInRange(20, 40);
        (await StateAsync()).NeverVerified.ShouldBe(0);
    }

    [Fact]
    public async Task ALedgerThatCannotBeWrittenStopsNoCheck()
    {
        _watched.RefusesLedger = true;

        CheckResult result = await CheckAsync(new CheckOptions { ReadData = ReadDataSubset.All });

        result.NumErrors.ShouldBe(0);
        result.Verification.LedgerProblem.ShouldNotBeNull();
        (await KeysAsync("v/")).ShouldBeEmpty();
    }

    [Fact]
    public void APieceHasTheBytesOfTheSpecification()
    {
        PackId pack = PackId.Read([.. Enumerable.Range(0, 32).Select(static i => (byte)i)]);
        byte[] bytes = new LedgerSegment(1, ReadsEverything: true, IsOver: true, [new LedgerEntry(pack, 258, VerifiedLevel.Chunks)]).Write();

        Convert.ToHexStringLower(bytes).ShouldBe(
            "42495156" + "01" + "03" + "0000" + "0100000000000000" + "01000000" + "00000000"
            + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + "0201000000000000" + "04" + "00000000000000");
        LedgerSegment read = LedgerSegment.Read(bytes);
        read.Entries.ShouldBe([new LedgerEntry(pack, 258, VerifiedLevel.Chunks)]);
        (read.Began, read.ReadsEverything, read.IsOver).ShouldBe((1, true, true));
    }

    [Fact]
    public void HostileBytesAreRefusedOrRead()
    {
        byte[] bytes = new LedgerSegment(1, true, true, [.. Enumerable.Range(0, 9).Select(static i => new LedgerEntry(default, i, VerifiedLevel.Hash))]).Write();
        Random random = new(5);
        int refused = 0;
        for (int i = 0; i < 20_000; i++)
        {
            byte[] hostile = bytes[..(random.Next(4) == 0 ? random.Next(bytes.Length + 1) : bytes.Length)];
            for (int change = random.Next(6); change > 0 && hostile.Length > 0; change--)
            {
                hostile[random.Next(random.Next(2) == 0 ? Math.Min(hostile.Length, 24) : hostile.Length)] = (byte)random.Next(256);
            }

            try
            {
                LedgerSegment.Read(hostile).Entries.Count.ShouldBeLessThanOrEqualTo(9);
            }
            catch (CorruptDataException)
            {
                refused++;
            }
        }

        refused.ShouldBeGreaterThan(1000);
    }

    private Task<CheckResult> CheckAsync(CheckOptions options, CancellationToken cancellationToken = default)
    {
        _watched.Reset();
        return new CheckRunner(_repository, _time).RunAsync(options, new CheckProgress(), cancellationToken);
    }

    private Task<VerificationState> StateAsync() => VerificationStatus.ReadAsync(_repository, _time, CancellationToken.None);

    private async Task PutAsync(LedgerSegment segment)
    {
        StorageKey key = RepositoryLayout.Ledger(SessionId.New(), 0);
        byte[] bytes = SealedObject.Seal(_repository.Keys, ObjectKind.Ledger, key, segment.Write());
        await _memory.PutAsync(key, StorageContent.FromBytes(bytes), CancellationToken.None);
    }

    private async Task<IReadOnlyList<StorageKey>> KeysAsync(string prefix)
    {
        List<StorageKey> keys = [];
        await foreach (StoredObject stored in _memory.ListAsync(prefix, CancellationToken.None))
        {
            keys.Add(stored.Key);
        }

        return keys;
    }

    private async Task<StorageKey> LargestPackAsync()
    {
        StoredObject largest = default;
        await foreach (StoredObject stored in _memory.ListAsync("d/", CancellationToken.None))
        {
            largest = stored.Size > largest.Size ? stored : largest;
        }

        return largest.Key;
    }

    private async Task<byte[]> BytesAsync(StorageKey key)
    {
        byte[] bytes = new byte[(await _memory.StatAsync(key, CancellationToken.None))!.Value.Size];
        await _memory.ReadAsync(key, 0, bytes, CancellationToken.None);
        return bytes;
    }

    private async Task ReplaceAsync(StorageKey key, byte[]? bytes)
    {
        await _memory.DeleteAsync(key, CancellationToken.None);
        if (bytes is not null)
        {
            await _memory.PutAsync(key, StorageContent.FromBytes(bytes), CancellationToken.None);
        }
    }

    /// <summary>Tells of reads of packs, and refuses the ledger when told to.</summary>
    private sealed class WatchedBackend(IStorageBackend inner) : DelegatingBackend(inner)
    {
        private long _dataBytes;

        public Action<int> OnPackRead { get; set; } = static _ => { };

        public bool RefusesLedger { get; set; }

        public long DataBytes => Interlocked.Read(ref _dataBytes);

        public void Reset() => Interlocked.Exchange(ref _dataBytes, 0);

        public override ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken) =>
            RefusesLedger && key.Value.StartsWith("v/", StringComparison.Ordinal)
                ? throw new StorageException(ErrorCodes.StorageAuthentication, "The storage is read only.")
                : base.PutAsync(key, content, cancellationToken);

        public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
        {
            int read = await base.ReadAsync(key, offset, destination, cancellationToken);
            if (key.Value.StartsWith("d/", StringComparison.Ordinal))
            {
                Interlocked.Add(ref _dataBytes, read);
                OnPackRead(read);
            }

            return read;
        }
    }
}
