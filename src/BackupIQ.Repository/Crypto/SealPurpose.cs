namespace BackupIQ.Repository.Crypto;

/// <summary>
/// What a key seals. Each purpose has its own label in the derivation, so that bytes sealed for one never open as another.
/// The numbers stand in no object, the labels (<see cref="KeyLabels"/>) are format.
/// </summary>
internal enum SealPurpose : byte
{
    /// <summary>Frames of file content.</summary>
    Data = 1,

    /// <summary>Frames of trees and scans.</summary>
    Metadata = 2,

    /// <summary>Index segments.</summary>
    Index = 3,

    /// <summary>Snapshots, their partial ones and what is said about them.</summary>
    Snapshot = 4,

    /// <summary>Sessions, marks, tombstones, plans, parity, derived facts.</summary>
    Maintenance = 5,

    /// <summary>The ledger of verifications.</summary>
    Audit = 6,

    /// <summary>The sealed part of the configuration.</summary>
    Configuration = 7,
}
