using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// Reads directories and files of snapshots at random: the one way in for whatever shows snapshots as files. Everything that is read is
/// verified. Frames are shared and kept within a budget, and read ahead where reads are sequential. Safe for any thread.
/// </summary>
public sealed class SnapshotReader : IDisposable
{
    private readonly ChunkIndex _index;
    private readonly LateRecovery _recovery;
    private readonly FramePipeline _frames;
    private readonly ChunkReader _spare;
    private readonly Lock _spareGate = new();

    /// <summary>Reads from a repository.</summary>
    /// <param name="repository">The repository; the caller's.</param>
    /// <param name="index">Its index, the caller's; chunks that it lacks are looked for in the packs themselves, once.</param>
    /// <param name="options">How.</param>
    /// <param name="notice">Told of damage of the index that cost nothing but time: a sentence. Called from any thread.</param>
    public SnapshotReader(BackupRepository repository, ChunkIndex index, ReadingOptions options, Action<string> notice)
    {
        _index = index;
        _recovery = new LateRecovery(repository, index, notice);
        int workers = options.Concurrency > 0 ? options.Concurrency : Math.Max(4, Environment.ProcessorCount);
        _frames = new FramePipeline(repository, options.MemoryBudget, workers);
        _spare = new ChunkReader(repository, index, cachedFrames: 2);
        ReadAhead = Math.Clamp(options.MemoryBudget / 8, 4 << 20, 16 << 20);
        Trees = new TreeReader(ReadMetadata);
    }

    /// <summary>Reads directories. Safe for any thread, as all of this.</summary>
    public TreeReader Trees { get; }

    /// <summary>Bytes of opened frames that are kept now.</summary>
    public long HeldBytes => _frames.HeldBytes;

    /// <summary>So many bytes are fetched before they are asked for, where reads are sequential.</summary>
    internal long ReadAhead { get; }

    /// <summary>A metadata chunk; the caller's own copy.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>, or the storage failed.</exception>
    public ReadOnlyMemory<byte> ReadMetadata(ChunkId id)
    {
        ChunkLocation location = Locate(PackKind.Metadata, id);
        OpenedFrame frame = _frames.RentAsync(_index.GetFrame(location.Frame), CancellationToken.None).AsTask().GetAwaiter().GetResult();
        try
        {
            return _frames.Chunk(frame, PackKind.Metadata, id, location).ToArray();
        }
        finally
        {
            _frames.Return(frame);
        }
    }

    /// <summary>Opens a file for reading at random. Cheap: nothing is read before it is asked for.</summary>
    /// <exception cref="CorruptDataException">The node is no file, or its size and its content do not agree.</exception>
    public SnapshotFile OpenFile(Node node) => new(this, node);

    /// <inheritdoc/>
    public void Dispose()
    {
        _frames.Dispose();
        _spare.Dispose();
    }

    internal ChunkLocation Locate(PackKind kind, in ChunkId id)
    {
        if (!_index.TryFind(kind, id, out ChunkLocation location))
        {
            _recovery.Run();
            if (!_index.TryFind(kind, id, out location))
            {
                throw new BackupIQException(ErrorCodes.ChunkMissing, $"Chunk {id} is in no pack of the repository.");
            }
        }

        return location;
    }

    /// <summary>Whether a chunk of a file's data is where the index says, without reading it.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c>, or <c>CorruptData</c> when the index knows another length.</exception>
    internal ChunkLocation Locate(in ChunkReference chunk)
    {
        ChunkLocation location = Locate(PackKind.Data, chunk.Id);
        return location.Length == chunk.Length
            ? location
            : throw new CorruptDataException($"Chunk {chunk.Id} has another length than the snapshot says.");
    }

    /// <summary>
    /// A chunk of a file's data, from any pack that has it whole; the frame that it is in, if it is in one that is kept, goes back by
    /// <see cref="Return"/>.
    /// </summary>
    internal async ValueTask<(OpenedFrame? Frame, ReadOnlyMemory<byte> Bytes)> RentAsync(ChunkReference chunk, CancellationToken cancellationToken)
    {
        ChunkLocation location = Locate(chunk);
        FrameReference reference = _index.GetFrame(location.Frame);
        OpenedFrame? frame = null;
        try
        {
            frame = await _frames.RentAsync(reference, cancellationToken).ConfigureAwait(false);
            return (frame, _frames.Chunk(frame, PackKind.Data, chunk.Id, location));
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Return(frame);
            if (TryReadElsewhere(chunk, reference, out ReadOnlyMemory<byte> bytes))
            {
                return (null, bytes);
            }

            throw;
        }
    }

    internal void Return(OpenedFrame? frame)
    {
        if (frame is not null)
        {
            _frames.Return(frame);
        }
    }

    /// <summary>
    /// Fetches a chunk in the background. What goes wrong shows when it is asked for. False: so much is being fetched that it was refused.
    /// </summary>
    internal bool Prefetch(in ChunkReference chunk) =>
        !_index.TryFind(PackKind.Data, chunk.Id, out ChunkLocation location)
        || _frames.Prefetch(PackKind.Data, chunk.Id, _index.GetFrame(location.Frame), location);

    // Damage is rare enough that one at a time looks for another place.
    private bool TryReadElsewhere(in ChunkReference chunk, in FrameReference damaged, out ReadOnlyMemory<byte> bytes)
    {
        lock (_spareGate)
        {
            return _spare.TryReadElsewhere(chunk.Id, damaged, out bytes) && bytes.Length == chunk.Length;
        }
    }
}
