using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Keys;

/// <summary>A key slot as <c>key list</c> shows it.</summary>
/// <param name="Id">32 hex digits.</param>
/// <param name="Type"><c>password</c>, <c>keyfile</c>, <c>kit</c>, <c>kms</c>, or a newer version's.</param>
/// <param name="Label">What its owner calls it.</param>
/// <param name="Created">When it was made.</param>
/// <param name="IsCurrent">Whether it opened the repository now.</param>
public sealed record KeySlotInfo(string Id, string Type, string Label, DateTimeOffset Created, bool IsCurrent)
{
    /// <summary>The newest key epoch that it opens; null: it does not say, for an older version made it.</summary>
    public ushort? Epoch { get; init; }

    /// <summary>Whether a new epoch can be begun for it without its secret.</summary>
    public bool CanFollow { get; init; }

    /// <summary>Of a key service's key: which service, and the key's name there; else null.</summary>
    public (string Service, string Key)? ServiceKey { get; init; }
}

/// <summary>A key epoch.</summary>
/// <param name="Epoch">Its number, from 1.</param>
/// <param name="Begun">When it began; of the first that is when the repository was made, of one whose object is lost null.</param>
public sealed record KeyEpochInfo(ushort Epoch, DateTimeOffset? Begun);

/// <summary>What a new epoch would do.</summary>
/// <param name="Epoch">Its number.</param>
/// <param name="Follow">The slots that open it.</param>
/// <param name="CannotFollow">Those that an older version made, and that must be changed first or go.</param>
public sealed record EpochPlan(ushort Epoch, IReadOnlyList<KeySlotInfo> Follow, IReadOnlyList<KeySlotInfo> CannotFollow);

/// <summary>What beginning an epoch did.</summary>
/// <param name="Epoch">Its number.</param>
/// <param name="LeftBehind">Slots that somebody added meanwhile: they read what was written before, and must be added again.</param>
public sealed record EpochOutcome(ushort Epoch, IReadOnlyList<KeySlotInfo> LeftBehind);

/// <summary>The slots that are whole, and what is wrong with others.</summary>
public sealed record KeySlotListing(IReadOnlyList<KeySlotInfo> Slots, IReadOnlyList<RepositoryFinding> Findings);

/// <summary>
/// The ways into an opened repository. Slots are immutable objects: a change is a new slot and then the removal of the old one, so a crash
/// in between leaves both. Removing a slot does not take the keys back from someone who has opened it before.
/// </summary>
public sealed class KeySlots
{
    private readonly IStorageBackend _storage;
    private readonly RepositoryKeys _keys;
    private readonly RepositoryConfiguration _configuration;
    private readonly TimeProvider _time;
    private readonly Secret? _secret;

    internal KeySlots(
        IStorageBackend storage, RepositoryKeys keys, RepositoryConfiguration configuration, string? current, TimeProvider time, Secret? secret = null)
    {
        _secret = secret;
        _storage = storage;
        _keys = keys;
        _configuration = configuration;
        _time = time;
        Current = current;
    }

    /// <summary>The id of the slot that opened the repository; null when it was just made.</summary>
    public string? Current { get; }

    /// <summary>Lists the slots, oldest first.</summary>
    public async Task<KeySlotListing> ListAsync(CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        return new KeySlotListing(
            [.. store.Slots.Where(IsOurs).Select(slot => Info(slot, store.Epochs)).OrderBy(slot => slot.Created).ThenBy(slot => slot.Id, StringComparer.Ordinal)],
            [.. store.Findings, .. store.Epochs.Findings]);
    }

    /// <summary>The key epochs, oldest first.</summary>
    public async Task<IReadOnlyList<KeyEpochInfo>> ListEpochsAsync(CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        return
        [
            .. _keys.Masters.Keys.Select(epoch => new KeyEpochInfo(
                epoch, store.Epochs.Find(_keys, epoch)?.Head.Created ?? (epoch == _keys.Masters.Keys.Min() ? _configuration.Created : null))),
        ];
    }

    /// <summary>Adds a password. Costs one slow derivation.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: the password is empty or the label is none.</exception>
    public async Task<KeySlotInfo> AddPasswordAsync(Secret password, string label, CancellationToken cancellationToken)
    {
        Credentials.RequirePassword(password);
        byte[] derived = _configuration.Head.Kdf.Derive(password.Bytes);
        try
        {
            KeySlotHead head = NewHead(KeySlotHead.PasswordType, label);
            return await PutAsync(head, KeySlot.SealFollowing(_keys, head, derived), cancellationToken);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
        }
    }

    /// <summary>Adds a key file by its content.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: it is not random enough, or the label is none.</exception>
    public Task<KeySlotInfo> AddKeyFileAsync(Secret keyFile, string label, CancellationToken cancellationToken)
    {
        Credentials.RequireKeyFile(keyFile);
        KeySlotHead head = NewHead(KeySlotHead.KeyFileType, label);
        return PutAsync(head, KeySlot.SealFollowing(_keys, head, keyFile.Bytes), cancellationToken);
    }

    /// <summary>Adds a slot whose secret a key service wraps: whoever may use that key there opens the repository.</summary>
    /// <exception cref="BackupIQException">What the service says, or <c>Validation</c>: the label is none.</exception>
    public async Task<KeySlotInfo> AddServiceAsync(IKeyProvider provider, string label, CancellationToken cancellationToken)
    {
        KeySlotHead head = NewHead(KeySlotHead.ServiceType, label);
        using GeneratedKey secret = await provider.GenerateAsync(KeySlot.ContextOf(_keys.Repository, head.Slot), cancellationToken);
        head = head with { Kms = new KeySlotService(provider.Service, provider.Key, secret.Wrapped) };
        return await PutAsync(head, KeySlot.SealFollowing(_keys, head, secret.Plain.Bytes), cancellationToken);
    }

    /// <summary>Adds a slot for a new recovery kit and returns the kit's text, which holds the secret: store it 0600.</summary>
    /// <param name="label">What to call it.</param>
    /// <param name="asPage">As a page for a browser to print, not as plain text.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task<string> AddRecoveryKitAsync(string label, bool asPage, CancellationToken cancellationToken)
    {
        using Secret secret = Secret.Random(KitSecretText.SecretSize);
        KeySlotHead head = NewHead(KeySlotHead.KitType, label);
        byte[] slot = KeySlot.SealFollowing(_keys, head, secret.Bytes);
        await PutAsync(head, slot, cancellationToken);
        return RecoveryKit.Compose(secret.Bytes, head.Slot, slot, _configuration, _storage.Location, head.Created, asPage);
    }

    /// <summary>Puts a new password in the place of slot <paramref name="slotId"/>, under its label: first the new slot, then the removal.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: there is no such password slot, or the password is empty.</exception>
    public async Task<KeySlotInfo> ChangePasswordAsync(string slotId, Secret newPassword, CancellationToken cancellationToken)
    {
        Credentials.RequirePassword(newPassword);
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        KeySlot old = store.Slots.SingleOrDefault(slot => IsOurs(slot) && slot.Head.Slot == slotId)
            ?? throw new BackupIQException(ErrorCodes.Validation, $"There is no whole key slot {slotId}.");
        if (old.Head.Type != KeySlotHead.PasswordType)
        {
            throw new BackupIQException(
                ErrorCodes.Validation, $"Key slot {slotId} is no password.", "Say which password to change, or add one with 'backupiq key add'.");
        }

        byte[] derived = _configuration.Head.Kdf.Derive(newPassword.Bytes);
        try
        {
            KeySlotHead head = NewHead(KeySlotHead.PasswordType, old.Head.Label) with { Unknown = old.Head.Unknown };
            KeySlotInfo added = await PutAsync(head, KeySlot.SealFollowing(_keys, head, derived), cancellationToken);
            await _storage.DeleteAsync(RepositoryLayout.KeySlot(slotId), cancellationToken);
            return added;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
        }
    }

    /// <summary>Removes a slot, a damaged one too, by its full id. The last whole slot stays.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: there is no such slot, or it is the last.</exception>
    public async Task RemoveAsync(string slotId, CancellationToken cancellationToken)
    {
        _keys.RequireCurrent();
        if (!KeySlot.IsId(slotId) || await _storage.StatAsync(RepositoryLayout.KeySlot(slotId), cancellationToken) is null)
        {
            throw new BackupIQException(ErrorCodes.Validation, $"There is no key slot '{Printable(slotId)}'.", "See 'backupiq key list'.");
        }

        StorageKey key = RepositoryLayout.KeySlot(slotId);
        if (!await AnotherIsWholeAsync(slotId, cancellationToken))
        {
            throw new BackupIQException(
                ErrorCodes.Validation, "It is the last key slot that is whole; without it nobody could open the repository.",
                "Add another with 'backupiq key add' first.");
        }

        (byte[]? bytes, _) = await SmallObject.ReadAsync(_storage, key, HeadedObject.MaxSize, cancellationToken);
        await _storage.DeleteAsync(key, cancellationToken);

        // Two may remove the last two at once: whoever finds nothing left puts back what it took.
        if (bytes is not null && !await AnotherIsWholeAsync(slotId, cancellationToken))
        {
            await _storage.PutAsync(key, StorageContent.FromBytes(bytes), CancellationToken.None);
            throw new BackupIQException(ErrorCodes.RepositoryBusy, "Someone else removed the other key slots meanwhile; this one was put back.");
        }
    }

    /// <summary>What a new epoch would do.</summary>
    public async Task<EpochPlan> PlanEpochAsync(CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        ILookup<bool, KeySlot> slots = store.Slots.Where(IsOurs).ToLookup(slot => PublicKeyOf(slot, store.Epochs) is not null || OpensWithMine(slot));
        return new EpochPlan(
            (ushort)(_keys.CurrentEpoch + 1), [.. slots[true].Select(slot => Info(slot, store.Epochs))], [.. slots[false].Select(slot => Info(slot, store.Epochs))]);
    }

    /// <summary>
    /// Begins the next key epoch for all slots but those of <paramref name="leaveOut"/>, which are removed. One object says so, and whoever puts it
    /// first has begun it: until then nothing has changed, and from then on every slot that stays opens it.
    /// </summary>
    internal async Task<EpochOutcome> BeginEpochAsync(
        IReadOnlyCollection<string> leaveOut, Func<CancellationToken, Task> waitForListings, CancellationToken cancellationToken)
    {
        if (Current is null || _secret is null || leaveOut.Contains(Current))
        {
            throw new BackupIQException(ErrorCodes.Validation, "The key in use must stay.", "Open the repository with another key.");
        }

        if (_keys.Masters.Count >= Keyring.MaxEpochs)
        {
            throw new BackupIQException(ErrorCodes.Validation, $"A repository has at most {Keyring.MaxEpochs} key epochs.", "Copy it into a new one.");
        }

        KeySlotStore before = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        RequireThatAllFollow(before, leaveOut);
        string[] replaced = [.. before.Slots.Where(slot => IsOurs(slot) && PublicKeyOf(slot, before.Epochs) is null && OpensWithMine(slot)).Select(static slot => slot.Head.Slot)];
        string current = before.Slots.FirstOrDefault(slot => slot.Head.Slot == Current && replaced.Contains(Current)) is { } own
            ? (await WrapAnewAsync(own, cancellationToken)).Id
            : Current;
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        HashSet<string> gone = [.. leaveOut, .. replaced];
        RequireThatAllFollow(store, leaveOut);
        List<EpochRecipient> recipients =
        [
            .. store.Slots.Where(slot => IsOurs(slot) && !gone.Contains(slot.Head.Slot))
                .Select(slot => (slot.Head.Slot, PublicKey: PublicKeyOf(slot, store.Epochs)))
                .Where(static slot => slot.PublicKey is not null)
                .Select(static slot => new EpochRecipient(slot.Slot, slot.PublicKey!)),
        ];

        if (recipients.Count > EpochObject.MaxSlots || recipients.TrueForAll(recipient => recipient.SlotId != current))
        {
            throw new BackupIQException(ErrorCodes.Validation, $"At most {EpochObject.MaxSlots} keys, among them the one in use, can follow.");
        }

        ushort epoch = (ushort)(_keys.CurrentEpoch + 1);
        await PutEpochAsync(epoch, recipients, current, cancellationToken);

        // Who adds a slot puts it and then looks for a new epoch; who begins one puts that and then looks for new slots.
        await waitForListings(cancellationToken);
        KeySlotStore after = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        foreach (string id in gone)
        {
            await _storage.DeleteAsync(RepositoryLayout.KeySlot(id), cancellationToken);
        }

        await after.Epochs.RestoreCopiesAsync(_storage, _keys, cancellationToken);
        HashSet<string> expected = [.. recipients.Select(static recipient => recipient.SlotId), .. gone];
        return new EpochOutcome(epoch, [.. after.Slots.Where(slot => IsOurs(slot) && !expected.Contains(slot.Head.Slot)).Select(slot => Info(slot, after.Epochs))]);
    }

    /// <summary>The head of a new slot.</summary>
    internal static KeySlotHead NewHead(RepositoryId repository, KdfParameters kdf, string type, string label, DateTimeOffset created) => new()
    {
        Format = KeySlotHead.CurrentFormat,
        Repository = repository.ToString(),
        Slot = RandomNumberGenerator.GetHexString(2 * KeySlot.IdSize, lowercase: true),
        Type = type,
        Label = RequireLabel(label),
        Created = created,
        Kdf = kdf,
    };

    /// <summary>Refuses labels that are too long or would act on a terminal.</summary>
    internal static string RequireLabel(string label) =>
        label.Length <= CreateOptions.MaxLabelLength && !label.Any(char.IsControl)
            ? label
            : throw new BackupIQException(
                ErrorCodes.Validation, $"A label has at most {CreateOptions.MaxLabelLength} characters and no control characters.");

    private static string Printable(string text) => string.Concat(text.Where(c => !char.IsControl(c)).Take(64));

    private KeySlotHead NewHead(string type, string label) =>
        NewHead(_keys.Repository, _configuration.Head.Kdf, type, label, _time.GetUtcNow());

    private bool IsOurs(KeySlot slot) => slot.Repository == _keys.Repository;

    // Labels come from the storage and go to terminals.
    private KeySlotInfo Info(KeySlot slot, EpochChain epochs) =>
        new(slot.Head.Slot, Printable(slot.Head.Type), Printable(slot.Head.Label), slot.Head.Created, slot.Head.Slot == Current)
        {
            Epoch = epochs.ReachOf(slot, _keys),
            CanFollow = PublicKeyOf(slot, epochs) is not null,
            ServiceKey = slot.Head.Kms is { } kms ? (Printable(kms.Service), Printable(kms.Key)) : null,
        };

    // A slot that an earlier epoch left out has no part in the next one, whatever it says of itself: its holder may have made it anew.
    private byte[]? PublicKeyOf(KeySlot slot, EpochChain epochs) =>
        KeySlot.IsKnown(slot.Head.Type) && epochs.ReachOf(slot, _keys) == _keys.CurrentEpoch ? slot.ProvenPublicKey(_keys) : null;

    // The secret of the slot in use is at hand; a key service's is bound to the slot's id. A crash may have left two slots of that secret.
    private bool OpensWithMine(KeySlot slot)
    {
        if (_secret is null || slot.Head.Type == KeySlotHead.ServiceType || slot.TryOpen(_secret.Bytes, out RepositoryKeys? keys) != SlotTrial.Opened)
        {
            return false;
        }

        keys!.Dispose();
        return true;
    }

    private void RequireThatAllFollow(KeySlotStore store, IReadOnlyCollection<string> leaveOut)
    {
        if (store.Slots.FirstOrDefault(slot => IsOurs(slot) && !leaveOut.Contains(slot.Head.Slot) && PublicKeyOf(slot, store.Epochs) is null && !OpensWithMine(slot)) is { } stuck)
        {
            throw new BackupIQException(
                ErrorCodes.Validation,
                $"Key {stuck.Head.Slot} ({Printable(stuck.Head.Label)}) was made by an older version, or left out of an earlier epoch, and cannot follow without its secret.",
                "Change it first ('backupiq key passwd ID' for a password), or let it be removed.");
        }
    }

    private async Task<KeySlotInfo> WrapAnewAsync(KeySlot own, CancellationToken cancellationToken)
    {
        KeySlotHead head = NewHead(own.Head.Type, own.Head.Label) with { Kdf = own.Head.Kdf, Created = own.Head.Created, Unknown = own.Head.Unknown };
        return await PutAsync(head, KeySlot.SealFollowing(_keys, head, _secret!.Bytes), cancellationToken);
    }

    private async Task PutEpochAsync(ushort epoch, List<EpochRecipient> recipients, string current, CancellationToken cancellationToken)
    {
        byte[] master = GC.AllocateArray<byte>(RepositoryKeys.KeySize, pinned: true);
        RandomNumberGenerator.Fill(master);
        try
        {
            using ECDiffieHellman ephemeral = SlotAgreement.NewKey();
            byte[] bytes = EpochObject.Compose(_keys, master, recipients, _time.GetUtcNow(), ephemeral);
            foreach (char copy in "ab")
            {
                if (await _storage.PutAsync(RepositoryLayout.KeyEpoch(epoch, copy), StorageContent.FromBytes(bytes), cancellationToken) != PutOutcome.Stored && copy == 'a')
                {
                    throw new BackupIQException(
                        ErrorCodes.RepositoryBusy, $"Key epoch {epoch} is there already: somebody else began it, or put something else in its place.", "Run again; 'backupiq key list' tells more.");
                }
            }

            // Nothing goes before what is there now was seen to open.
            KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
            byte[]? opened = store.Epochs.Find(_keys, epoch)?.TryUnwrap(_keys, current, _secret!.Bytes, out _);
            if (opened is null || !CryptographicOperations.FixedTimeEquals(opened, master))
            {
                throw new CorruptDataException($"{RepositoryLayout.KeyEpoch(epoch, 'a')}: the storage does not give back what was put; no key was removed.");
            }

            CryptographicOperations.ZeroMemory(opened);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(master);
        }
    }

    private async Task<bool> AnotherIsWholeAsync(string slotId, CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);

        // One that an epoch left out does not count: without the others nobody could open what is newer.
        return store.Slots.Any(slot =>
            IsOurs(slot) && slot.Head.Slot != slotId && KeySlot.IsKnown(slot.Head.Type) && store.Epochs.ReachOf(slot, _keys) >= _keys.CurrentEpoch);
    }

    // First the slot, then a look at the epochs: either whoever begins one finds the slot, or the slot's maker finds the epoch.
    private async Task<KeySlotInfo> PutAsync(KeySlotHead head, byte[] slot, CancellationToken cancellationToken)
    {
        _keys.RequireCurrent();
        if (await _storage.PutAsync(RepositoryLayout.KeySlot(head.Slot), StorageContent.FromBytes(slot), cancellationToken) != PutOutcome.Stored)
        {
            throw new BackupIQException(ErrorCodes.Storage, "The storage says that a key slot of a new random id is already there.");
        }

        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        if (store.Epochs.Find(_keys, (ushort)(_keys.CurrentEpoch + 1)) is { } begun && !begun.Follows(head.Slot, KeySlot.TryParse(head.Slot, slot, out _)?.ProvenPublicKey(_keys)))
        {
            await _storage.DeleteAsync(RepositoryLayout.KeySlot(head.Slot), CancellationToken.None);
            throw new BackupIQException(ErrorCodes.RepositoryBusy, "A new key epoch began meanwhile; no key was added.", "Run again.");
        }

        await store.Epochs.RestoreCopiesAsync(_storage, _keys, cancellationToken);

        return new KeySlotInfo(head.Slot, head.Type, head.Label, head.Created, IsCurrent: false) { Epoch = _keys.CurrentEpoch, CanFollow = true };
    }
}
