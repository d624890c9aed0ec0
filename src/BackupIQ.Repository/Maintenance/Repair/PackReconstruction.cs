using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Packs;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>
/// Writes the parts of a pack that follow from others: head, both copies of the contents table, trailer. One copy of the table gives the
/// other; the index gives salts, and where no copy is left the table itself, for sealing it under the pack's own salt gives the same bytes
/// again. Whether the result is right only the pack's name can tell.
/// </summary>
internal sealed class PackReconstruction(RepositoryKeys keys, SafeFileHandle file, PackKind kind, PackId id)
{
    /// <summary>
    /// Writes what can be written. <paramref name="indexed"/> is what the index says of the pack, or null. False: nothing could be concluded,
    /// and the file is as it was.
    /// </summary>
    public bool TryRun(PackPlan? indexed)
    {
        PackHead? head = ReadHead();
        foreach ((long first, int length) in Places(indexed))
        {
            foreach (SaltRow salt in Salts(head, indexed))
            {
                foreach (long at in (long[])[first, first + length])
                {
                    byte[] table = Read(at, length);
                    if (Open(salt, table, first + (2L * length) + PackTrailer.Size) is { } contents)
                    {
                        return Write(contents, RowsOf(head, indexed, contents, salt), first, table);
                    }
                }
            }
        }

        return head is not null && indexed is not null && Rebuild(head, indexed) is { } rebuilt &&
            Write(rebuilt, indexed.Salts, EndOf(indexed), Seal(indexed.Salts[0], rebuilt));
    }

    /// <summary>
    /// Mends frames whose damage lies within one block of 16 bytes, by their seals. True when any was mended; what cannot be stays as it is.
    /// </summary>
    public bool TryMendFrames(PackPlan plan)
    {
        bool isAnyMended = false;
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        SealPurpose purpose = FrameSeal.PurposeOf(kind);
        foreach (IGrouping<byte, FrameEntry> row in plan.Frames.GroupBy(static frame => frame.SaltRow))
        {
            using FrameCipher cipher = keys.CreateCipher(plan.Salts[row.Key], purpose);
            UInt128 hashKey = keys.HashKeyOf(plan.Salts[row.Key], purpose);
            foreach (FrameEntry frame in row)
            {
                byte[] bytes = Read(frame.Offset, (int)frame.StoredLength);
                FrameSeal.WriteAssociatedData(associated, keys.Repository, kind, frame.PlainLength, frame.Codec);
                if (!cipher.TryOpen(frame.Counter, bytes, associated, new byte[bytes.Length - FrameCipher.TagSize]) &&
                    SealWound.TryMend(cipher, hashKey, frame.Counter, bytes, associated))
                {
                    RandomAccess.Write(file, bytes, frame.Offset);
                    isAnyMended = true;
                }
            }
        }

        return isAnyMended;
    }

    private static long EndOf(PackPlan plan) => plan.Frames.Max(static frame => (long)frame.Offset + frame.StoredLength);

    // The trailer knows where the tables are; so does the index, for they lie behind the last frame.
    private IEnumerable<(long First, int Length)> Places(PackPlan? indexed)
    {
        long size = RandomAccess.GetLength(file);
        byte[] end = Read(size - PackTrailer.Size, PackTrailer.Size);
        if (PackTrailer.TryRead(end, size, out PackTrailer trailer) && trailer.TableLength is > FrameCipher.TagSize and <= PackContents.MaxSize)
        {
            yield return (trailer.FirstTable, (int)trailer.TableLength);
        }

        if (indexed is { Frames.Count: > 0 })
        {
            yield return (EndOf(indexed), TableLength(indexed));
        }
    }

    private static int TableLength(PackPlan plan) =>
        PackContents.HeadSize + (plan.Frames.Count * FrameEntry.Size) + (plan.Chunks.Count * PackContents.ChunkSize) + FrameCipher.TagSize;

    private static IEnumerable<SaltRow> Salts(PackHead? head, PackPlan? indexed)
    {
        if (indexed is not null)
        {
            yield return indexed.Salts[0];
        }

        if (head is not null && (indexed is null || head.Salts[0] != indexed.Salts[0]))
        {
            yield return head.Salts[0];
        }
    }

    // The table says how many rows there are: frames begin right behind them.
    private static IReadOnlyList<SaltRow>? RowsOf(PackHead? head, PackPlan? indexed, PackContents contents, SaltRow own)
    {
        long count = contents.Frames.Count == 0 ? 0 : (contents.Frames.Min(static frame => frame.Offset) - PackHead.FixedSize) / SaltRow.Size;
        return indexed?.Salts.Count == count ? indexed.Salts
            : head?.Salts.Count == count ? head.Salts
            : count == 1 ? [own] : null;
    }

    private bool Write(PackContents contents, IReadOnlyList<SaltRow>? salts, long first, byte[] table)
    {
        if (salts is null)
        {
            return false;
        }

        PackHead head = new(kind, contents.Session, contents.Worker, salts);
        byte[] start = new byte[head.Size];
        head.Write(start);
        RandomAccess.Write(file, start, 0);
        RandomAccess.Write(file, table, first);
        RandomAccess.Write(file, table, first + table.Length);
        long size = first + (2L * table.Length) + PackTrailer.Size;
        byte[] end = new byte[PackTrailer.Size];
        new PackTrailer((uint)first, (uint)table.Length, (ulong)size).Write(end);
        RandomAccess.Write(file, end, size - PackTrailer.Size);
        RandomAccess.SetLength(file, size);
        return true;
    }

    private PackHead? ReadHead()
    {
        byte[] start = Read(0, PackHead.FixedSize + (PackHead.MaxSalts * SaltRow.Size));
        try
        {
            return PackHead.TryRead(start, out PackHead head) && head.Kind == kind ? head : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }
    }

    private PackContents? Open(SaltRow salt, byte[] table, long packSize)
    {
        try
        {
            byte[] plain = new byte[table.Length - FrameCipher.TagSize];
            Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
            FrameSeal.WriteContentsData(associated, keys.Repository, kind, (uint)plain.Length);
            using FrameCipher cipher = keys.CreateCipher(salt, FrameSeal.PurposeOf(kind));
            return cipher.TryOpen(FrameSeal.ContentsCounter, table, associated, plain) ? PackContents.Read(plain, packSize, PackHead.MaxSalts) : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }
    }

    private byte[] Seal(SaltRow salt, PackContents contents)
    {
        byte[] plain = new byte[contents.Size];
        contents.Write(plain);
        byte[] table = new byte[plain.Length + FrameCipher.TagSize];
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteContentsData(associated, keys.Repository, kind, (uint)plain.Length);
        using FrameCipher cipher = keys.CreateCipher(salt, FrameSeal.PurposeOf(kind));
        cipher.Seal(FrameSeal.ContentsCounter, plain, associated, table);
        return table;
    }

    /// <summary>The contents as the frames themselves tell: whole ids come from the bytes. Null when a frame does not open.</summary>
    private PackContents? Rebuild(PackHead head, PackPlan indexed)
    {
        PackContents contents = new(kind, head.Session, head.Worker);
        using FrameOpener opener = new(keys);
        byte[] idKey = kind == PackKind.Data ? keys.DataIdKey.ToArray() : keys.MetadataIdKey.ToArray();
        for (int f = 0; f < indexed.Frames.Count; f++)
        {
            FrameEntry entry = indexed.Frames[f];
            byte[] plain = new byte[entry.PlainLength];
            FrameReference frame = FrameReference.Of(id, kind, entry, indexed.Salts[entry.SaltRow]);
            try
            {
                opener.Open(frame, Read(entry.Offset, (int)entry.StoredLength), plain);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                return null;
            }

            contents.Frames.Add(entry);
            byte[] digest = new byte[ChunkId.Size];
            for (int c = indexed.FirstChunk[f]; c < indexed.FirstChunk[f + 1]; c++)
            {
                PlannedChunk chunk = indexed.Chunks[c];
                if (chunk.Offset + (long)chunk.Length > plain.Length)
                {
                    return null;
                }

                Blake3.HashKeyed(idKey, plain.AsSpan((int)chunk.Offset, (int)chunk.Length), digest);
                contents.Chunks.Add(new ChunkEntry(ChunkId.Read(digest), chunk.Length));
            }
        }

        return contents;
    }

    private byte[] Read(long offset, int length)
    {
        byte[] bytes = new byte[length];
        int read = 0;
        int now;
        while (offset >= 0 && read < length && (now = RandomAccess.Read(file, bytes.AsSpan(read), offset + read)) > 0)
        {
            read += now;
        }

        return bytes;
    }
}
