namespace BackupIQ.Repository.Index;

/// <summary>Names a frame within one opened <see cref="ChunkIndex"/>; means nothing outside it.</summary>
public readonly record struct FrameHandle(int Run, uint Frame);

/// <summary>Where a chunk is: which frame, and where in the opened frame, in bytes.</summary>
public readonly record struct ChunkLocation(FrameHandle Frame, uint Offset, uint Length);
