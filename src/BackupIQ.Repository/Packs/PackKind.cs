namespace BackupIQ.Repository.Packs;

/// <summary>What a pack holds; the two never share one. The numbers are written to repositories.</summary>
public enum PackKind : byte
{
    /// <summary>Content of files; may lie in a cold tier.</summary>
    Data = 1,

    /// <summary>Trees, scans and lists of chunks; always at hand.</summary>
    Metadata = 2,
}
