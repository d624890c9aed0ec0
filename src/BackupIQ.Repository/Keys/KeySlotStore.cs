using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Keys;

/// <summary>The key slots of a storage as they were read at one moment: whole ones, and what is wrong with the others.</summary>
internal sealed class KeySlotStore
{
    // A hostile storage may list slots without end, and each parameter set costs a slow derivation.
    private const int MaxSlots = 1000;
    private const int MaxParameterSets = 4;

    private KeySlotStore(IReadOnlyList<KeySlot> slots, IReadOnlyList<RepositoryFinding> findings)
    {
        Slots = slots;
        Findings = findings;
    }

    public IReadOnlyList<KeySlot> Slots { get; }

    public IReadOnlyList<RepositoryFinding> Findings { get; }

    public bool IsEmpty => Slots.Count == 0 && Findings.Count == 0;

    /// <summary>Reads all slots, in the order of their ids. Names that are no slot's are left alone.</summary>
    public static async Task<KeySlotStore> LoadAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        List<StoredObject> listed = [];
        await foreach (StoredObject item in storage.ListAsync(RepositoryLayout.KeyPrefix, cancellationToken))
        {
            if (KeySlot.IsId(item.Key.Value[RepositoryLayout.KeyPrefix.Length..]) && listed.Count < MaxSlots)
            {
                listed.Add(item);
            }
        }

        listed.Sort((left, right) => string.CompareOrdinal(left.Key.Value, right.Key.Value));
        List<KeySlot> slots = [];
        List<RepositoryFinding> findings = [];
        foreach (StoredObject item in listed)
        {
            (byte[]? bytes, string problem) = await SmallObject.ReadAsync(storage, item.Key, HeadedObject.MaxSize, cancellationToken);
            if (bytes is not null && KeySlot.TryParse(item.Key.Value[RepositoryLayout.KeyPrefix.Length..], bytes, out problem) is { } slot)
            {
                slots.Add(slot);
            }
            else if (problem.Length > 0)
            {
                findings.Add(new RepositoryFinding(item.Key.Value, problem));
            }
        }

        return new KeySlotStore(slots, findings);
    }

    /// <summary>
    /// Opens the keyring by whichever credential fits whichever slot. A damaged slot keeps no other from opening.
    /// With <paramref name="repository"/> only slots of that repository count.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>Authentication</c>: nothing fits. <c>KeyDamaged</c>: nothing fits, but some slots could not be tried because they are damaged.
    /// </exception>
    public OpenedKeys Open(Credentials credentials, RepositoryId? repository)
    {
        List<RepositoryFinding> findings = [.. Findings];
        List<KeySlot> slots = [.. Slots.Where(slot => repository is null || slot.Repository == repository)];
        OpenedKeys? opened = null;
        if (credentials.RecoveryKit is { } kit)
        {
            opened = TryAll(slots, KeySlotHead.KitType, kit.Secret.Bytes, findings) ?? TryKitItself(kit, repository, findings);
        }

        if (opened is null && credentials.KeyFile is { } keyFile)
        {
            opened = TryAll(slots, KeySlotHead.KeyFileType, keyFile.Bytes, findings);
        }

        if (opened is null && credentials.Password is { } password)
        {
            opened = TryPassword(slots, password, findings);
        }

        if (opened is not null)
        {
            return opened with { Findings = findings };
        }

        if (findings.Count > 0 || slots.Count == 0)
        {
            BackupIQException damaged = new(
                ErrorCodes.KeyDamaged,
                slots.Count == 0
                    ? "No key slot of this repository is whole."
                    : $"What was given opens none of the {slots.Count} whole key slots; {findings.Count} more could not be tried, for they are damaged.");
            for (int i = 0; i < findings.Count; i++)
            {
                damaged.With($"damage{i + 1}", findings[i].ToString());
            }

            throw damaged;
        }

        throw new BackupIQException(
            ErrorCodes.Authentication, $"What was given opens none of the {slots.Count} key slots of this repository.");
    }

    private static OpenedKeys? TryPassword(List<KeySlot> slots, Secret password, List<RepositoryFinding> findings)
    {
        int sets = 0;
        List<KeySlot> waiting = [.. slots.Where(slot => slot.Head.Type == KeySlotHead.PasswordType)];
        while (waiting.Count > 0)
        {
            KdfParameters parameters = waiting[0].Head.Kdf;
            if (sets++ == MaxParameterSets)
            {
                findings.AddRange(waiting.Select(slot => new RepositoryFinding(
                    RepositoryLayout.KeySlot(slot.Head.Slot).Value, "it was not tried, for the slots disagree on how keys are derived")));
                return null;
            }

            List<KeySlot> alike = [.. waiting.Where(slot => slot.Head.Kdf.IsSameAs(parameters))];
            waiting.RemoveAll(alike.Contains);
            byte[] derived = parameters.Derive(password.Bytes);
            try
            {
                if (TryAll(alike, KeySlotHead.PasswordType, derived, findings) is { } opened)
                {
                    return opened;
                }
            }
            finally
            {
                System.Security.Cryptography.CryptographicOperations.ZeroMemory(derived);
            }
        }

        return null;
    }

    private static OpenedKeys? TryAll(List<KeySlot> slots, string type, ReadOnlySpan<byte> secret, List<RepositoryFinding> findings)
    {
        foreach (KeySlot slot in slots)
        {
            if (slot.Head.Type != type)
            {
                continue;
            }

            switch (slot.TryOpen(secret, out RepositoryKeys? keys))
            {
                case SlotTrial.Opened:
                    return new OpenedKeys(keys!, slot.Head.Slot, []);
                case SlotTrial.Damaged:
                    findings.Add(new RepositoryFinding(
                        RepositoryLayout.KeySlot(slot.Head.Slot).Value, "the secret is right, but what it wraps does not open"));
                    break;
                default:
                    break;
            }
        }

        return null;
    }

    private static OpenedKeys? TryKitItself(RecoveryKit kit, RepositoryId? repository, List<RepositoryFinding> findings)
    {
        if (kit.Block is null || KeySlot.TryParse(kit.Block.SlotId, kit.Block.Slot, out _) is not { } slot
            || (repository is not null && slot.Repository != repository)
            || TryAll([slot], KeySlotHead.KitType, kit.Secret.Bytes, findings) is not { } opened)
        {
            return null;
        }

        findings.Add(new RepositoryFinding(
            RepositoryLayout.KeySlot(slot.Head.Slot).Value, "the recovery kit's own slot is not there; the copy in the kit was used"));
        return opened;
    }
}

/// <summary>An opened keyring, the slot that opened it, and the damage met on the way.</summary>
internal sealed record OpenedKeys(RepositoryKeys Keys, string SlotId, IReadOnlyList<RepositoryFinding> Findings);
