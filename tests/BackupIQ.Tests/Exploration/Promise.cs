using System.Text.Json;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Tests.Exploration;

/// <summary>
/// What must hold after every step: of every snapshot that counts for readers, each chunk stands in a pack that is there and that the index
/// names. Told from the bytes of the objects alone.
/// </summary>
internal sealed class Promise(RepositoryKeys keys, bool commitsByName)
{
    private readonly Dictionary<string, HashSet<ChunkId>> _packs = new(StringComparer.Ordinal);
    private readonly Dictionary<(string, ulong), HashSet<string>> _segments = [];
    private readonly Dictionary<(string, ulong), ChunkId?> _snapshots = [];
    private readonly Dictionary<ChunkId, ChunkId[]> _trees = [];

    /// <summary>What is broken; null: nothing.</summary>
    public string? Broken(ExploredStore store)
    {
        foreach (string name in store.Names)
        {
            if (!name.StartsWith("s/", StringComparison.Ordinal) || (!commitsByName && !store.Contains($"a/{name[2..]}/confirmed")))
            {
                continue;
            }

            if (TreeOf(name, store.Find(name)!) is not { } tree)
            {
                continue;
            }

            foreach (ChunkId chunk in NeedsOf(tree, store))
            {
                if (Where(chunk, store) is { } problem)
                {
                    return $"Snapshot {name} needs {chunk.ToString()[..8]}, and {problem}.";
                }
            }
        }

        return null;
    }

    /// <summary>When everything is over and pruned: what is left that no snapshot needs. Null: nothing.</summary>
    public string? LeftOver(ExploredStore store)
    {
        HashSet<ChunkId> needed = [.. store.Names.Where(static n => n.StartsWith("s/", StringComparison.Ordinal))
            .Select(n => TreeOf(n, store.Find(n)!)).OfType<ChunkId>().SelectMany(t => NeedsOf(t, store))];
        string? pack = store.Names.FirstOrDefault(n => n[0] is 'd' or 'm' && !Pack(n, store).Overlaps(needed));
        string? mark = store.Names.FirstOrDefault(static n => n[0] == 'g');
        string? barred = store.Names.FirstOrDefault(n => n.StartsWith("s/", StringComparison.Ordinal) && store.Contains($"l/{n[2..]}.fence") && !store.Contains($"a/{n[2..]}/confirmed"));
        return barred is not null ? $"{barred} is left, and will never count." : pack is not null ? $"{pack} is left, and nothing needs it." : mark is not null ? $"{mark} is left." : null;
    }

    private string? Where(ChunkId chunk, ExploredStore store)
    {
        string[] holders = [.. store.Names.Where(n => n[0] is 'd' or 'm' && Pack(n, store).Contains(chunk))];
        return holders.Length == 0 ? "no pack has it"
            : holders.Any(h => store.Names.Any(n => n[0] == 'i' && Segment(n, store).Contains(h))) ? null
            : "no index segment names the pack that has it";
    }

    // Ids are deterministic, so a name has the same bytes in every run.
    private ChunkId? TreeOf(string name, ExploredObject item)
    {
        (string, ulong) known = (name, item.Hash);
        if (!_snapshots.TryGetValue(known, out ChunkId? tree))
        {
            if (SealedObject.TryPeekKind(item.Bytes, out ObjectKind kind) && kind == ObjectKind.Snapshot)
            {
                byte[] json = SealedObject.Open(keys, ObjectKind.Snapshot, new StorageKey(name), item.Bytes);
                tree = JsonSerializer.Deserialize(json, SnapshotJson.Default.Snapshot)!.TreeId;
            }

            _snapshots.Add(known, tree);
        }

        return tree;
    }

    private ChunkId[] NeedsOf(ChunkId tree, ExploredStore store)
    {
        if (!_trees.TryGetValue(tree, out ChunkId[]? needs))
        {
            // All snapshots of the scenarios have the same single file: what is with the directory in the first packs.
            needs = [tree, .. store.Names.Where(static n => n[0] == 'd').SelectMany(n => Pack(n, store)).Distinct()];
            _trees.Add(tree, needs);
        }

        return needs;
    }

    private HashSet<ChunkId> Pack(string name, ExploredStore store)
    {
        if (!_packs.TryGetValue(name, out HashSet<ChunkId>? chunks))
        {
            byte[] bytes = store.Find(name)!.Bytes;
            PackHead.TryRead(bytes, out PackHead head);
            PackTrailer.TryRead(bytes.AsSpan(bytes.Length - PackTrailer.Size), bytes.Length, out PackTrailer trailer);
            ReadOnlySpan<byte> table = bytes.AsSpan((int)trailer.FirstTable, (int)trailer.TableLength);
            byte[] plain = new byte[table.Length - FrameCipher.TagSize];
            Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
            FrameSeal.WriteContentsData(associated, keys.Repository, head.Kind, (uint)plain.Length);
            using FrameCipher cipher = keys.CreateCipher(head.Salts[0], FrameSeal.PurposeOf(head.Kind));
            chunks = cipher.TryOpen(FrameSeal.ContentsCounter, table, associated, plain)
                ? [.. PackContents.Read(plain, bytes.Length, head.Salts.Count).Chunks.Select(static c => c.Id)]
                : throw new InvalidOperationException($"{name} does not open.");
            _packs.Add(name, chunks);
        }

        return chunks;
    }

    private HashSet<string> Segment(string name, ExploredStore store)
    {
        ExploredObject item = store.Find(name)!;
        (string, ulong) known = (name, item.Hash);
        if (!_segments.TryGetValue(known, out HashSet<string>? packs))
        {
            byte[] plain = SealedObject.Open(keys, ObjectKind.Index, new StorageKey(name), item.Bytes);
            using IndexRun run = IndexRun.InMemory(plain, []);
            packs = [];
            for (uint i = 0; i < run.Layout.Packs; i++)
            {
                PackEntry pack = run.PackAt(i);
                packs.Add(RepositoryLayout.Pack(pack.Kind, pack.Id).Value);
            }

            _segments.Add(known, packs);
        }

        return packs;
    }
}
