using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// Copies what is live out of packs, one after the other: frames that move as they are go to the <see cref="FrameMover"/>, of others the
/// live chunks are put into new frames. Everything is opened and compared with its id on the way, so that no damage is carried over under a
/// new name. Not thread-safe; each worker has its own.
/// </summary>
public sealed class PackRewriter : IDisposable
{
    private readonly BackupRepository _repository;
    private readonly FrameMover _mover;
    private readonly FrameWorkplace _place;
    private readonly FrameWriter _data;
    private readonly FrameWriter _metadata;

    internal PackRewriter(BackupRepository repository, UploadSession session, FrameMover mover)
    {
        _repository = repository;
        _mover = mover;
        _place = new FrameWorkplace(repository.Keys);
        _data = session.CreateWriter(PackKind.Data);
        _metadata = session.CreateWriter(PackKind.Metadata);
    }

    /// <summary>Copies what is live out of a pack. It is durable after the collector's flush.</summary>
    /// <exception cref="CorruptDataException">The pack is not what the index says of it: nothing must be deleted then.</exception>
    public async Task RewriteAsync(CollectedPack pack, PackFate fate, CancellationToken cancellationToken)
    {
        (PackHead head, PackContents contents) = await ReadContentsAsync(pack, cancellationToken);
        PackPlan plan = PackPlan.Of(head, contents);
        for (int f = 0; f < plan.Frames.Count; f++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            uint live = LiveIn(pack, plan, f);
            if (live == 0)
            {
                continue;
            }

            FrameEntry frame = plan.Frames[f];
            if (live >= frame.PlainLength || (fate == PackFate.Rewrite && CollectionIndex.MovesWhole(frame, live)))
            {
                await _mover.AddAsync(new MovedFrame(pack, frame, head.Salts[frame.SaltRow], ChunksOf(plan, f)), _place, cancellationToken);
            }
            else
            {
                await RebuildAsync(pack, plan, f, cancellationToken);
            }
        }
    }

    /// <summary>Ends the frames that are being filled.</summary>
    public void Flush()
    {
        _data.Flush();
        _metadata.Flush();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _place.Dispose();
        _data.Dispose();
        _metadata.Dispose();
    }

    private static uint LiveIn(CollectedPack pack, PackPlan plan, int frame)
    {
        uint live = 0;
        for (int c = plan.FirstChunk[frame]; c < plan.FirstChunk[frame + 1]; c++)
        {
            live += CollectionIndex.IsLive(pack, frame, plan.Chunks[c]) ? plan.Chunks[c].Length : 0;
        }

        return live;
    }

    private static ChunkEntry[] ChunksOf(PackPlan plan, int frame)
    {
        ChunkEntry[] chunks = new ChunkEntry[plan.FirstChunk[frame + 1] - plan.FirstChunk[frame]];
        for (int c = 0; c < chunks.Length; c++)
        {
            PlannedChunk chunk = plan.Chunks[plan.FirstChunk[frame] + c];
            chunks[c] = new ChunkEntry(chunk.Id, chunk.Length);
        }

        return chunks;
    }

    // The contents table has the whole ids; frame by frame it must say what the index says.
    private async Task<(PackHead Head, PackContents Contents)> ReadContentsAsync(CollectedPack pack, CancellationToken cancellationToken)
    {
        (PackHead head, PackContents contents) = await PackReader.ReadContentsAsync(_repository, pack.Kind, pack.Id, pack.Size, cancellationToken);
        IndexTier tier = pack.Tier!;
        bool isSame = contents.Frames.Count == tier.Frames.Count(pack.Number);
        for (int f = 0; isSame && f < contents.Frames.Count; f++)
        {
            isSame = tier.Run.FrameAt(tier.Frames.First(pack.Number) + (uint)f, out _) == contents.Frames[f];
        }

        return isSame ? (head, contents) : throw new CorruptDataException($"Pack {pack.Id} does not hold what the index says of it.");
    }

    private async Task RebuildAsync(CollectedPack pack, PackPlan plan, int number, CancellationToken cancellationToken)
    {
        FrameEntry frame = plan.Frames[number];
        Memory<byte> plain = await OpenAsync(pack, frame, plan.Salts[frame.SaltRow], cancellationToken);
        FrameWriter writer = pack.Kind == PackKind.Data ? _data : _metadata;
        for (int c = plan.FirstChunk[number]; c < plan.FirstChunk[number + 1]; c++)
        {
            PlannedChunk chunk = plan.Chunks[c];
            if (!CollectionIndex.IsLive(pack, number, chunk))
            {
                continue;
            }

            if (!writer.HasRoomFor((int)chunk.Length))
            {
                // To open it once more takes milliseconds; kept, it would stand beside a full frame and the same one sealed.
                _place.GiveUp();
                writer.Flush();
                writer.GiveUpRoom();
                plain = await OpenAsync(pack, frame, plan.Salts[frame.SaltRow], cancellationToken);
            }

            ReadOnlySpan<byte> bytes = plain.Span.Slice((int)chunk.Offset, (int)chunk.Length);
            ContentHint hint = frame.Codec == Codec.None ? ContentHint.Stored : ContentHint.Compressible;
            if (writer.Write(bytes, hint) != chunk.Id)
            {
                throw Damaged(pack, chunk.Id);
            }
        }

        // What comes next needs room of its own.
        writer.GiveUpRoom();
        _place.GiveUp();
    }

    private async Task<Memory<byte>> OpenAsync(CollectedPack pack, FrameEntry frame, SaltRow salt, CancellationToken cancellationToken)
    {
        Memory<byte> stored = await FrameMover.ReadAsync(_repository, pack, frame, _place.Stored, cancellationToken);
        return _place.Open(FrameReference.Of(pack.Id, pack.Kind, frame, salt), stored);
    }

    private static CorruptDataException Damaged(CollectedPack pack, ChunkId chunk) =>
        new($"Pack {pack.Id} is damaged: chunk {chunk} has other bytes.");
}
