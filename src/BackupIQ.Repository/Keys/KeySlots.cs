using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Keys;

/// <summary>A key slot as <c>key list</c> shows it.</summary>
/// <param name="Id">32 hex digits.</param>
/// <param name="Type"><c>password</c>, <c>keyfile</c>, <c>kit</c>, or a newer version's.</param>
/// <param name="Label">What its owner calls it.</param>
/// <param name="Created">When it was made.</param>
/// <param name="IsCurrent">Whether it opened the repository now.</param>
public sealed record KeySlotInfo(string Id, string Type, string Label, DateTimeOffset Created, bool IsCurrent);

/// <summary>The slots that are whole, and what is wrong with others.</summary>
public sealed record KeySlotListing(IReadOnlyList<KeySlotInfo> Slots, IReadOnlyList<RepositoryFinding> Findings);

/// <summary>
/// The ways into an opened repository. Slots are immutable objects: a change is a new slot and then the removal of the old one, so a crash
/// in between leaves both. Removing a slot does not take the keys back from someone who has opened it before.
/// </summary>
public sealed class KeySlots
{
    private static readonly string[] KnownTypes = [KeySlotHead.PasswordType, KeySlotHead.KeyFileType, KeySlotHead.KitType];

    private readonly IStorageBackend _storage;
    private readonly RepositoryKeys _keys;
    private readonly RepositoryConfiguration _configuration;
    private readonly TimeProvider _time;

    internal KeySlots(
        IStorageBackend storage, RepositoryKeys keys, RepositoryConfiguration configuration, string? current, TimeProvider time)
    {
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
            [.. store.Slots.Where(IsOurs).Select(Info).OrderBy(slot => slot.Created).ThenBy(slot => slot.Id, StringComparer.Ordinal)],
            store.Findings);
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
            return await PutAsync(head, KeySlot.Seal(_keys, head, derived), cancellationToken);
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
        return PutAsync(head, KeySlot.Seal(_keys, head, keyFile.Bytes), cancellationToken);
    }

    /// <summary>Adds a slot for a new recovery kit and returns the kit's text, which holds the secret: store it 0600.</summary>
    public async Task<string> AddRecoveryKitAsync(string label, CancellationToken cancellationToken)
    {
        using Secret secret = Secret.Random(KitSecretText.SecretSize);
        KeySlotHead head = NewHead(KeySlotHead.KitType, label);
        byte[] slot = KeySlot.Seal(_keys, head, secret.Bytes);
        await PutAsync(head, slot, cancellationToken);
        return RecoveryKit.Compose(secret.Bytes, head.Slot, slot, _configuration, _storage.Location, head.Created);
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
            KeySlotInfo added = await PutAsync(head, KeySlot.Seal(_keys, head, derived), cancellationToken);
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
    private KeySlotInfo Info(KeySlot slot) => new(
        slot.Head.Slot, Printable(slot.Head.Type), Printable(slot.Head.Label), slot.Head.Created, slot.Head.Slot == Current);

    private async Task<bool> AnotherIsWholeAsync(string slotId, CancellationToken cancellationToken)
    {
        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, cancellationToken);
        return store.Slots.Any(slot => IsOurs(slot) && slot.Head.Slot != slotId && KnownTypes.Contains(slot.Head.Type));
    }

    private async Task<KeySlotInfo> PutAsync(KeySlotHead head, byte[] slot, CancellationToken cancellationToken)
    {
        if (await _storage.PutAsync(RepositoryLayout.KeySlot(head.Slot), StorageContent.FromBytes(slot), cancellationToken) != PutOutcome.Stored)
        {
            throw new BackupIQException(ErrorCodes.Storage, "The storage says that a key slot of a new random id is already there.");
        }

        return new KeySlotInfo(head.Slot, head.Type, head.Label, head.Created, IsCurrent: false);
    }
}
