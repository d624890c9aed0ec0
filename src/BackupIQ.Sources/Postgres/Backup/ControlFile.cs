using System.Buffers.Binary;
using System.Numerics;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>What <c>global/pg_control</c> says, of PostgreSQL 13 to 18. Its fields and their places: src/include/catalog/pg_control.h there.</summary>
internal sealed record ControlFile
{
    /// <summary>The file's length; only its beginning is used.</summary>
    public const int FileSize = 8192;

    private const int StateOffset = 16;
    private const int TimelineOffset = 48;
    private const int MinRecoveryOffset = 136;
    private const int BlockSizeOffset = 216;

    /// <summary><see cref="State"/> of a standby at work.</summary>
    public const int InArchiveRecovery = 5;

    /// <summary><see cref="State"/> of a primary at work.</summary>
    public const int InProduction = 6;

    public required ulong SystemIdentifier { get; init; }

    public required uint ControlVersion { get; init; }

    public required uint CatalogVersion { get; init; }

    /// <summary><see cref="InProduction"/>, <see cref="InArchiveRecovery"/>; 1: it was shut down.</summary>
    public required int State { get; init; }

    /// <summary>The timeline of the last checkpoint.</summary>
    public required uint Timeline { get; init; }

    /// <summary>Of a standby: what its files say must be replayed before they are consistent.</summary>
    public required ulong MinRecoveryPoint { get; init; }

    /// <summary>The timeline of <see cref="MinRecoveryPoint"/>; 0: there is none.</summary>
    public required uint MinRecoveryTimeline { get; init; }

    public required int BlockSize { get; init; }

    /// <summary>Blocks in one file of a relation.</summary>
    public required uint SegmentBlocks { get; init; }

    public required uint WalSegmentSize { get; init; }

    /// <summary>Whether pages carry checksums.</summary>
    public required bool HasChecksums { get; init; }

    /// <summary>Reads it; null: its checksum does not hold, as while it is being written, or it is of a version that is not known.</summary>
    public static ControlFile? TryRead(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 512)
        {
            return null;
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        int checksumOffset = version switch
        {
            1300 or 1700 => 288,
            1800 => 292,
            _ => 0,
        };
        if (checksumOffset == 0 || WalChecksum.Finish(WalChecksum.Append(WalChecksum.Start, bytes[..checksumOffset])) != BinaryPrimitives.ReadUInt32LittleEndian(bytes[checksumOffset..]))
        {
            return null;
        }

        ControlFile read = new()
        {
            SystemIdentifier = BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            ControlVersion = version,
            CatalogVersion = BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]),
            State = BinaryPrimitives.ReadInt32LittleEndian(bytes[StateOffset..]),
            Timeline = BinaryPrimitives.ReadUInt32LittleEndian(bytes[TimelineOffset..]),
            MinRecoveryPoint = BinaryPrimitives.ReadUInt64LittleEndian(bytes[MinRecoveryOffset..]),
            MinRecoveryTimeline = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(MinRecoveryOffset + 8)..]),
            BlockSize = BinaryPrimitives.ReadInt32LittleEndian(bytes[BlockSizeOffset..]),
            SegmentBlocks = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(BlockSizeOffset + 4)..]),
            WalSegmentSize = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(BlockSizeOffset + 12)..]),
            HasChecksums = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(BlockSizeOffset + 36)..]) != 0,
        };
        bool isPlausible = read.BlockSize is >= 1024 and <= 32768 && BitOperations.IsPow2(read.BlockSize)
            && read.WalSegmentSize is >= 1 << 20 and <= 1 << 30 && BitOperations.IsPow2(read.WalSegmentSize) && read.SegmentBlocks > 0;
        return isPlausible ? read : null;
    }
}
