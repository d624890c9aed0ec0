using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// A part of the collector's index that was read at one time, as one sorted run, with some bits for each entry. Its numbers never change, so
/// what was found out about an entry stays true when another tier comes on top.
/// </summary>
internal sealed class IndexTier : IDisposable
{
    public IndexTier(IndexRun run, Func<PackId, CollectedPack> packOf)
    {
        Run = run;
        Frames = new PackFrames(run);
        Packs = new CollectedPack[run.Layout.Packs];
        for (uint i = 0; i < Packs.Length; i++)
        {
            CollectedPack pack = packOf(run.PackAt(i).Id);
            Packs[i] = pack;
            if (pack.Tier is null)
            {
                pack.Tier = this;
                pack.Number = i;
            }
        }

        Needed = new AtomicBits(run.EntryCount);
        Live = new AtomicBits(run.EntryCount);
        Bad = new AtomicBits(run.EntryCount);
        Visited = [new AtomicBits(run.EntryCount), new AtomicBits(run.EntryCount), new AtomicBits(run.EntryCount)];
        VisitedAsHint = [new AtomicBits(run.EntryCount), new AtomicBits(run.EntryCount), new AtomicBits(run.EntryCount)];
        LiveInFrame = new uint[run.Layout.Frames];
    }

    public IndexRun Run { get; }

    public PackFrames Frames { get; }

    /// <summary>The packs by their numbers here.</summary>
    public CollectedPack[] Packs { get; }

    /// <summary>A snapshot needs the chunk; all entries of it have the bit.</summary>
    public AtomicBits Needed { get; }

    /// <summary>It is this copy that counts.</summary>
    public AtomicBits Live { get; private set; }

    /// <summary>It cannot be read here.</summary>
    public AtomicBits Bad { get; }

    /// <summary>For each <see cref="GraphPart"/>: somebody has followed it.</summary>
    public AtomicBits[] Visited { get; }

    /// <summary>The same for what partial snapshots lead to, where gaps are passed over.</summary>
    public AtomicBits[] VisitedAsHint { get; }

    /// <summary>For each frame the plain bytes of what is live in it.</summary>
    public uint[] LiveInFrame { get; }

    /// <summary>The pack of an entry, or null when another tier or number has that pack's entries.</summary>
    public CollectedPack? PackOf(in IndexEntry entry, out CollectedPack pack)
    {
        Run.FrameAt(entry.Frame, out uint number);
        pack = Packs[number];
        return ReferenceEquals(pack.Tier, this) && pack.Number == number ? pack : null;
    }

    /// <summary>Forgets which copies count.</summary>
    public void ClearLive()
    {
        Live = new AtomicBits(Run.EntryCount);
        Array.Clear(LiveInFrame);
    }

    public void Dispose() => Run.Dispose();
}

/// <summary>As what a chunk of metadata is followed: each has a form of its own.</summary>
public enum GraphPart
{
    /// <summary>A directory or a page of it.</summary>
    Tree,

    /// <summary>A scan or a page of it.</summary>
    Scan,

    /// <summary>A list of chunks.</summary>
    ChunkList,
}
