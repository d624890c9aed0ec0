using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>What a pack says of itself, each part looked at by itself: head, both copies of the contents table, trailer.</summary>
/// <param name="Head">The head, or null when it cannot be read.</param>
/// <param name="Contents">The contents, from whichever copy opens, or null.</param>
/// <param name="Problems">What is wrong, half a sentence each.</param>
internal sealed record PackAnatomy(PackHead? Head, PackContents? Contents, IReadOnlyList<string> Problems)
{
    private const int HeadRead = PackHead.FixedSize + (PackHead.MaxSalts * SaltRow.Size);

    // Trailer and both tables lie within the last part of a pack mostly: one read brings them. Not an array of the large heap.
    private const int TailRead = 80 << 10;

    /// <summary>Reads the parts of a pack of <paramref name="size"/> bytes.</summary>
    /// <exception cref="StorageException">The storage does not give the bytes.</exception>
    public static async Task<PackAnatomy> ReadAsync(
        BackupRepository repository, PackKind kind, PackId id, long size, CancellationToken cancellationToken)
    {
        StorageKey key = RepositoryLayout.Pack(kind, id);
        List<string> problems = [];
        byte[] start = await ReadAsync(repository, key, 0, (int)Math.Min(size, HeadRead), cancellationToken);
        byte[] tail = await ReadAsync(repository, key, Math.Max(0, size - TailRead), (int)Math.Min(size, TailRead), cancellationToken);
        PackHead? head = ReadHead(start, kind);
        if (head is null)
        {
            problems.Add("its head is damaged");
        }

        if (tail.Length < PackTrailer.Size || !PackTrailer.TryRead(tail.AsSpan(tail.Length - PackTrailer.Size), size, out PackTrailer trailer) ||
            trailer.TableLength > PackContents.MaxSize || trailer.TableLength <= FrameCipher.TagSize)
        {
            problems.Add("its trailer is damaged or it is cut short");
            return new PackAnatomy(head, null, problems);
        }

        if (!tail.AsSpan(tail.Length - PackTrailer.Size).SequenceEqual(Written(trailer)))
        {
            problems.Add("its trailer has bytes that no writer puts there");
        }

        PackContents? contents = null;
        foreach ((uint at, string name) in ((uint, string)[])[(trailer.FirstTable, "first"), (trailer.SecondTable, "second")])
        {
            long inTail = at - (size - tail.Length);
            byte[] table = inTail >= 0
                ? tail.AsSpan((int)inTail, (int)trailer.TableLength).ToArray()
                : await ReadAsync(repository, key, at, (int)trailer.TableLength, cancellationToken);
            PackContents? found = head is null ? null : Open(repository.Keys, head, table, size);
            if (found is null && head is not null)
            {
                problems.Add($"the {name} copy of its contents table is damaged");
            }

            contents ??= found;
        }

        if (head is not null && contents is not null && (contents.Kind != head.Kind || contents.Session != head.Session || contents.Worker != head.Worker))
        {
            problems.Add("its head is damaged: it names another session or kind than its contents table");
        }

        return new PackAnatomy(head, contents, problems);
    }

    private static byte[] Written(in PackTrailer trailer)
    {
        byte[] bytes = new byte[PackTrailer.Size];
        trailer.Write(bytes);
        return bytes;
    }

    private static PackHead? ReadHead(byte[] start, PackKind kind)
    {
        try
        {
            return PackHead.TryRead(start, out PackHead head) && head.Kind == kind ? head : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }
    }

    private static PackContents? Open(RepositoryKeys keys, PackHead head, byte[] table, long size)
    {
        try
        {
            byte[] plain = new byte[table.Length - FrameCipher.TagSize];
            Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
            FrameSeal.WriteContentsData(associated, keys.Repository, head.Kind, (uint)plain.Length);
            using FrameCipher cipher = keys.CreateCipher(head.Salts[0], FrameSeal.PurposeOf(head.Kind));
            return cipher.TryOpen(FrameSeal.ContentsCounter, table, associated, plain) ? PackContents.Read(plain, size, head.Salts.Count) : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }
    }

    private static async Task<byte[]> ReadAsync(
        BackupRepository repository, StorageKey key, long offset, int length, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[length];
        int read = await repository.Storage.ReadAsync(key, offset, bytes, cancellationToken);
        return read == length ? bytes : bytes[..read];
    }
}
