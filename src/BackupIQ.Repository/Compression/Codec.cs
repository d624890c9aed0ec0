namespace BackupIQ.Repository.Compression;

/// <summary>How the bytes of a frame are coded. The numbers are part of the repository's format and never change their meaning.</summary>
public enum Codec : byte
{
    /// <summary>The plain bytes themselves.</summary>
    None = 0,

    /// <summary>One Zstandard frame (RFC 8878) with its magic, without content size, dictionary and checksum; window at most 8 MiB.</summary>
    Zstd = 1,

    /// <summary>One LZ4 block, without the LZ4 frame format around it: the lengths are known.</summary>
    Lz4 = 2,

    /// <summary>One gzip member (RFC 1952).</summary>
    Gzip = 3,

    /// <summary>One bzip2 stream.</summary>
    Bzip2 = 4,

    /// <summary>One .xz stream with an LZMA2 filter and no check; dictionary at most 4 MiB.</summary>
    Lzma = 5,
}
