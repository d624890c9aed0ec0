using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Packs;

/// <summary>Reads what a pack says of itself: head, trailer and contents table, of which either copy will do.</summary>
internal static class PackReader
{
    // A table lies within the last part of a pack mostly: one read brings trailer and table.
    private const int TailSize = 128 << 10;

    /// <summary>Reads and opens the contents table of a pack of <paramref name="size"/> bytes.</summary>
    /// <exception cref="CorruptDataException">Neither copy can be read; says why.</exception>
    public static async Task<(PackHead Head, PackContents Contents)> ReadContentsAsync(
        BackupRepository repository, PackKind kind, PackId id, long size, CancellationToken cancellationToken)
    {
        StorageKey key = RepositoryLayout.Pack(kind, id);
        byte[] start = new byte[(int)Math.Min(size, PackHead.FixedSize + (PackHead.MaxSalts * SaltRow.Size))];
        await ReadAsync(repository.Storage, key, 0, start, cancellationToken);
        if (!PackHead.TryRead(start, out PackHead head) || head.Kind != kind)
        {
            throw new CorruptDataException($"Pack {id} is damaged: its head is wrong.");
        }

        // Arrays of this length would lie among the old until the collector looks there, and a prune reads a table for each pack.
        using NativeBuffer tailRoom = new(), tableRoom = new();
        Memory<byte> tail = tailRoom.Room((int)Math.Min(size, TailSize));
        await ReadAsync(repository.Storage, key, size - tail.Length, tail, cancellationToken);
        if (tail.Length < PackTrailer.Size || !PackTrailer.TryRead(tail.Span[^PackTrailer.Size..], size, out PackTrailer trailer) ||
            trailer.TableLength > PackContents.MaxSize || trailer.TableLength <= FrameCipher.TagSize)
        {
            throw new CorruptDataException($"Pack {id} is damaged: its trailer is wrong.");
        }

        Memory<byte> table = tableRoom.Room((int)trailer.TableLength);
        foreach (uint at in (uint[])[trailer.SecondTable, trailer.FirstTable])
        {
            long inTail = at - (size - tail.Length);
            if (inTail >= 0)
            {
                tail.Slice((int)inTail, table.Length).CopyTo(table);
            }
            else
            {
                await ReadAsync(repository.Storage, key, at, table, cancellationToken);
            }

            if (TryOpen(repository.Keys, head, table.Span, size, out PackContents contents))
            {
                return (head, contents);
            }
        }

        throw new CorruptDataException($"Pack {id} is damaged: neither copy of its contents table can be opened.");
    }

    private static bool TryOpen(RepositoryKeys keys, PackHead head, ReadOnlySpan<byte> table, long size, out PackContents contents)
    {
        using NativeBuffer room = new();
        Span<byte> plain = room.Room(table.Length - FrameCipher.TagSize).Span;
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteContentsData(associated, keys.Repository, head.Kind, (uint)plain.Length);
        using FrameCipher cipher = keys.CreateCipher(head.Salts[0], FrameSeal.PurposeOf(head.Kind));
        contents = null!;
        if (!cipher.TryOpen(FrameSeal.ContentsCounter, table, associated, plain))
        {
            return false;
        }

        contents = PackContents.Read(plain, size, head.Salts.Count);
        return true;
    }

    private static async Task ReadAsync(IStorageBackend storage, StorageKey key, long offset, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        int read = await storage.ReadAsync(key, offset, bytes, cancellationToken);
        if (read < bytes.Length)
        {
            throw new CorruptDataException($"{key} is cut short.");
        }
    }
}
