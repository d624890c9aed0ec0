using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Keys;

/// <summary>The key slots of a storage as they were read at one moment: whole ones, and what is wrong with the others.</summary>
internal sealed class KeySlotStore
{
    // A hostile storage may list slots without end, and each parameter set costs a slow derivation.
    private const int MaxSlots = 1000;
    private const int MaxParameterSets = 4;

    private KeySlotStore(IReadOnlyList<KeySlot> slots, IReadOnlyList<RepositoryFinding> findings, EpochChain epochs)
    {
        Slots = slots;
        Findings = findings;
        Epochs = epochs;
    }

    public IReadOnlyList<KeySlot> Slots { get; }

    public IReadOnlyList<RepositoryFinding> Findings { get; }

    /// <summary>The key epochs that were begun since the repository was made.</summary>
    public EpochChain Epochs { get; }

    public bool IsEmpty => Slots.Count == 0 && Findings.Count == 0;

    /// <summary>Reads all slots, in the order of their ids. Names that are no slot's are left alone.</summary>
    public static async Task<KeySlotStore> LoadAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        List<StoredObject> listed = [];
        EpochChain epochs = new();
        await foreach (StoredObject item in storage.ListAsync(RepositoryLayout.KeyPrefix, cancellationToken))
        {
            if (KeySlot.IsId(item.Key.Value[RepositoryLayout.KeyPrefix.Length..]) && listed.Count < MaxSlots)
            {
                listed.Add(item);
            }
            else if (RepositoryLayout.TryParseKeyEpoch(item.Key, out ushort epoch, out _))
            {
                epochs.Add(epoch);
            }
        }

        await epochs.ReadAsync(storage, cancellationToken);

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

        return new KeySlotStore(slots, findings, epochs);
    }

    /// <summary>
    /// Opens the keyring by whichever credential fits whichever slot. A damaged slot keeps no other from opening.
    /// With <paramref name="repository"/> only slots of that repository count.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>Authentication</c>: nothing fits. <c>KeyDamaged</c>: nothing fits, but some slots could not be tried because they are damaged. What
    /// the key service says: <c>KeyDisabled</c> and others of <see cref="IKeyProvider"/>.
    /// </exception>
    public async Task<OpenedKeys> OpenAsync(Credentials credentials, RepositoryId? repository, CancellationToken cancellationToken)
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

        if (opened is null && credentials.KeyProvider is { } provider)
        {
            opened = await TryServiceAsync(slots, provider, findings, cancellationToken);
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
            ErrorCodes.Authentication, $"What was given opens none of the {slots.Count} key slots of this repository.", OtherServiceKeys(slots, credentials.KeyProvider));
    }

    // Names of keys are no secret, and a slip in one is the likeliest reason.
    private static string? OtherServiceKeys(List<KeySlot> slots, IKeyProvider? provider)
    {
        string[] others = [.. slots.Select(static slot => slot.Head.Kms).OfType<KeySlotService>().Select(static kms => $"'{kms.Key}' of {kms.Service}").Distinct().Take(3)];
        return provider is null || others.Length == 0 ? null : $"--kms names '{provider.Key}' of {provider.Service}; there are slots for {string.Join(", ", others)}.";
    }

    private async Task<OpenedKeys?> TryServiceAsync(
        List<KeySlot> slots, IKeyProvider provider, List<RepositoryFinding> findings, CancellationToken cancellationToken)
    {
        foreach (KeySlot slot in slots)
        {
            if (slot.Head is not { Type: KeySlotHead.ServiceType, Kms: { } kms } || kms.Service != provider.Service || kms.Key != provider.Key)
            {
                continue;
            }

            try
            {
                using Secret secret = await provider.UnwrapAsync(kms.Wrapped, KeySlot.ContextOf(slot.Repository, slot.Head.Slot), cancellationToken);
                if (TryAll([slot], KeySlotHead.ServiceType, secret.Bytes, findings) is { } opened)
                {
                    return opened;
                }
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.KeyDamaged)
            {
                findings.Add(new RepositoryFinding(RepositoryLayout.KeySlot(slot.Head.Slot).Value, "the key service does not unwrap its secret"));
            }
        }

        return null;
    }

    private OpenedKeys? TryPassword(List<KeySlot> slots, Secret password, List<RepositoryFinding> findings)
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

    // A key that was left out of an epoch still opens what is older; another slot of the same secret may open more.
    private OpenedKeys? TryAll(List<KeySlot> slots, string type, ReadOnlySpan<byte> secret, List<RepositoryFinding> findings)
    {
        (OpenedKeys Keys, List<RepositoryFinding> Findings)? outdated = null;
        foreach (KeySlot slot in slots.Where(slot => slot.Head.Type == type))
        {
            switch (slot.TryOpen(secret, out RepositoryKeys? keys))
            {
                case SlotTrial.Opened:
                    List<RepositoryFinding> met = [];
                    OpenedKeys opened = new(Epochs.Extend(keys!, slot, secret, met), slot.Head.Slot, []) { Secret = new Secret(secret) };
                    if (opened.Keys.OutdatedBy is null)
                    {
                        outdated?.Keys.Dispose();
                        findings.AddRange(met);
                        return opened;
                    }

                    outdated?.Keys.Dispose();
                    outdated = (opened, met);
                    break;
                case SlotTrial.Damaged:
                    findings.Add(new RepositoryFinding(
                        RepositoryLayout.KeySlot(slot.Head.Slot).Value, "the secret is right, but what it wraps does not open"));
                    break;
                default:
                    break;
            }
        }

        findings.AddRange(outdated?.Findings ?? []);
        return outdated?.Keys;
    }

    private OpenedKeys? TryKitItself(RecoveryKit kit, RepositoryId? repository, List<RepositoryFinding> findings)
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
internal sealed record OpenedKeys(RepositoryKeys Keys, string SlotId, IReadOnlyList<RepositoryFinding> Findings) : IDisposable
{
    /// <summary>The slot's secret, with which the keyring can be wrapped anew for the same holder. Whoever has the record disposes it.</summary>
    public required Secret Secret { get; init; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Keys.Dispose();
        Secret.Dispose();
    }
}
