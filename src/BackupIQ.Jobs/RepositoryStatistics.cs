namespace BackupIQ.Jobs;

/// <summary>What a repository holds.</summary>
public sealed record RepositoryStatistics
{
    /// <summary>Bytes that restoring every chosen snapshot would write.</summary>
    public required long TotalSize { get; init; }

    /// <summary>Files in all chosen snapshots.</summary>
    public required long TotalFiles { get; init; }

    public required int Snapshots { get; init; }

    /// <summary>Bytes of packs on the storage.</summary>
    public required long StoredSize { get; init; }

    /// <summary>Chunks in the index.</summary>
    public required long Blobs { get; init; }

    /// <summary>Bytes of all chunks, each once, before compression.</summary>
    public required long UniqueSize { get; init; }

    /// <summary>Bytes of <see cref="UniqueSize"/> for each byte stored.</summary>
    public double CompressionRatio => StoredSize == 0 ? 1 : (double)UniqueSize / StoredSize;

    /// <summary>Bytes of <see cref="TotalSize"/> for each byte of different data; 1 where there is nothing.</summary>
    public required double DedupRatio { get; init; }

    /// <summary>Damage that was met and left out, a sentence each.</summary>
    public required IReadOnlyList<string> Findings { get; init; }

    /// <summary>By codec, when it was asked for.</summary>
    public IReadOnlyList<CompressionShare> ByCodec { get; init; } = [];

    /// <summary>By kind of content, when it was asked for.</summary>
    public IReadOnlyList<CompressionShare> ByCategory { get; init; } = [];
}

/// <summary>What came of compressing a part of the data.</summary>
/// <param name="Name">A codec, or a category of files.</param>
/// <param name="Count">Frames of the codec, or files of the category.</param>
/// <param name="PlainSize">Bytes before compression.</param>
/// <param name="StoredSize">Bytes after; of a category, its share of the frames that it lies in.</param>
public sealed record CompressionShare(string Name, long Count, long PlainSize, long StoredSize);
