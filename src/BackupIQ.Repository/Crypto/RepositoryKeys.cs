using System.Buffers.Binary;
using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Crypto;

/// <summary>
/// The opened keyring: a master key for each epoch; the id key and the gear key, which stay the same across epochs so that deduplication
/// goes on. Thread-safe for reading. Its memory is wiped when disposed, and its spans must not be used after that.
/// </summary>
public sealed class RepositoryKeys : IDisposable
{
    /// <summary>Length of every key in bytes.</summary>
    public const int KeySize = 32;

    private readonly SortedDictionary<ushort, byte[]> _masters = [];
    private readonly byte[] _idKey;
    private readonly byte[] _gearKey;
    private readonly byte[] _extension;
    private readonly byte[] _dataIdKey = NewKey();
    private readonly byte[] _metadataIdKey = NewKey();
    private bool _disposed;

    /// <summary>Takes copies of the keys. At least one master.</summary>
    internal RepositoryKeys(
        RepositoryId repository,
        IEnumerable<KeyValuePair<ushort, byte[]>> masters,
        ReadOnlySpan<byte> idKey,
        ReadOnlySpan<byte> gearKey,
        ReadOnlySpan<byte> extension = default)
    {
        Repository = repository;
        foreach ((ushort epoch, byte[] master) in masters)
        {
            _masters.Add(epoch, Copy(master));
            CurrentEpoch = Math.Max(CurrentEpoch, epoch);
        }

        ArgumentOutOfRangeException.ThrowIfZero(_masters.Count);
        _idKey = Copy(idKey);
        _gearKey = Copy(gearKey);
        _extension = GC.AllocateArray<byte>(extension.Length, pinned: true);
        extension.CopyTo(_extension);
        KeyLabels.Derive(_idKey, [], KeyLabels.DataId, repository, _dataIdKey);
        KeyLabels.Derive(_idKey, [], KeyLabels.MetadataId, repository, _metadataIdKey);
    }

    /// <summary>The repository whose keys these are.</summary>
    public RepositoryId Repository { get; }

    /// <summary>
    /// Draws the salt of every new pack and object: from the system's generator. Tests that run the same steps again number them instead.
    /// </summary>
    internal Func<Salt> NewSalt { get; init; } = Salt.New;

    /// <summary>The newest epoch: everything new is sealed under its master.</summary>
    public ushort CurrentEpoch { get; }

    /// <summary>
    /// The epoch that was begun without the key that opened this keyring: what was written before can be read, and nothing is sealed any more.
    /// Null: these are the keys of today.
    /// </summary>
    public ushort? OutdatedBy { get; init; }

    /// <summary>The key of the ids of file content.</summary>
    public ReadOnlySpan<byte> DataIdKey => Alive(_dataIdKey);

    /// <summary>The key of the ids of trees and scans; another than <see cref="DataIdKey"/>, so that file content never passes as a tree.</summary>
    public ReadOnlySpan<byte> MetadataIdKey => Alive(_metadataIdKey);

    /// <summary>The key of the chunker's gear table.</summary>
    public ReadOnlySpan<byte> GearKey => Alive(_gearKey);

    /// <summary>The key from which both id keys are derived; only key slots hold it.</summary>
    internal ReadOnlySpan<byte> IdKey => Alive(_idKey);

    /// <summary>What a newer version keeps in its keyrings; unknown here, and kept when a keyring is wrapped again.</summary>
    internal ReadOnlySpan<byte> Extension => Alive(_extension);

    /// <summary>The masters by epoch, ascending; only key slots hold them.</summary>
    internal IReadOnlyDictionary<ushort, byte[]> Masters
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return _masters;
        }
    }

    /// <summary>Whether the keyring has the master key of <paramref name="epoch"/>.</summary>
    internal bool HoldsEpoch(ushort epoch) => _masters.ContainsKey(epoch);

    /// <summary>A new, random keyring with epoch 1; <paramref name="gearKey"/> is another repository's when both are to chunk alike.</summary>
    internal static RepositoryKeys Create(RepositoryId repository, ReadOnlySpan<byte> gearKey = default)
    {
        byte[] master = NewKey();
        byte[] id = NewKey();
        byte[] gear = NewKey();
        try
        {
            RandomNumberGenerator.Fill(master);
            RandomNumberGenerator.Fill(id);
            RandomNumberGenerator.Fill(gear);
            return new RepositoryKeys(repository, [new(1, master)], id, gearKey.IsEmpty ? gear : gearKey);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(master);
            CryptographicOperations.ZeroMemory(id);
            CryptographicOperations.ZeroMemory(gear);
        }
    }

    /// <summary>The same keyring with a further epoch; a copy, so the caller disposes both.</summary>
    internal RepositoryKeys With(ushort epoch, byte[] master) => new(Repository, [.. _masters, new(epoch, master)], _idKey, _gearKey, _extension) { NewSalt = NewSalt };

    /// <summary>The same keyring, which knows that it is outdated; a copy, so the caller disposes both.</summary>
    internal RepositoryKeys OutdatedSince(ushort epoch) => new(Repository, _masters, _idKey, _gearKey, _extension) { NewSalt = NewSalt, OutdatedBy = epoch };

    /// <summary>Refuses to seal or to change anything with keys that are not those of today.</summary>
    /// <exception cref="BackupIQException"><c>KeyOutdated</c></exception>
    internal void RequireCurrent()
    {
        if (OutdatedBy is { } epoch)
        {
            throw Outdated(epoch);
        }
    }

    internal static BackupIQException Outdated(ushort epoch) => new(
        ErrorCodes.KeyOutdated,
        $"The key that opened the repository was left out when key epoch {epoch} began: it reads what was written before, and does nothing else.");

    /// <summary>
    /// The cipher of one salt row and purpose: AES-256-GCM under HKDF-SHA256(master of the epoch, salt, label ‖ repository id).
    /// The caller owns it.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>UnsupportedFormat</c>: an unknown source. <c>KeyDamaged</c>: the keyring has no master of that epoch.
    /// </exception>
    internal FrameCipher CreateCipher(in SaltRow row, SealPurpose purpose)
    {
        Span<byte> key = stackalloc byte[KeySize];
        try
        {
            DeriveSealingKey(row, purpose, key);
            return new FrameCipher(key);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
        }
    }

    /// <summary>
    /// GCM's hash key under the same derived key (the zero block encrypted), as the number whose highest bit is the field's x^0. With it tags can
    /// be forged, so it is as secret as the key.
    /// </summary>
    internal UInt128 HashKeyOf(in SaltRow row, SealPurpose purpose)
    {
        Span<byte> key = stackalloc byte[KeySize];
        Span<byte> block = stackalloc byte[16];
        block.Clear();
        try
        {
            DeriveSealingKey(row, purpose, key);
            using Aes aes = Aes.Create();
            aes.SetKey(key);
            aes.EncryptEcb(block, block, PaddingMode.None);
            return BinaryPrimitives.ReadUInt128BigEndian(block);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(block);
        }
    }

    private void DeriveSealingKey(in SaltRow row, SealPurpose purpose, Span<byte> key)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (row.Source != SaltRow.FromMaster)
        {
            throw SaltRow.UnknownSource(row.Source);
        }

        if (!_masters.TryGetValue(row.Epoch, out byte[]? master))
        {
            throw new BackupIQException(
                ErrorCodes.KeyDamaged, $"Sealed under key epoch {row.Epoch}, which the keyring that was opened does not have (was a new epoch begun since? Then run again).");
        }

        Span<byte> salt = stackalloc byte[Salt.Size];
        row.Salt.Write(salt);
        KeyLabels.Derive(master, salt, KeyLabels.Of(purpose), Repository, key);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _disposed = true;
        foreach (byte[] master in _masters.Values)
        {
            CryptographicOperations.ZeroMemory(master);
        }

        CryptographicOperations.ZeroMemory(_idKey);
        CryptographicOperations.ZeroMemory(_gearKey);
        CryptographicOperations.ZeroMemory(_extension);
        CryptographicOperations.ZeroMemory(_dataIdKey);
        CryptographicOperations.ZeroMemory(_metadataIdKey);
    }

    // Pinned, so that the collector never leaves a copy behind that nobody wipes.
    private static byte[] NewKey() => GC.AllocateArray<byte>(KeySize, pinned: true);

    private static byte[] Copy(ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, KeySize);
        byte[] copy = NewKey();
        key.CopyTo(copy);
        return copy;
    }

    private ReadOnlySpan<byte> Alive(byte[] key)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return key;
    }
}
