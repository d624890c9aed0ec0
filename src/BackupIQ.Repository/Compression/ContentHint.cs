namespace BackupIQ.Repository.Compression;

/// <summary>What is known of a frame's content before it is looked at.</summary>
public enum ContentHint
{
    /// <summary>Nothing: the bytes themselves must tell.</summary>
    Unknown = 0,

    /// <summary>Its file type is compressed or encrypted already. The bytes have the last word: plainly compressible ones are compressed.</summary>
    Incompressible = 1,

    /// <summary>Known to compress: the repository's own metadata, or chunks that were looked at. Not probed again.</summary>
    Compressible = 2,

    /// <summary>Looked at, and not worth compressing. Not probed again.</summary>
    Stored = 3,
}
