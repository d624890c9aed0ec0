using System.Runtime.ExceptionServices;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Storage;

namespace BackupIQ.Repository;

/// <summary>
/// An opened repository: its keys, its configuration, and the storage it lies on. Disposing wipes the keys; the storage stays the
/// caller's. May be used from any thread.
/// </summary>
public sealed class BackupRepository : IAsyncDisposable
{
    private readonly Secret? _secret;

    private BackupRepository(
        IStorageBackend storage,
        RepositoryKeys keys,
        RepositoryConfiguration configuration,
        string? slot,
        IReadOnlyList<RepositoryFinding> findings,
        TimeProvider time,
        Secret? secret = null)
    {
        _secret = secret;
        Storage = storage;
        Keys = keys;
        Configuration = configuration;
        Findings = findings;
        Slots = new KeySlots(storage, keys, configuration, slot, time, secret);
    }

    /// <summary>For tests: a repository on some storage, without asking that for slots and configuration.</summary>
    internal static BackupRepository Of(IStorageBackend storage, RepositoryKeys keys, RepositoryConfiguration configuration, TimeProvider time) =>
        new(storage, keys, configuration, slot: null, [], time);

    /// <summary>The repository's id.</summary>
    public RepositoryId Id => Keys.Repository;

    /// <summary>The opened keyring; wiped with the repository.</summary>
    public RepositoryKeys Keys { get; }

    /// <summary>The generation of the configuration that counts.</summary>
    public RepositoryConfiguration Configuration { get; private set; }

    /// <summary>Damage met while opening. It did not keep the repository from opening, but must be told: exit code 14.</summary>
    public IReadOnlyList<RepositoryFinding> Findings { get; }

    /// <summary>The storage; the caller's.</summary>
    public IStorageBackend Storage { get; }

    /// <summary>
    /// Whether commit and fence are puts on one name, of which the storage lets one win; else a snapshot counts once it is confirmed. The repository says
    /// which, so that all clients do alike however they reach it; one that is older than that record goes by its storage.
    /// </summary>
    public bool CommitsByName => Configuration.CommitsByName ?? Storage.Capabilities.ConditionalPut;

    /// <summary>Hears before the local cache of this repository is used, each time.</summary>
    public Action? OnCacheUse { get; set; }

    /// <summary>Hears how many segments of the index were read, and of how many, while it is loaded.</summary>
    public Action<int, int>? OnIndexRead { get; set; }

    /// <summary>Whether the storage's times are worth something: they come from its own clock, or from this machine's disk.</summary>
    public bool HasStoreTimes => Storage.Capabilities.HasStoreClock || Storage.Capabilities.IsLocal;

    /// <summary>Whether reads cost no more than a local disk's.</summary>
    public bool IsLocal => Storage.Capabilities.IsLocal;

    /// <summary>The ways in: list, add, change, remove.</summary>
    public KeySlots Slots { get; }

    /// <summary>
    /// Makes a repository on an empty storage. The key slots are durable before the configuration, which is what makes it a repository; so
    /// a crash in between leaves slots that open nothing, and making it again goes through and sweeps them.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>RepositoryExists</c>: a repository is there, whole or in parts. <c>Validation</c>: neither password nor key file, or unfit ones.
    /// </exception>
    public static async Task<CreatedRepository> CreateAsync(
        IStorageBackend storage, CreateOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        Validate(options);
        await RequireNothingThereAsync(storage, cancellationToken);

        DateTimeOffset now = time.GetUtcNow();
        RepositoryId id = RepositoryId.New();
        RepositoryKeys keys = RepositoryKeys.Create(id, options.ChunkerFrom is null ? default : options.ChunkerFrom.Keys.GearKey);
        try
        {
            RepositoryConfiguration configuration = NewConfiguration(id, options, storage.Capabilities.ConditionalPut, now);
            KeySlots slots = new(storage, keys, configuration, current: null, time);
            string? kit = null;
            if (options.Password is not null)
            {
                await slots.AddPasswordAsync(options.Password, "first password", cancellationToken);
            }

            if (options.KeyFile is not null)
            {
                await slots.AddKeyFileAsync(options.KeyFile, "first key file", cancellationToken);
            }

            if (options.KeyProvider is not null)
            {
                await slots.AddServiceAsync(options.KeyProvider, "first key of a key service", cancellationToken);
            }

            if (options.RecoveryKit)
            {
                kit = await slots.AddRecoveryKitAsync("recovery kit", asPage: false, cancellationToken);
            }

            if (!await ConfigurationStore.TryPutAsync(storage, keys, configuration, cancellationToken))
            {
                await SweepSlotsAsync(storage, slot => slot.Repository == id, CancellationToken.None);
                throw Exists(storage);
            }

            // From here on no other repository can come about in this place: slots of others are leftovers of a crash.
            await SweepSlotsAsync(storage, slot => slot.Repository != id, cancellationToken);
            return new CreatedRepository(new BackupRepository(storage, keys, configuration, slot: null, [], time), kit);
        }
        catch
        {
            keys.Dispose();
            throw;
        }
    }

    /// <summary>Which repository a storage says that it holds, by what is not sealed: no key is needed, and nothing is proven. Null: none, or nothing of its configuration is whole.</summary>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>, or the storage failed.</exception>
    public static async Task<RepositoryId?> IdentifyAsync(IStorageBackend storage, CancellationToken cancellationToken) =>
        (await ConfigurationStore.LoadAsync(storage, cancellationToken)).Repository;

    /// <summary>Opens the repository on <paramref name="storage"/>.</summary>
    /// <exception cref="BackupIQException">
    /// <c>RepositoryNotFound</c>: there is none. <c>Authentication</c>: nothing given opens it. <c>KeyDamaged</c>: the same, but slots are
    /// damaged. <c>CorruptData</c>: the keys open, but the configuration is lost (the recovery kit opens it). <c>UnsupportedFormat</c>: a
    /// newer version is needed to read it.
    /// </exception>
    public static async Task<BackupRepository> OpenAsync(
        IStorageBackend storage, Credentials credentials, TimeProvider time, CancellationToken cancellationToken)
    {
        ConfigurationStore configurations = await ConfigurationStore.LoadAsync(storage, cancellationToken);
        KeySlotStore slots = await KeySlotStore.LoadAsync(storage, cancellationToken);
        if (configurations.IsEmpty && slots.IsEmpty
            && (credentials.RecoveryKit is null || !await HasContentAsync(storage, cancellationToken)))
        {
            throw new BackupIQException(ErrorCodes.RepositoryNotFound, "There is no repository.").With("location", storage.Location);
        }

        OpenedKeys opened = await slots.OpenAsync(credentials, configurations.Repository, cancellationToken);
        try
        {
            List<RepositoryFinding> findings = [.. opened.Findings];
            RepositoryConfiguration configuration = configurations.Open(opened.Keys, findings)
                ?? FromKit(credentials.RecoveryKit, opened.Keys, findings)
                ?? throw ConfigurationLost(findings);
            configuration.Require(RepositoryOperation.Read);
            configuration = configuration with
            {
                OutdatedBy = opened.Keys.OutdatedBy,
                CannotCommit = configuration.CommitsByName == true && !storage.Capabilities.ConditionalPut,
            };
            return new BackupRepository(storage, opened.Keys, configuration, opened.SlotId, findings, time, opened.Secret);
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Says for all clients whether they only add unless they are told that they maintain the repository: a new generation of the configuration,
    /// which counts for whoever opens the repository from now on.
    /// </summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: somebody else changed the configuration meanwhile; nothing was changed.</exception>
    public async Task SetAppendOnlyAsync(bool appendOnly, CancellationToken cancellationToken)
    {
        Configuration.Require(RepositoryOperation.Delete);
        await ChangeConfigurationAsync(
            Configuration with { Settings = Configuration.Settings with { AppendOnly = appendOnly ? true : null } }, cancellationToken);
    }

    private async Task ChangeConfigurationAsync(RepositoryConfiguration changed, CancellationToken cancellationToken)
    {
        RepositoryConfiguration next = changed with { Head = changed.Head with { Generation = Configuration.Generation + 1 } };
        if (!await ConfigurationStore.TryPutAsync(Storage, Keys, next, cancellationToken))
        {
            throw new BackupIQException(ErrorCodes.RepositoryBusy, "Somebody else changed the repository's configuration meanwhile; nothing was changed");
        }

        Configuration = next;
    }

    /// <summary>
    /// Begins the next key epoch: what is written by whoever opens the repository from now on is sealed under a new master, which all slots open
    /// but those of <paramref name="leaveOut"/>; these are removed, and who had them reads nothing of it, with a copy of all keys neither. What was
    /// written before stays as it is. This object goes on with the old epoch; open the repository again.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>Validation</c>: a slot that stays cannot follow (<see cref="KeySlots.PlanEpochAsync"/> tells), or the one in use is to go.
    /// <c>RepositoryBusy</c>: somebody else did this meanwhile. <c>Storage</c>: the storage cannot decide between two. Nothing was changed then.
    /// </exception>
    public async Task<EpochOutcome> BeginEpochAsync(IReadOnlyCollection<string> leaveOut, TimeProvider time, CancellationToken cancellationToken)
    {
        Configuration.Require(RepositoryOperation.Delete);
        if (!CommitsByName)
        {
            throw new BackupIQException(
                ErrorCodes.Storage, "This storage cannot decide between two who begin a key epoch at once.", "Copy the repository to one that has conditional puts.");
        }

        // First those are kept away who would not look for epochs.
        FeatureFlags features = Configuration.Head.Features;
        if (!features.Read.Contains(FeatureFlags.Epochs))
        {
            features = features with
            {
                Read = [.. features.Read, FeatureFlags.Epochs],
                Write = [.. features.Write, FeatureFlags.Epochs],
                Delete = [.. features.Delete, FeatureFlags.Epochs],
                Check = [.. features.Check, FeatureFlags.Epochs],
            };
            await ChangeConfigurationAsync(Configuration with { Head = Configuration.Head with { Features = features } }, cancellationToken);
        }

        return await Slots.BeginEpochAsync(leaveOut, stop => WaitForListingsAsync(time, stop), cancellationToken);
    }

    /// <summary>
    /// Refuses to go on where a newer key epoch began since this repository was opened: what is sealed under it would be taken for damaged.
    /// </summary>
    /// <exception cref="BackupIQException"><c>KeyOutdated</c></exception>
    internal async Task RequireNewestEpochAsync(CancellationToken cancellationToken)
    {
        ushort next = (ushort)(Keys.CurrentEpoch + 1);
        if ((await KeySlotStore.LoadAsync(Storage, cancellationToken)).Epochs.Find(Keys, next) is not null)
        {
            throw new BackupIQException(ErrorCodes.KeyOutdated, $"Key epoch {next} began meanwhile, and what is sealed under it cannot be judged.", "Run again.");
        }
    }

    /// <summary>Writes anew the copies of the configuration and of key epochs that are missing or damaged, the kit's when it came from a kit.</summary>
    public async Task RestoreConfigurationAsync(CancellationToken cancellationToken)
    {
        Configuration.Require(RepositoryOperation.Delete);
        await ConfigurationStore.RestoreCopiesAsync(Storage, Keys, Configuration, cancellationToken);
        await (await KeySlotStore.LoadAsync(Storage, cancellationToken)).Epochs.RestoreCopiesAsync(Storage, Keys, cancellationToken);
    }

    /// <summary>
    /// What stands between a put and a listing that relies on it, where listings lag (docs/format.md, Sessions): twice the lag. Elsewhere nothing.
    /// </summary>
    internal Task WaitForListingsAsync(TimeProvider time, CancellationToken cancellationToken) =>
        Storage.Capabilities.ListingLag > TimeSpan.Zero ? Task.Delay(2 * Storage.Capabilities.ListingLag, time, cancellationToken) : Task.CompletedTask;

    /// <summary>Reads and opens a sealed object.</summary>
    /// <exception cref="CorruptDataException">It is not what was stored.</exception>
    /// <exception cref="StorageException">With <c>StorageObjectNotFound</c> when there is no such object.</exception>
    internal async Task<byte[]> ReadObjectAsync(ObjectKind kind, StorageKey key, CancellationToken cancellationToken) =>
        await TryReadObjectAsync(kind, key, cancellationToken) ?? throw new StorageException(ErrorCodes.StorageObjectNotFound, $"{key} is not there.");

    /// <summary>As <see cref="ReadObjectAsync"/>; null when there is no such object.</summary>
    /// <param name="kind">What it is.</param>
    /// <param name="key">Its name.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <param name="onlyHere">Whether the storage alone is asked, by who wants to know how that is: else what does not open is read from a copy of it.</param>
    /// <exception cref="CorruptDataException">It is not what was stored.</exception>
    internal async Task<byte[]?> TryReadObjectAsync(ObjectKind kind, StorageKey key, CancellationToken cancellationToken, bool onlyHere = false) =>
        (await ReadAsync(key, bytes => (true, SealedObject.Open(Keys, kind, key, bytes)), onlyHere, cancellationToken)).Document;

    /// <summary>What stands under a snapshot's name: nothing, a snapshot's document, or, without one, a fence. <paramref name="onlyHere"/> as for <see cref="TryReadObjectAsync"/>.</summary>
    /// <exception cref="CorruptDataException">It is not what was stored.</exception>
    internal Task<(bool IsThere, byte[]? Document)> ReadUnlessFenceAsync(ObjectKind kind, StorageKey key, CancellationToken cancellationToken, bool onlyHere = false) =>
        ReadAsync(key, bytes => OpenUnlessFence(kind, key, bytes), onlyHere, cancellationToken);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Keys.Dispose();
        _secret?.Dispose();
        return ValueTask.CompletedTask;
    }

    private (bool IsThere, byte[]? Document) OpenUnlessFence(ObjectKind kind, StorageKey key, ReadOnlySpan<byte> bytes)
    {
        if (!SealedObject.TryPeekKind(bytes, out ObjectKind found) || found != ObjectKind.Fence)
        {
            return (true, SealedObject.Open(Keys, kind, key, bytes));
        }

        // The kind in the clear is a claim: only a fence that opens as one stands in a snapshot's place.
        SealedObject.Open(Keys, ObjectKind.Fence, key, bytes);
        return (true, null);
    }

    // Default where there is no such object. What does not open is asked for elsewhere; when it is whole nowhere, the first failure counts.
    private async Task<(bool IsThere, byte[]? Document)> ReadAsync(
        StorageKey key, Func<ReadOnlySpan<byte>, (bool IsThere, byte[]? Document)> open, bool onlyHere, CancellationToken cancellationToken)
    {
        BackupIQException damage;
        try
        {
            return await ReadAsync(Storage, key, open, cancellationToken);
        }
        catch (BackupIQException e) when (!onlyHere && DamageReading.IsDamage(e))
        {
            damage = e;
        }

        await foreach (StorageCopy copy in Storage.CopiesAsync(cancellationToken))
        {
            try
            {
                if (await ReadAsync(copy.Storage, key, open, cancellationToken) is { IsThere: true } read)
                {
                    copy.OnUsed(key);
                    return read;
                }
            }
            catch (BackupIQException e) when (e is StorageException || DamageReading.IsDamage(e))
            {
                // The next one.
            }
        }

        ExceptionDispatchInfo.Throw(damage);
        return default;
    }

    private static async Task<(bool IsThere, byte[]? Document)> ReadAsync(
        IStorageBackend storage, StorageKey key, Func<ReadOnlySpan<byte>, (bool IsThere, byte[]? Document)> open, CancellationToken cancellationToken)
    {
        using NativeBuffer? bytes = await TryReadBytesAsync(storage, key, cancellationToken);
        return bytes is null ? default : open(bytes.GetSpan());
    }

    private static async Task<NativeBuffer?> TryReadBytesAsync(IStorageBackend storage, StorageKey key, CancellationToken cancellationToken)
    {
        if (await storage.StatAsync(key, cancellationToken) is not { } stored)
        {
            return null;
        }

        if (stored.Size > SealedObject.MaxSize)
        {
            throw new CorruptDataException($"{key}: it has {stored.Size} bytes, more than any sealed object.");
        }

        NativeBuffer bytes = new();
        try
        {
            int length = await storage.ReadAsync(key, 0, bytes.Room((int)stored.Size), cancellationToken);
            return length == bytes.Length ? bytes : throw new CorruptDataException($"{key} is cut short.");
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            // It went between the two requests.
            bytes.Dispose();
            return null;
        }
        catch
        {
            bytes.Dispose();
            throw;
        }
    }

    private static void Validate(CreateOptions options)
    {
        if (options.Password is null && options.KeyFile is null && options.KeyProvider is null)
        {
            throw new BackupIQException(ErrorCodes.Validation, "A repository needs a password, a key file or a key service.");
        }

        if (options.Password is not null)
        {
            Credentials.RequirePassword(options.Password);
        }

        if (options.KeyFile is not null)
        {
            Credentials.RequireKeyFile(options.KeyFile);
        }

        KeySlots.RequireLabel(options.Label);
    }

    private static RepositoryConfiguration NewConfiguration(RepositoryId id, CreateOptions options, bool commitsByName, DateTimeOffset now)
    {
        ConfigurationSettings settings = new()
        {
            Created = now,
            Label = options.Label,
            Chunker = options.ChunkerFrom?.Configuration.Chunker ?? options.Chunker,
            PackSize = options.PackSize,
            Compression = options.Compression,
            AppendOnly = options.AppendOnly ? true : null,
            Commit = commitsByName ? ConfigurationSettings.CommitByName : ConfigurationSettings.CommitByConfirmation,
        };
        if (!ConfigurationObject.IsValid(settings))
        {
            throw new BackupIQException(ErrorCodes.Validation, "The chunk sizes or the pack size are out of range.");
        }

        return new RepositoryConfiguration(
            id,
            new ConfigurationHead
            {
                Format = ConfigurationHead.CurrentFormat,
                Repository = id.ToString(),
                Generation = 1,
                MinReader = 1,
                MinWriter = 1,
                Features = FeatureFlags.None,
                Kdf = options.Kdf ?? (options.UsePbkdf2 ? KdfParameters.NewPbkdf2() : KdfParameters.NewScrypt()),
            },
            settings);
    }

    // Key slots alone are what a crash in CreateAsync leaves. Anything else, without a configuration, is a repository in need of repair.
    private static async Task RequireNothingThereAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        if (await AnyAsync(storage, RepositoryLayout.ConfigurationPrefix, cancellationToken) || await HasContentAsync(storage, cancellationToken))
        {
            throw Exists(storage);
        }
    }

    private static async Task<bool> HasContentAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        foreach (string prefix in (string[])
            [RepositoryLayout.SnapshotPrefix, RepositoryLayout.DataPackPrefix, RepositoryLayout.MetadataPackPrefix, RepositoryLayout.IndexPrefix, RepositoryLayout.LogPrefix])
        {
            if (await AnyAsync(storage, prefix, cancellationToken))
            {
                return true;
            }
        }

        return false;
    }

    private static async Task<bool> AnyAsync(IStorageBackend storage, string prefix, CancellationToken cancellationToken)
    {
        await foreach (StoredObject _ in storage.ListAsync(prefix, cancellationToken))
        {
            return true;
        }

        return false;
    }

    private static async Task SweepSlotsAsync(IStorageBackend storage, Func<KeySlot, bool> condemned, CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(storage, cancellationToken);
        foreach (KeySlot slot in store.Slots.Where(condemned))
        {
            await storage.DeleteAsync(RepositoryLayout.KeySlot(slot.Head.Slot), cancellationToken);
        }
    }

    private static BackupIQException Exists(IStorageBackend storage) =>
        new BackupIQException(ErrorCodes.RepositoryExists, "A repository, or a part of one, is already there.").With("location", storage.Location);

    private static RepositoryConfiguration? FromKit(RecoveryKit? kit, RepositoryKeys keys, List<RepositoryFinding> findings)
    {
        if (kit?.Block is not { } block || kit.Repository != keys.Repository)
        {
            return null;
        }

        findings.Add(new RepositoryFinding(
            RepositoryLayout.ConfigurationPrefix, "the configuration is lost; the copy in the recovery kit was used"));
        return new RepositoryConfiguration(keys.Repository, block.Configuration, block.Settings);
    }

    private static CorruptDataException ConfigurationLost(List<RepositoryFinding> findings)
    {
        CorruptDataException lost = new(
            "The keys open, but the repository's configuration is lost, or 'backupiq init' never finished. The recovery kit (--recovery-kit FILE) opens it.");
        for (int i = 0; i < findings.Count; i++)
        {
            lost.With($"damage{i + 1}", findings[i].ToString());
        }

        return lost;
    }
}
