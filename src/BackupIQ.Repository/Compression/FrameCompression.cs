namespace BackupIQ.Repository.Compression;

/// <summary>What became of a frame.</summary>
/// <param name="Codec">How it is stored; with <see cref="Compression.Codec.None"/> the caller stores the plain bytes.</param>
/// <param name="StoredLength">Bytes written to the destination, or the plain length with <see cref="Compression.Codec.None"/>.</param>
public readonly record struct FrameCompression(Codec Codec, int StoredLength);
