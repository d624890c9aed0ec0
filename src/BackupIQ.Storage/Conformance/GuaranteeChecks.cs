using System.Globalization;
using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Conformance;

/// <summary>The guarantees, each tried by itself and with names of its own.</summary>
/// <param name="storage">The folder in which they are tried.</param>
/// <param name="second">The same, over another connection.</param>
/// <param name="options">How they are tried.</param>
/// <param name="time">Measures.</param>
internal sealed class GuaranteeChecks(IStorageBackend storage, IStorageBackend second, ConformanceOptions options, TimeProvider time)
{
    /// <summary>The one without which nothing more is tried: what was put could not be removed.</summary>
    public const string Delete = "delete";

    private const int FewestRaces = 3;
    private const int Piece = 4 << 20;
    private const int PiecesAtOnce = 4;

    private static readonly TimeSpan LongestLag = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan LookAgain = TimeSpan.FromMilliseconds(200);

    /// <summary>Names and checks in the order in which they are to be tried.</summary>
    public IReadOnlyList<(string Name, Func<CancellationToken, Task<Verdict>> Check)> All =>
    [
        (Delete, DeleteAsync),
        ("read after write", ReadAfterWriteAsync),
        ("put if absent", PutIfAbsentAsync),
        ("overwrite", OverwriteAsync),
        ("list after write", ListAfterWriteAsync),
        ("ranges", RangesAsync),
        ("names", NamesAsync),
        ("sizes and times", SizesAndTimesAsync),
        ("clock", ClockAsync),
        ("checksums", ChecksumsAsync),
        ("large object", LargeObjectAsync),
    ];

    /// <summary>Bytes a second of the large object; null before it went through.</summary>
    public double? UploadRate { get; private set; }

    /// <summary>Bytes a second of its way back.</summary>
    public double? DownloadRate { get; private set; }

    /// <summary>How far the storage's clock is ahead.</summary>
    public TimeSpan? ClockSkew { get; private set; }

    private static Verdict Held(string seen) => new(GuaranteeState.Held, seen);

    private static Verdict Broken(string seen, string guidance) => new(GuaranteeState.Broken, seen, guidance);

    private async Task<Verdict> ReadAfterWriteAsync(CancellationToken cancellationToken)
    {
        StorageKey key = new("read/whole");
        byte[] bytes = RandomNumberGenerator.GetBytes(100_000);
        StorageKey empty = new("read/empty");
        await PutAsync(storage, key, bytes, cancellationToken);
        await PutAsync(storage, empty, [], cancellationToken);
        foreach ((IStorageBackend client, string whose) in new[] { (storage, "the connection that put it"), (second, "another connection") })
        {
            byte[]? back = await ReadAsync(client, key, bytes.Length + 1, cancellationToken);
            if (back is null || !back.AsSpan().SequenceEqual(bytes) || await ReadAsync(client, empty, 1, cancellationToken) is not { Length: 0 })
            {
                return Broken(
                    back is null ? $"an object that was put was not there for {whose}" : $"an object came back changed over {whose}",
                    "A repository cannot be kept there: what is stored must be readable at once, as it was.");
            }
        }

        return Held("100 KB and an empty object came back at once, also over a second connection");
    }

    private async Task<Verdict> DeleteAsync(CancellationToken cancellationToken)
    {
        StorageKey key = new("delete/it");
        await PutAsync(storage, key, [1, 2, 3], cancellationToken);
        await storage.DeleteAsync(key, cancellationToken);
        await storage.DeleteAsync(key, cancellationToken);
        await storage.DeleteAsync(new StorageKey("delete/never-there"), cancellationToken);
        if (await storage.StatAsync(key, cancellationToken) is not null || await ReadAsync(storage, key, 3, cancellationToken) is not null)
        {
            return Broken("an object that was deleted is still there", "Storage that keeps what is deleted fills up; look for a rule or a lock that keeps it.");
        }

        if (storage.Capabilities.ListingLag == TimeSpan.Zero && await storage.ListAsync("delete/", cancellationToken).AnyAsync(cancellationToken))
        {
            return Broken("a listing shows an object that was deleted", "Say listing-lag=SECONDS in the URL, where it has that option.");
        }

        await PutAsync(storage, key, [4, 5], cancellationToken);
        return await ReadAsync(storage, key, 3, cancellationToken) is [4, 5]
            ? Held("gone at once; again, and of what was never there, is no failure; the name is free")
            : Broken("a name whose object was deleted cannot be used again", "What is stored under it is not what comes back.");
    }

    private async Task<Verdict> PutIfAbsentAsync(CancellationToken cancellationToken)
    {
        int races = 0;
        int many = 0;
        int lost = 0;
        long began = time.GetTimestamp();
        for (; races < options.Races && (races < FewestRaces || time.GetElapsedTime(began) < options.RaceFor); races++)
        {
            (int winners, bool isWinners) = await RaceAsync(new StorageKey($"race/{races}"), cancellationToken);
            many += winners > 1 ? 1 : 0;
            lost += winners <= 1 && !isWinners ? 1 : 0;
        }

        string tried = string.Create(CultureInfo.InvariantCulture, $"{options.Writers} writers raced for one name, {races} times");
        if (!storage.Capabilities.ConditionalPut)
        {
            string several = many == 0 ? "here one won each time" : string.Create(CultureInfo.InvariantCulture, $"{many} times more than one won");
            return new Verdict(GuaranteeState.NotOffered, $"not offered: the repository uses its protocol without it; {tried}: {several}");
        }

        return many > 0 ? Broken(string.Create(CultureInfo.InvariantCulture, $"{tried}: {many} times more than one was told that it won"), Unsafe)
            : lost > 0 ? Broken(string.Create(CultureInfo.InvariantCulture, $"{tried}: {lost} times the object was not the winner's"), Unsafe)
            : Held($"{tried}: each time one won, and its object is there");
    }

    private const string Unsafe = "A repository is not safe there: two clients may both believe that they were first. Do not use it as it is, and report it.";

    // A writer whose request failed does not know whether it won: then its bytes may be the ones that are there, and nobody else may have won.
    private async Task<(int Winners, bool IsWinners)> RaceAsync(StorageKey key, CancellationToken cancellationToken)
    {
        byte[][] contents = [.. Enumerable.Range(0, options.Writers).Select(static _ => RandomNumberGenerator.GetBytes(1000))];
        PutOutcome?[] outcomes = await Task.WhenAll(contents.Select(bytes => Task.Run(() => CompeteAsync(bytes), cancellationToken)));
        byte[]? there = await ReadAsync(storage, key, 1001, cancellationToken);
        int winners = outcomes.Count(static outcome => outcome == PutOutcome.Stored);
        bool isWinners = there is not null && contents.Where((bytes, i) => there.AsSpan().SequenceEqual(bytes) && outcomes[i] != PutOutcome.AlreadyThere).Any();
        bool isUnknowns = there is not null && contents.Where((bytes, i) => there.AsSpan().SequenceEqual(bytes) && outcomes[i] is null).Any();
        return (winners + (isUnknowns ? 1 : 0), isWinners);

        async Task<PutOutcome?> CompeteAsync(byte[] bytes)
        {
            try
            {
                return await second.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken);
            }
            catch (StorageException e) when (e.IsTransient)
            {
                return null;
            }
        }
    }

    private async Task<Verdict> OverwriteAsync(CancellationToken cancellationToken)
    {
        StorageKey key = new("overwrite/it");
        byte[] bytes = RandomNumberGenerator.GetBytes(50_000);
        await PutAsync(storage, key, bytes, cancellationToken);
        byte[] lastDiffers = [.. bytes];
        lastDiffers[^1] ^= 1;
        foreach (byte[] other in new[] { lastDiffers, bytes[..^1], [.. bytes, 0], [] })
        {
            foreach (IStorageBackend client in new[] { storage, second })
            {
                PutOutcome outcome = await client.PutAsync(key, StorageContent.FromBytes(other), cancellationToken);
                if (outcome != PutOutcome.AlreadyThere || await ReadAsync(storage, key, bytes.Length + 1, cancellationToken) is not { } back || !back.AsSpan().SequenceEqual(bytes))
                {
                    return Broken("an object was replaced by another of the same name", "A repository is not safe there: nothing that is stored may ever change.");
                }
            }
        }

        return await storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken) == PutOutcome.Stored
            ? Held("what is there stays as it is; the very same bytes again are no failure")
            : Broken("the very same bytes, put again, were not taken for what is there", "A request that is made again after a failure would fail.");
    }

    private async Task<Verdict> ListAfterWriteAsync(CancellationToken cancellationToken)
    {
        StorageKey[] keys = [.. Enumerable.Range(0, 5).Select(static i => new StorageKey($"list/{i}/a"))];
        foreach (StorageKey key in keys)
        {
            await PutAsync(storage, key, [1], cancellationToken);
        }

        await PutAsync(storage, new StorageKey("list2/not-below-it"), [1], cancellationToken);
        TimeSpan lag = storage.Capabilities.ListingLag;
        TimeSpan? after = await WaitUntilListedAsync("list/", keys, lag > LongestLag ? lag : LongestLag, cancellationToken);
        string reckoned = string.Create(CultureInfo.InvariantCulture, $"{lag.TotalSeconds:0} s are reckoned with");
        return after is null ? Broken("a listing does not show what was put, or shows what is elsewhere", "A repository cannot be kept there: snapshots and packs are found by listings.")
            : after == TimeSpan.Zero ? Held("a listing shows at once what was put, and nothing else" + (lag == TimeSpan.Zero ? "" : $" ({reckoned})"))
            : after <= lag ? Held(string.Create(CultureInfo.InvariantCulture, $"a listing showed it all after {after.Value.TotalSeconds:0.0} s; {reckoned}"))
            : Broken(
                string.Create(CultureInfo.InvariantCulture, $"a listing showed it all after {after.Value.TotalSeconds:0.0} s only; {reckoned}"),
                "Say listing-lag=SECONDS in the URL, where it has that option, with more than that; else do not use the storage.");
    }

    private async Task<Verdict> RangesAsync(CancellationToken cancellationToken)
    {
        StorageKey key = new("ranges/it");
        byte[] bytes = RandomNumberGenerator.GetBytes(300_000);
        await PutAsync(storage, key, bytes, cancellationToken);
        (string What, long Offset, int Length)[] ranges =
        [
            ("the first bytes", 0, 1000), ("the first byte", 0, 1), ("bytes in the middle", 123_457, 65_537), ("the last bytes", bytes.Length - 999, 999),
            ("a range that goes beyond the end", bytes.Length - 10, 1000), ("a range behind the end", bytes.Length, 10), ("a range far behind the end", 1L << 40, 10),
        ];
        foreach ((string what, long offset, int length) in ranges)
        {
            byte[] back = new byte[length];
            int expected = (int)Math.Clamp(bytes.Length - offset, 0, length);
            int read = await storage.ReadAsync(key, offset, back, cancellationToken);
            if (read != expected || (read > 0 && !back.AsSpan(0, read).SequenceEqual(bytes.AsSpan((int)offset, read))))
            {
                return Broken($"{what} did not come back as they are", "A repository cannot be kept there: files are read in parts of packs.");
            }
        }

        return Held("start, middle, end, across the end and behind it");
    }

    private async Task<Verdict> NamesAsync(CancellationToken cancellationToken)
    {
        foreach (StorageKey name in options.Names)
        {
            await PutAsync(storage, Below(name), System.Text.Encoding.ASCII.GetBytes(name.Value), cancellationToken);
        }

        foreach (StorageKey name in options.Names)
        {
            if (await ReadAsync(storage, Below(name), StorageKey.MaxLength, cancellationToken) is not { } back || !back.AsSpan().SequenceEqual(System.Text.Encoding.ASCII.GetBytes(name.Value)))
            {
                return Broken($"what was put as '{name}' does not come back under that name", "The storage changes names, or takes different ones for the same.");
            }
        }

        TimeSpan lag = storage.Capabilities.ListingLag;
        return await WaitUntilListedAsync("names/", [.. options.Names.Select(Below)], lag > LongestLag ? lag : LongestLag, cancellationToken) is null
            ? Broken("a listing shows other names than were given", "The storage changes names.")
            : Held(string.Create(CultureInfo.InvariantCulture, $"{options.Names.Count} kinds of names that a repository gives are kept as they are"));

        static StorageKey Below(StorageKey name) => new("names/" + name.Value);
    }

    private async Task<Verdict> SizesAndTimesAsync(CancellationToken cancellationToken)
    {
        StorageKey key = new("meta/it");
        await PutAsync(storage, key, new byte[12_345], cancellationToken);
        StoredObject? stat = await storage.StatAsync(key, cancellationToken);
        StoredObject? again = await second.StatAsync(key, cancellationToken);
        if (stat is not { Size: 12_345 } || again != stat)
        {
            return Broken("a look-up tells another size or time than the one before", "Sizes are compared by check, times by retention.");
        }

        if (await storage.StatAsync(new StorageKey("meta/absent"), cancellationToken) is not null || await storage.StatAsync(new StorageKey("meta"), cancellationToken) is not null)
        {
            return Broken("a look-up finds an object that nobody put", "What is absent must be said to be absent.");
        }

        TimeSpan lag = storage.Capabilities.ListingLag;
        _ = await WaitUntilListedAsync("meta/", [key], lag > LongestLag ? lag : LongestLag, cancellationToken);
        StoredObject listed = await storage.ListAsync("meta/", cancellationToken).FirstOrDefaultAsync(cancellationToken);
        return listed == stat ? Held("look-ups and listings tell the same")
            : Broken("a listing tells another size or time than a look-up", "Sizes are compared by check, times by retention.");
    }

    private async Task<Verdict> ClockAsync(CancellationToken cancellationToken)
    {
        if (!storage.Capabilities.HasStoreClock)
        {
            return new Verdict(
                GuaranteeState.NotOffered,
                storage.Capabilities.IsLocal ? "this machine's own" : "not offered: the times of objects are not the storage's; retention goes by the snapshots' own");
        }

        StorageKey key = new("clock/it");
        DateTimeOffset before = time.GetUtcNow();
        await PutAsync(second, key, [1], cancellationToken);
        DateTimeOffset after = time.GetUtcNow();
        if (await second.StatAsync(key, cancellationToken) is not { } stored)
        {
            return Broken("an object that was put was not there", "See above.");
        }

        // Most tell whole seconds, cut or rounded.
        TimeSpan skew = stored.StoredAt > after.AddSeconds(1) ? stored.StoredAt - after : stored.StoredAt < before.AddSeconds(-1) ? stored.StoredAt - before : TimeSpan.Zero;
        ClockSkew = skew;
        string differs = string.Create(
            CultureInfo.InvariantCulture, $"the storage's is {skew.Duration().TotalSeconds:#,0} s {(skew > TimeSpan.Zero ? "ahead of" : "behind")} this machine's");
        return skew == TimeSpan.Zero ? Held("the storage's and this machine's agree to the second")
            : skew.Duration() <= options.ClockTolerance ? Held(differs)
            : Broken(differs, "Correct the one that is wrong: retention and grace periods rely on both.");
    }

    // That they are sent and compared is the backend's own work; what is seen here is that they are not refused, and that nothing came back changed.
    private Task<Verdict> ChecksumsAsync(CancellationToken cancellationToken) => Task.FromResult(
        storage.Capabilities is { Checksum: { } checksum } ? Held($"{checksum}, taken by the storage with each put")
        : storage.Capabilities.IsLocal ? Held("none are needed on the way to a disk of this machine")
        : new Verdict(GuaranteeState.NotOffered, "not offered on the way; contents are verified when they are read"));

    private async Task<Verdict> LargeObjectAsync(CancellationToken cancellationToken)
    {
        if (options.LargeObject <= 0)
        {
            return new Verdict(GuaranteeState.NotTried, "not tried: none was asked for");
        }

        StorageKey key = new("large/it");
        string file = Path.Join(storage.SpoolFolder ?? Path.GetTempPath(), $"{SessionId.New()}.pack");
        try
        {
            List<byte[]> hashes = await WriteAsync(file, cancellationToken);
            long began = time.GetTimestamp();
            if (await storage.PutAsync(key, StorageContent.FromFile(file), cancellationToken) != PutOutcome.Stored)
            {
                return Broken("a name that was free was said to be taken", "Report it.");
            }

            UploadRate = options.LargeObject / Math.Max(1e-6, time.GetElapsedTime(began).TotalSeconds);
            began = time.GetTimestamp();
            bool isSame = true;
            ParallelOptions parallel = new() { MaxDegreeOfParallelism = PiecesAtOnce, CancellationToken = cancellationToken };
            await Parallel.ForAsync(0, hashes.Count, parallel, async (piece, token) =>
            {
                byte[] back = new byte[LengthOf(piece)];
                int read = await storage.ReadAsync(key, (long)piece * Piece, back, token);
                if (read != back.Length || !SHA256.HashData(back).AsSpan().SequenceEqual(hashes[piece]))
                {
                    Volatile.Write(ref isSame, false);
                }
            });
            DownloadRate = options.LargeObject / Math.Max(1e-6, time.GetElapsedTime(began).TotalSeconds);
            return isSame ? Held(string.Create(CultureInfo.InvariantCulture, $"{options.LargeObject >> 20} MiB, in parts where the storage wants that, came back as they were"))
                : Broken("a large object did not come back as it was", "A repository cannot be kept there: packs are that large.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StorageException(ErrorCodes.Storage, "The large object could not be prepared on this machine", $"There must be space for it in {Path.GetDirectoryName(file)}.", e);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private int LengthOf(int piece) => (int)Math.Min(Piece, options.LargeObject - ((long)piece * Piece));

    // Random, so that nothing on the way makes it smaller; known by the hashes of its pieces, so that it need not be kept.
    private async Task<List<byte[]>> WriteAsync(string path, CancellationToken cancellationToken)
    {
        List<byte[]> hashes = [];
        await using FileStream file = new(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] buffer = new byte[Piece];
        for (int piece = 0; (long)piece * Piece < options.LargeObject; piece++)
        {
            Memory<byte> bytes = buffer.AsMemory(0, LengthOf(piece));
            RandomNumberGenerator.Fill(bytes.Span);
            hashes.Add(SHA256.HashData(bytes.Span));
            await file.WriteAsync(bytes, cancellationToken);
        }

        return hashes;
    }

    /// <summary>How long it took until a listing showed just these; null: it did not, in time.</summary>
    private async Task<TimeSpan?> WaitUntilListedAsync(string prefix, IReadOnlyList<StorageKey> keys, TimeSpan longest, CancellationToken cancellationToken)
    {
        HashSet<string> expected = [.. keys.Select(static key => key.Value)];
        long began = time.GetTimestamp();
        for (bool isFirst = true; ; isFirst = false)
        {
            HashSet<string> seen = [];
            await foreach (StoredObject item in storage.ListAsync(prefix, cancellationToken))
            {
                seen.Add(item.Key.Value);
            }

            if (seen.SetEquals(expected))
            {
                return isFirst ? TimeSpan.Zero : time.GetElapsedTime(began);
            }

            // What nobody put does not go away by waiting.
            if (time.GetElapsedTime(began) > longest || !seen.IsSubsetOf(expected))
            {
                return null;
            }

            await Task.Delay(LookAgain, time, cancellationToken);
        }
    }

    private static async Task PutAsync(IStorageBackend client, StorageKey key, byte[] bytes, CancellationToken cancellationToken)
    {
        if (await client.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken) != PutOutcome.Stored)
        {
            throw new StorageException(ErrorCodes.Storage, "A name that was free was said to be taken", "The storage says that something is there that nobody put.");
        }
    }

    /// <summary>Up to so many bytes of an object from its beginning; null when it is not there.</summary>
    private static async Task<byte[]?> ReadAsync(IStorageBackend client, StorageKey key, int most, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[most];
        try
        {
            return bytes[..await client.ReadAsync(key, 0, bytes, cancellationToken)];
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            return null;
        }
    }
}
