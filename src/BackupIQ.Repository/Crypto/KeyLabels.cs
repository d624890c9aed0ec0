namespace BackupIQ.Repository.Crypto;

/// <summary>The labels (HKDF <c>info</c>) under which keys are derived. All of them are format: changing one makes repositories unreadable.</summary>
internal static class KeyLabels
{
    /// <summary>Of the id key: the key that names chunks of file content.</summary>
    public static ReadOnlySpan<byte> DataId => "BackupIQ/1/id/data/"u8;

    /// <summary>Of the id key: the key that names chunks of trees and scans.</summary>
    public static ReadOnlySpan<byte> MetadataId => "BackupIQ/1/id/metadata/"u8;

    /// <summary>Of the id key: the key that names series of logs.</summary>
    public static ReadOnlySpan<byte> LogId => "BackupIQ/1/id/log/"u8;

    /// <summary>Of a slot's secret: the key that wraps the keyring in a slot.</summary>
    public static ReadOnlySpan<byte> Slot(string slotType) => slotType switch
    {
        "password" => "BackupIQ/1/slot/password/"u8,
        "keyfile" => "BackupIQ/1/slot/keyfile/"u8,
        "kit" => "BackupIQ/1/slot/kit/"u8,
        "kms" => "BackupIQ/1/slot/kms/"u8,
        _ => throw new ArgumentOutOfRangeException(nameof(slotType), slotType, "Unknown slot type."),
    };

    /// <summary>Of a slot's secret: its private key.</summary>
    public static ReadOnlySpan<byte> Agreement => "BackupIQ/1/slot/agreement/"u8;

    /// <summary>Of a master: the key that proves a slot's public key.</summary>
    public static ReadOnlySpan<byte> SlotProof => "BackupIQ/1/slot/proof/"u8;

    /// <summary>Of what two key pairs agree on, and of the master before: the key that wraps a new epoch's master.</summary>
    public static ReadOnlySpan<byte> EpochWrap => "BackupIQ/1/epoch/wrap/"u8;

    /// <summary>Of the master before: the key that proves the beginning of an epoch.</summary>
    public static ReadOnlySpan<byte> EpochProof => "BackupIQ/1/epoch/proof/"u8;

    /// <summary>Of a keystore's password: the key that seals its file. The keystore's id stands in the place of the repository's.</summary>
    public static ReadOnlySpan<byte> Keystore => "BackupIQ/1/keystore/"u8;

    /// <summary>Of a keystore's key: the key that wraps one thing.</summary>
    public static ReadOnlySpan<byte> KeystoreWrap => "BackupIQ/1/keystore/wrap/"u8;

    /// <summary>Of a master key and a salt: the key of frames and sealed objects.</summary>
    public static ReadOnlySpan<byte> Of(SealPurpose purpose) => purpose switch
    {
        SealPurpose.Data => "BackupIQ/1/data/"u8,
        SealPurpose.Metadata => "BackupIQ/1/metadata/"u8,
        SealPurpose.Index => "BackupIQ/1/index/"u8,
        SealPurpose.Snapshot => "BackupIQ/1/snapshot/"u8,
        SealPurpose.Maintenance => "BackupIQ/1/maintenance/"u8,
        SealPurpose.Audit => "BackupIQ/1/audit/"u8,
        SealPurpose.Configuration => "BackupIQ/1/configuration/"u8,
        _ => throw new ArgumentOutOfRangeException(nameof(purpose), purpose, "Unknown purpose."),
    };

    /// <summary>HKDF-SHA256 with <c>info</c> = label ‖ the 16 bytes of the repository's id; fills <paramref name="output"/>.</summary>
    public static void Derive(
        ReadOnlySpan<byte> key, ReadOnlySpan<byte> salt, ReadOnlySpan<byte> label, RepositoryId repository, Span<byte> output)
    {
        Span<byte> info = stackalloc byte[64];
        label.CopyTo(info);
        repository.Write(info[label.Length..]);
        System.Security.Cryptography.HKDF.DeriveKey(
            System.Security.Cryptography.HashAlgorithmName.SHA256, key, output, salt, info[..(label.Length + RepositoryId.Size)]);
    }
}
