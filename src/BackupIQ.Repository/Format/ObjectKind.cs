using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Format;

/// <summary>What an object outside packs is. The numbers stand in every sealed object: they are format and are never given twice.</summary>
public enum ObjectKind : byte
{
    Configuration = 1,

    /// <summary>Numbered for the record; a slot is not sealed under the keyring (it holds it) and has its own form.</summary>
    KeySlot = 2,
    Index = 3,
    SessionOpen = 4,
    SessionBeat = 5,
    SessionEnd = 6,
    Snapshot = 7,
    Fence = 8,
    PartialSnapshot = 9,
    Annotation = 10,
    Mark = 11,
    Tombstone = 12,
    Log = 13,
    Facts = 14,
    Plan = 15,
    Parity = 16,
    Ledger = 17,
    Export = 18,
}

/// <summary>Which key seals which kind.</summary>
internal static class ObjectKinds
{
    /// <summary>Whether this version knows <paramref name="kind"/> and seals it under the keyring.</summary>
    public static bool IsSealed(ObjectKind kind) => kind is ObjectKind.Configuration or (>= ObjectKind.Index and <= ObjectKind.Export);

    /// <summary>The purpose, and with it the key label, of a kind.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Key slots and unknown kinds are not sealed under the keyring.</exception>
    public static SealPurpose PurposeOf(ObjectKind kind) => kind switch
    {
        ObjectKind.Configuration => SealPurpose.Configuration,
        ObjectKind.Index => SealPurpose.Index,
        ObjectKind.Snapshot or ObjectKind.PartialSnapshot or ObjectKind.Annotation => SealPurpose.Snapshot,
        ObjectKind.SessionOpen or ObjectKind.SessionBeat or ObjectKind.SessionEnd or ObjectKind.Fence or ObjectKind.Mark
            or ObjectKind.Tombstone or ObjectKind.Plan or ObjectKind.Parity => SealPurpose.Maintenance,
        ObjectKind.Log or ObjectKind.Export => SealPurpose.Data,
        ObjectKind.Facts => SealPurpose.Metadata,
        ObjectKind.Ledger => SealPurpose.Audit,
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "Not a kind that is sealed under the keyring."),
    };
}
