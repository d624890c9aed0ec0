namespace BackupIQ.Repository.Compression;

/// <summary>What is known of a frame's content before it is looked at.</summary>
public enum ContentHint
{
    /// <summary>Nothing: the bytes themselves must tell.</summary>
    Unknown = 0,

    /// <summary>Its file type is compressed or encrypted already. The bytes have the last word: plainly compressible ones are compressed.</summary>
    Incompressible = 1,

    /// <summary>The repository's own metadata: compresses well, is never probed.</summary>
    Metadata = 2,
}
