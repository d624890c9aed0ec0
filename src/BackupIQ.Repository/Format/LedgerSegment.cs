using System.Buffers.Binary;

namespace BackupIQ.Repository.Format;

/// <summary>How far a pack was verified. The numbers are format.</summary>
public enum VerifiedLevel : byte
{
    /// <summary>It was found damaged: whatever was said of it before counts no more.</summary>
    Damaged = 0,

    /// <summary>Its bytes are those of its name.</summary>
    Hash = 1,

    /// <summary>Every chunk was opened and has the bytes of its id.</summary>
    Chunks = 4,
}

/// <summary>One line of the ledger.</summary>
/// <param name="Pack">The pack, by its exact name.</param>
/// <param name="At">When it was verified, in seconds since 1970.</param>
/// <param name="Level">How far.</param>
internal readonly record struct LedgerEntry(PackId Pack, long At, VerifiedLevel Level);

/// <summary>
/// A piece of the ledger of verifications: what one run verified, or what several did, put together. <c>BIQV</c>, version u8 = 1, flags u8 (1:
/// the run means to read everything; 2: the run is over), zero u16, when the run began i64, entries u32, zero u32; then for each entry the pack's id
/// 32, when i64, level u8, zero ×7. Times are seconds since 1970. Integers are little-endian.
/// </summary>
internal sealed record LedgerSegment(long Began, bool ReadsEverything, bool IsOver, IReadOnlyList<LedgerEntry> Entries)
{
    /// <summary>The most entries of a piece: 1 MB.</summary>
    public const int MaxEntries = 20_000;

    private const int HeadSize = 24;
    private const int EntrySize = PackId.Size + 16;
    private const byte Version = 1;

    private static ReadOnlySpan<byte> Magic => "BIQV"u8;

    public byte[] Write()
    {
        var bytes = new byte[HeadSize + (Entries.Count * EntrySize)];
        Magic.CopyTo(bytes);
        bytes[4] = Version;
        bytes[5] = (byte)((ReadsEverything ? 1 : 0) | (IsOver ? 2 : 0));
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), Began);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(16), Entries.Count);
        for (int i = 0; i < Entries.Count; i++)
        {
            Span<byte> entry = bytes.AsSpan(HeadSize + (i * EntrySize), EntrySize);
            Entries[i].Pack.Write(entry);
            BinaryPrimitives.WriteInt64LittleEndian(entry[PackId.Size..], Entries[i].At);
            entry[PackId.Size + 8] = (byte)Entries[i].Level;
        }

        return bytes;
    }

    /// <exception cref="CorruptDataException">It is none, or of a later version.</exception>
    public static LedgerSegment Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeadSize || !bytes.StartsWith(Magic) || bytes[4] != Version)
        {
            throw new CorruptDataException("it does not begin as a ledger that this version knows");
        }

        uint count = BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]);
        if (count > MaxEntries || bytes.Length != HeadSize + (count * EntrySize))
        {
            throw new CorruptDataException($"it claims {count} entries in {bytes.Length} bytes");
        }

        var entries = new LedgerEntry[count];
        for (int i = 0; i < entries.Length; i++)
        {
            ReadOnlySpan<byte> entry = bytes.Slice(HeadSize + (i * EntrySize), EntrySize);
            entries[i] = new LedgerEntry(
                PackId.Read(entry), BinaryPrimitives.ReadInt64LittleEndian(entry[PackId.Size..]), (VerifiedLevel)entry[PackId.Size + 8]);
        }

        return new LedgerSegment(BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]), (bytes[5] & 1) != 0, (bytes[5] & 2) != 0, entries);
    }
}
