using System.Security.Cryptography;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// The key epochs of a storage as they were read at one moment. Each begins with an object that stands there twice, and leads from the master
/// before to its own: a slot knows the masters up to its making, and the chain has the later ones.
/// </summary>
internal sealed class EpochChain
{
    private readonly SortedDictionary<ushort, List<EpochObject>> _epochs = [];
    private readonly List<RepositoryFinding> _findings = [];

    /// <summary>The epochs that have an object, whole or not.</summary>
    public IReadOnlyCollection<ushort> Numbers => _epochs.Keys;

    /// <summary>Damaged and missing copies.</summary>
    public IReadOnlyList<RepositoryFinding> Findings => _findings;

    public void Add(ushort epoch) => _epochs.TryAdd(epoch, []);

    /// <summary>Reads the copies of all epochs that were added.</summary>
    public async Task ReadAsync(IStorageBackend storage, CancellationToken cancellationToken)
    {
        foreach ((ushort epoch, List<EpochObject> copies) in _epochs)
        {
            foreach (char copy in "ab")
            {
                StorageKey name = RepositoryLayout.KeyEpoch(epoch, copy);
                (byte[]? bytes, string problem) = await SmallObject.ReadAsync(storage, name, HeadedObject.MaxSize, cancellationToken);
                if (bytes is not null && EpochObject.TryParse(epoch, bytes, out problem) is { } read)
                {
                    copies.Add(read);
                }
                else
                {
                    _findings.Add(new RepositoryFinding(name.Value, problem.Length > 0 ? problem : "it is missing; its other copy serves, and any change of keys puts it back"));
                }
            }
        }
    }

    /// <summary>The object that holders of the master before made, which <paramref name="keys"/> must have; null: there is none.</summary>
    public EpochObject? Find(RepositoryKeys keys, ushort epoch) =>
        _epochs.TryGetValue(epoch, out List<EpochObject>? copies) ? copies.Find(copy => copy.IsProven(keys)) : null;

    /// <summary>
    /// The keyring that a slot wraps, with the masters of the epochs since; or outdated, where one of them began without the slot. Takes
    /// <paramref name="keys"/>. What was met is added to the findings.
    /// </summary>
    public RepositoryKeys Extend(RepositoryKeys keys, KeySlot slot, ReadOnlySpan<byte> secret, List<RepositoryFinding> findings)
    {
        findings.AddRange(_findings);
        for (int next = keys.CurrentEpoch + 1; _epochs.ContainsKey((ushort)next); next++)
        {
            ushort epoch = (ushort)next;
            string name = RepositoryLayout.KeyEpoch(epoch, 'a').Value;
            if (Find(keys, epoch) is not { } begun)
            {
                if (_epochs[epoch].Count > 0)
                {
                    // Whoever can write into the storage can put such a thing: it must keep nobody from anything.
                    findings.Add(new RepositoryFinding(name, "no holder of the keys made it, so it is left alone; delete it"));
                }

                return keys;
            }

            byte[]? master = begun.TryUnwrap(keys, slot.Head.Slot, secret, out bool isDamaged);
            RepositoryKeys known = keys;
            if (master is null)
            {
                findings.Add(new RepositoryFinding(
                    name, isDamaged ? $"what it holds for key {slot.Head.Slot} does not open" : $"key epoch {epoch} began without key {slot.Head.Slot}, which reads what was written before and does nothing else"));
                keys = keys.OutdatedSince(epoch);
                known.Dispose();
                return keys;
            }

            keys = keys.With(epoch, master);
            known.Dispose();
            CryptographicOperations.ZeroMemory(master);
        }

        if (_epochs.Count > 0 && _epochs.Keys.Last() > keys.CurrentEpoch)
        {
            findings.Add(new RepositoryFinding(
                RepositoryLayout.KeyEpoch((ushort)(keys.CurrentEpoch + 1), 'a').Value, $"it is missing, though there is epoch {_epochs.Keys.Last()}"));
        }

        return keys;
    }

    /// <summary>Puts back copies that are missing or damaged, where the other one is proven.</summary>
    public async Task RestoreCopiesAsync(IStorageBackend storage, RepositoryKeys keys, CancellationToken cancellationToken)
    {
        foreach ((ushort epoch, List<EpochObject> copies) in _epochs)
        {
            if (Find(keys, epoch) is not { } whole || (copies.Count == 2 && copies.TrueForAll(copy => copy.IsProven(keys))))
            {
                continue;
            }

            foreach (char copy in "ab")
            {
                StorageKey name = RepositoryLayout.KeyEpoch(epoch, copy);
                (byte[]? bytes, _) = await SmallObject.ReadAsync(storage, name, HeadedObject.MaxSize, cancellationToken);
                if (bytes is null || EpochObject.TryParse(epoch, bytes, out _)?.IsProven(keys) != true)
                {
                    await storage.DeleteAsync(name, cancellationToken);
                    await storage.PutAsync(name, StorageContent.FromBytes(whole.ToBytes()), cancellationToken);
                }
            }
        }
    }

    /// <summary>
    /// The newest epoch that a slot opens, as far as <paramref name="keys"/> can tell; null: it cannot be told, for the slot does not say from
    /// when it is.
    /// </summary>
    public ushort? ReachOf(KeySlot slot, RepositoryKeys keys)
    {
        if (slot.Head.Epoch is not { } reach)
        {
            return _epochs.Count == 0 ? keys.CurrentEpoch : null;
        }

        byte[]? publicKey = slot.ProvenPublicKey(keys);
        while (reach < keys.CurrentEpoch && publicKey is not null && Find(keys, (ushort)(reach + 1)) is { } begun && begun.Follows(slot.Head.Slot, publicKey))
        {
            reach++;
        }

        return reach;
    }
}
