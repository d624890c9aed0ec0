using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Packs;

/// <summary>A chunk that is expected in a frame: its id and where in the opened frame it lies, in bytes.</summary>
internal readonly record struct PlannedChunk(ChunkId Id, uint Offset, uint Length);

/// <summary>
/// What is expected in a pack: its frames and their chunks, as its contents table says, or as the index says (then only the first half of
/// each id is known).
/// </summary>
internal sealed class PackPlan(IReadOnlyList<SaltRow> salts, bool hasWholeIds)
{
    /// <summary>The salts under which the frames were sealed.</summary>
    public IReadOnlyList<SaltRow> Salts { get; } = salts;

    public bool HasWholeIds { get; } = hasWholeIds;

    public List<FrameEntry> Frames { get; } = [];

    /// <summary>For each frame where its chunks begin in <see cref="Chunks"/>; one more for the end.</summary>
    public List<int> FirstChunk { get; } = [0];

    public List<PlannedChunk> Chunks { get; } = [];

    public static PackPlan Of(PackHead head, PackContents contents)
    {
        PackPlan plan = new(head.Salts, hasWholeIds: true);
        plan.Frames.AddRange(contents.Frames);
        plan.FirstChunk.Capacity = contents.Frames.Count + 1;
        plan.Chunks.Capacity = contents.Chunks.Count;
        int chunk = 0;
        foreach (FrameEntry frame in contents.Frames)
        {
            uint offset = 0;
            for (int i = 0; i < frame.ChunkCount; i++, chunk++)
            {
                plan.Chunks.Add(new PlannedChunk(contents.Chunks[chunk].Id, offset, contents.Chunks[chunk].Length));
                offset += contents.Chunks[chunk].Length;
            }

            plan.FirstChunk.Add(plan.Chunks.Count);
        }

        return plan;
    }

    public void Add(in FrameEntry frame, List<PlannedChunk> chunks)
    {
        Frames.Add(frame);
        Chunks.AddRange(chunks);
        FirstChunk.Add(Chunks.Count);
    }
}
