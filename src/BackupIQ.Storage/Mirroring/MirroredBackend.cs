using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Mirroring;

/// <summary>
/// A storage with mirrors: others that hold the same objects, each of which can be opened by itself.
/// </summary>
/// <remarks>
/// <list type="bullet">
/// <item><b>The storage decides.</b> Put-if-absent, listings and what is there are its word alone, and nothing is acknowledged that it does not have.</item>
/// <item><b>A mirror is in step or behind.</b> Contents go to all as they are put. An index segment, and what vouches for it, waits until a root is put: then each mirror is compared with
/// the storage and gets what it lacks, contents first, roots last (<see cref="MirrorPipeline"/>), before the put returns. So a mirror never has a root whose contents it
/// lacks, whoever stored them. What goes wrong on a mirror is told and leaves it behind: the next root that is put, or a comparison by hand, brings it in step.</item>
/// <item><b>Deleting</b> comes to mirrors first, so that one that is cut off between the two has too little, which the next comparison gives it, and not too much. Before
/// anything is deleted that others may rely on, the mirror is in step with the storage. A mirror that is behind keeps what it has.</item>
/// <item><b>Reading</b> goes to a mirror where the storage is away, refuses to be asked, cannot read an object, or lacks contents; and where what it gave turns out not to be what was put, by who
/// can tell (<see cref="CopiesAsync"/>). Where it cannot list or tell what is there, a mirror takes its place for good: it answers everything, and nothing is written any more, since what is put must be seen in what is listed.</item>
/// </list>
/// </remarks>
public sealed class MirroredBackend : IStorageBackend
{
    private readonly IStorageBackend? _storage;
    private readonly IReadOnlyList<Mirror> _mirrors;
    private readonly MirrorOptions _options;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _identifying = new(1);
    private readonly SemaphoreSlim _standing = new(1);
    private readonly HashSet<(string Mirror, string Kind)> _told = [];
    private volatile IStorageBackend? _stand;
    private string? _identity;
    private bool _isIdentified;

    private MirroredBackend(IStorageBackend? storage, IReadOnlyList<MirrorSource> mirrors, MirrorOptions options, TimeProvider time)
    {
        _storage = storage;
        _mirrors = [.. mirrors.Select(static source => new Mirror(source))];
        _options = options;
        _time = time;
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities => _storage?.Capabilities ?? _stand!.Capabilities with { CanDelete = false };

    /// <inheritdoc/>
    public string Location => (_storage ?? _stand!).Location;

    /// <inheritdoc/>
    public string? SpoolFolder => (_storage ?? _stand!).SpoolFolder;

    /// <summary>The storage that takes the storage's place; null: it answers itself.</summary>
    public string? AnsweredBy => _stand is null ? null : Name(_stand);

    /// <summary>Puts mirrors beside a storage.</summary>
    /// <param name="storage">The storage; owned from now on. Null: it cannot be reached, and a mirror takes its place.</param>
    /// <param name="away">Why it cannot be reached.</param>
    /// <param name="mirrors">The mirrors.</param>
    /// <param name="options">How.</param>
    /// <param name="time">This machine's clock.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException"><paramref name="away"/>, where no mirror can take the storage's place; or a mirror cannot be one.</exception>
    public static async Task<MirroredBackend> OpenAsync(
        IStorageBackend? storage, BackupIQException? away, IReadOnlyList<MirrorSource> mirrors, MirrorOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        MirroredBackend opened = new(storage, mirrors, options, time);
        try
        {
            if (storage is null && await opened.StandElsewhereAsync(away!, cancellationToken).ConfigureAwait(false) is null)
            {
                ExceptionDispatchInfo.Throw(away!);
            }

            foreach (Mirror mirror in options.IsNew ? opened._mirrors : [])
            {
                if (await mirror.ConnectAsync(options, cancellationToken).ConfigureAwait(false) is null)
                {
                    throw new StorageException(ErrorCodes.StorageConnection, $"The mirror {mirror.Name} cannot be made: {mirror.Problem}");
                }
            }

            return opened;
        }
        catch
        {
            await opened.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        IStorageBackend storage = Writable(content);
        MirrorRank rank = _options.Layout.RankOf(key);
        if (rank == MirrorRank.Content)
        {
            bool isGiven = false;
            try
            {
                await EachAsync(key, async mirror => await mirror.Storage!.PutAsync(key, content.Lend(), cancellationToken).ConfigureAwait(false), cancellationToken).ConfigureAwait(false);
                isGiven = true;
                return await storage.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                if (!isGiven)
                {
                    content.Discard();
                }
            }
        }

        PutOutcome outcome = await storage.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
        if (outcome == PutOutcome.Stored && rank is not (MirrorRank.Own or MirrorRank.Announcement))
        {
            await FollowPutAsync(key, rank, content, cancellationToken).ConfigureAwait(false);
        }

        return outcome;
    }

    /// <inheritdoc/>
    public async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (_stand is { } stand)
        {
            return await stand.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
        }

        try
        {
            return await _storage!.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (IsAway(e) || (e.Code == ErrorCodes.StorageObjectNotFound && _options.Layout.RankOf(key) == MirrorRank.Content))
        {
            return await ReadElsewhereAsync(key, offset, destination, e, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        if (_stand is null)
        {
            try
            {
                return await _storage!.StatAsync(key, cancellationToken).ConfigureAwait(false);
            }
            catch (StorageException e) when (IsAway(e))
            {
                await RequireStandAsync(e, cancellationToken).ConfigureAwait(false);
            }
        }

        return await _stand!.StatAsync(key, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        if (_stand is null)
        {
            IAsyncEnumerator<StoredObject> objects = _storage!.ListAsync(prefix, cancellationToken).GetAsyncEnumerator(cancellationToken);
            await using (objects.ConfigureAwait(false))
            {
                // One that broke in the middle is a failure: half of it and half of another would be no listing of anything.
                if (await BeginAsync(objects, cancellationToken).ConfigureAwait(false) is { } any)
                {
                    for (bool isMore = any; isMore; isMore = await objects.MoveNextAsync().ConfigureAwait(false))
                    {
                        yield return objects.Current;
                    }

                    yield break;
                }
            }
        }

        await foreach (StoredObject item in _stand!.ListAsync(prefix, cancellationToken).ConfigureAwait(false))
        {
            yield return item;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        IStorageBackend storage = Writable();
        await DeleteOnMirrorsAsync([key], cancellationToken).ConfigureAwait(false);
        await storage.DeleteAsync(key, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        IStorageBackend storage = Writable();
        await DeleteOnMirrorsAsync(keys, cancellationToken).ConfigureAwait(false);
        return await storage.DeleteAllAsync(keys, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken)
    {
        bool isExtended = await Writable().ExtendLockAsync(key, atLeast, until, cancellationToken).ConfigureAwait(false);
        await EachAsync(
            key,
            async mirror =>
            {
                if (mirror.Storage!.Capabilities.ExtendsLocks)
                {
                    await mirror.Storage.ExtendLockAsync(key, atLeast, until, cancellationToken).ConfigureAwait(false);
                }
            },
            cancellationToken).ConfigureAwait(false);
        return isExtended;
    }

    /// <summary>What lies in the storage's archive is ready where a mirror has it at hand.</summary>
    public async ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken)
    {
        if (_stand is { } stand)
        {
            return await stand.GetReadinessAsync(key, cancellationToken).ConfigureAwait(false);
        }

        StorageReadiness readiness = await _storage!.GetReadinessAsync(key, cancellationToken).ConfigureAwait(false);
        foreach (Mirror mirror in readiness == StorageReadiness.Ready ? [] : _mirrors)
        {
            if (await IsAtHandAsync(mirror, key, cancellationToken).ConfigureAwait(false))
            {
                return StorageReadiness.Ready;
            }
        }

        return readiness;
    }

    /// <inheritdoc/>
    public ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) => (_stand ?? _storage!).RecallAsync(key, order, cancellationToken);

    /// <summary>The mirrors.</summary>
    public async IAsyncEnumerable<StorageCopy> CopiesAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach (Mirror mirror in _options.IsNew ? [] : _mirrors)
        {
            if (await ReadableAsync(mirror, cancellationToken).ConfigureAwait(false) is { } readable && !ReferenceEquals(readable, _stand))
            {
                yield return new StorageCopy(mirror.Name, readable, key => Tell(
                    mirror, "damaged", $"{Location} gives other bytes of {key} than were put, which its mirror {mirror.Name} has whole: 'backupiq repair packs' puts them right", isBehind: null));
            }
        }
    }

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => (_stand ?? _storage!).GetSpaceAsync(cancellationToken);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (Mirror mirror in _mirrors)
        {
            await mirror.DisposeAsync().ConfigureAwait(false);
        }

        if (_storage is not null)
        {
            await _storage.DisposeAsync().ConfigureAwait(false);
        }

        _identifying.Dispose();
        _standing.Dispose();
    }

    private static bool IsAway(StorageException e) => e.IsTransient || e.Code == ErrorCodes.Storage || e.Code == ErrorCodes.StorageArchived;

    private string Name(IStorageBackend storage) => _mirrors.FirstOrDefault(mirror => ReferenceEquals(mirror.Storage, storage))?.Name ?? storage.Location;

    // Null: the storage cannot be listed, and a mirror has taken its place.
    private async ValueTask<bool?> BeginAsync(IAsyncEnumerator<StoredObject> objects, CancellationToken cancellationToken)
    {
        try
        {
            return await objects.MoveNextAsync().ConfigureAwait(false);
        }
        catch (StorageException e) when (IsAway(e))
        {
            await RequireStandAsync(e, cancellationToken).ConfigureAwait(false);
            return null;
        }
    }

    private async ValueTask<int> ReadElsewhereAsync(StorageKey key, long offset, Memory<byte> destination, StorageException why, CancellationToken cancellationToken)
    {
        foreach (Mirror mirror in _mirrors)
        {
            try
            {
                if (await ReadableAsync(mirror, cancellationToken).ConfigureAwait(false) is not { } readable)
                {
                    continue;
                }

                int read = await readable.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
                bool isMissing = why.Code == ErrorCodes.StorageObjectNotFound;
                Tell(
                    mirror,
                    isMissing ? "missing" : "read",
                    isMissing ? $"{_storage!.Location} lacks {key}, which is read from its mirror {mirror.Name}: run 'backupiq check'"
                        : $"{_storage!.Location} cannot be read ({why.Message.TrimEnd('.')}); its mirror {mirror.Name} is read in its place",
                    isBehind: null);
                return read;
            }
            catch (StorageException)
            {
                // The next one, and then what the storage itself said.
            }
        }

        ExceptionDispatchInfo.Throw(why);
        return 0;
    }

    private async Task<bool> IsAtHandAsync(Mirror mirror, StorageKey key, CancellationToken cancellationToken)
    {
        try
        {
            return await ReadableAsync(mirror, cancellationToken).ConfigureAwait(false) is { } readable
                && await readable.StatAsync(key, cancellationToken).ConfigureAwait(false) is not null
                && await readable.GetReadinessAsync(key, cancellationToken).ConfigureAwait(false) == StorageReadiness.Ready;
        }
        catch (StorageException)
        {
            // Then it has to come from the archive.
            return false;
        }
    }

    private async Task RequireStandAsync(StorageException why, CancellationToken cancellationToken)
    {
        if (await StandElsewhereAsync(why, cancellationToken).ConfigureAwait(false) is null)
        {
            ExceptionDispatchInfo.Throw(why);
        }
    }

    // From now on a mirror answers everything. Null: there is none that can.
    private async Task<IStorageBackend?> StandElsewhereAsync(BackupIQException why, CancellationToken cancellationToken)
    {
        await _standing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            foreach (Mirror mirror in _stand is null && !_options.IsNew ? _mirrors : [])
            {
                if (await ReadableAsync(mirror, cancellationToken).ConfigureAwait(false) is { } readable)
                {
                    _stand = readable;
                    string storage = _storage?.Location ?? "The storage";
                    Tell(mirror, "stand", $"{storage} cannot be reached ({why.Message.TrimEnd('.')}); its mirror {mirror.Name} is read in its place, and nothing is written", isBehind: null);
                    break;
                }
            }

            return _stand;
        }
        finally
        {
            _standing.Release();
        }
    }

    private async Task<IStorageBackend?> ReadableAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        try
        {
            IStorageBackend? storage = await mirror.ConnectAsync(_options, cancellationToken).ConfigureAwait(false);
            return mirror.IsKnown ? storage : null;
        }
        catch (BackupIQException)
        {
            // Whoever reads is told what the storage itself said.
            return null;
        }
    }

    private IStorageBackend Writable(StorageContent? content = null)
    {
        if (_stand is not { } stand)
        {
            return _storage!;
        }

        content?.Discard();
        throw new StorageException(
            ErrorCodes.StorageConnection,
            $"The storage cannot be reached; its mirror {Name(stand)} answers in its place, and that is only read",
            "Run again when the storage is back. To go on with the mirror for good, name it with --repo.");
    }

    // The storage has it; now the mirrors.
    private async Task FollowPutAsync(StorageKey key, MirrorRank rank, StorageContent content, CancellationToken cancellationToken)
    {
        if (rank is MirrorRank.Index or MirrorRank.Root)
        {
            foreach (Mirror mirror in _mirrors)
            {
                mirror.Pending.TryAdd(key.Value, true);
            }

            // An index segment waits for the root.
            await Task.WhenAll(rank == MirrorRank.Root ? _mirrors.Select(mirror => FollowRootAsync(mirror, cancellationToken)) : []).ConfigureAwait(false);
            return;
        }

        // A file may have been taken over by the storage: then it is read back.
        await EachAsync(
            key,
            async mirror =>
            {
                if (content.File is null)
                {
                    if (await mirror.Storage!.PutAsync(key, content, cancellationToken).ConfigureAwait(false) == PutOutcome.AlreadyThere)
                    {
                        throw new StorageException(ErrorCodes.Storage, $"it has another {key}");
                    }
                }
                else if (await _storage!.StatAsync(key, cancellationToken).ConfigureAwait(false) is { } stored)
                {
                    await new MirrorPipeline(_storage, mirror.Storage!, _options.Layout, _time).CopyAsync(stored, cancellationToken).ConfigureAwait(false);
                }
            },
            cancellationToken).ConfigureAwait(false);
    }

    // The root stands, whatever becomes of the mirror.
    private async Task FollowRootAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        try
        {
            await FollowAsync(mirror, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            Behind(mirror, "it was interrupted before it was in step");
        }
    }

    /// <summary>Does something on each mirror that is not known to be behind; what fails leaves it behind.</summary>
    private Task EachAsync(StorageKey key, Func<Mirror, Task> work, CancellationToken cancellationToken) => Task.WhenAll(_mirrors.Select(async mirror =>
    {
        if (await UsableAsync(mirror, cancellationToken).ConfigureAwait(false) && mirror.Problem is null)
        {
            try
            {
                await work(mirror).ConfigureAwait(false);
            }
            catch (StorageException e)
            {
                Behind(mirror, $"{key}: {e.Message.TrimEnd('.')}");
            }
        }
    }));

    private async Task DeleteOnMirrorsAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        StorageKey[] mirrored = [.. keys.Where(key => _options.Layout.RankOf(key) != MirrorRank.Own)];
        bool isReliedOn = mirrored.Any(key => _options.Layout.RankOf(key) is MirrorRank.Content or MirrorRank.Index);
        foreach (Mirror mirror in mirrored.Length == 0 ? [] : _mirrors)
        {
            if (!await UsableAsync(mirror, cancellationToken).ConfigureAwait(false) || (isReliedOn && !await CoversAsync(mirror, cancellationToken).ConfigureAwait(false)))
            {
                continue;
            }

            try
            {
                await Deletions.RequireAsync(mirror.Storage!, mirrored, cancellationToken).ConfigureAwait(false);
            }
            catch (StorageException e)
            {
                Behind(mirror, $"{mirrored[0]} could not be removed: {e.Message.TrimEnd('.')}");
            }
        }
    }

    // Whether the mirror has all that whoever decides over deletions may rely on: all that the storage's index names now.
    private async Task<bool> CoversAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        await mirror.Following.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (mirror is { Problem: not null, HasRefused: true })
            {
                return false;
            }

            bool isCovered = mirror is { Index: not null, Problem: null, Pending.IsEmpty: true };
            if (isCovered)
            {
                await foreach (StoredObject segment in _storage!.ListAsync(_options.Layout.Index, cancellationToken).ConfigureAwait(false))
                {
                    isCovered &= mirror.Index!.Contains(segment.Key.Value);
                }
            }

            return isCovered || await BringInStepAsync(mirror, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            mirror.Following.Release();
        }
    }

    // Brings a mirror in step for a root.
    private async Task FollowAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        if (!await UsableAsync(mirror, cancellationToken).ConfigureAwait(false))
        {
            return;
        }

        await mirror.Following.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await BringInStepAsync(mirror, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            mirror.Following.Release();
        }
    }

    // Whether it is in step. One at a time.
    private async Task<bool> BringInStepAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        mirror.HasRefused = true;
        try
        {
            string[] known = [.. mirror.Pending.Keys];
            (MirrorPlan plan, bool isWhole) = await new MirrorPipeline(_storage!, mirror.Storage!, _options.Layout, _time).FollowAsync(known, _options.MayRemove(), cancellationToken).ConfigureAwait(false);
            if (!isWhole)
            {
                Behind(
                    mirror,
                    plan.StrayRootCount > 0 ? $"it has {plan.StrayRootCount} snapshots that {_storage!.Location} has not"
                    : plan.DifferingCount > 0 ? $"{plan.DifferingCount} objects have another size there"
                    : plan.StrayIndexCount > 0 ? $"its index has {plan.StrayIndexCount} parts that {_storage!.Location} has not, and who may only add does not remove them"
                    : $"an object that it lacks is damaged on {_storage!.Location}");
                return false;
            }

            mirror.Index = plan.Index;
            mirror.HasRefused = false;
            InStep(mirror);
            foreach (string name in known)
            {
                mirror.Pending.TryRemove(name, out _);
            }

            return true;
        }
        catch (StorageException e)
        {
            Behind(mirror, e.Message.TrimEnd('.'));
            return false;
        }
    }

    // Whether anything may be put there.
    private async Task<bool> UsableAsync(Mirror mirror, CancellationToken cancellationToken)
    {
        string? identity = await IdentityAsync(cancellationToken).ConfigureAwait(false);
        if (await mirror.ConnectAsync(_options, cancellationToken).ConfigureAwait(false) is null || !mirror.IsKnown)
        {
            Behind(mirror, mirror.Problem!);
            return false;
        }

        return identity == mirror.Identity
            ? true
            : throw new BackupIQException(
                ErrorCodes.Configuration, $"The mirror {mirror.Name} holds another repository: {mirror.Identity}, not {identity}", "Name the right place, or an empty one.").With("mirror", mirror.Name);
    }

    private async Task<string?> IdentityAsync(CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _isIdentified) || _options.IsNew)
        {
            return _identity;
        }

        await _identifying.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (!_isIdentified)
            {
                _identity = await _options.Identify(_storage!, cancellationToken).ConfigureAwait(false)
                    ?? throw new StorageException(ErrorCodes.Storage, $"{_storage!.Location} does not say which repository it holds, so that nothing can be mirrored", "Run 'backupiq repair index' or 'check' without --mirror.");
                Volatile.Write(ref _isIdentified, true);
            }

            return _identity;
        }
        finally
        {
            _identifying.Release();
        }
    }

    private void InStep(Mirror mirror)
    {
        if (mirror.Problem is null)
        {
            return;
        }

        mirror.Problem = null;
        lock (_told)
        {
            _told.Remove((mirror.Name, "behind"));
        }

        _options.OnNotice?.Invoke(new MirrorNotice(mirror.Name, $"The mirror {mirror.Name} is in step again", IsBehind: false));
    }

    private void Behind(Mirror mirror, string problem)
    {
        mirror.Problem = problem;
        Tell(mirror, "behind", $"The mirror {mirror.Name} is behind: {problem}; 'backupiq storage sync' brings it in step", isBehind: true);
    }

    private void Tell(Mirror mirror, string kind, string message, bool? isBehind)
    {
        lock (_told)
        {
            if (!_told.Add((mirror.Name, kind)))
            {
                return;
            }
        }

        _options.OnNotice?.Invoke(new MirrorNotice(mirror.Name, message, isBehind));
    }
}
