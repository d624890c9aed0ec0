using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Trees and chunk locations of a snapshot. What the index does not know is looked for once in the packs' own contents tables, so that a
/// lost index segment costs time and no file. Not thread-safe, but for <see cref="TryReadElsewhere"/>; blocks on the storage.
/// </summary>
internal sealed class SnapshotMetadata : IDisposable
{
    private readonly BackupRepository _repository;
    private readonly ChunkIndex _index;
    private readonly ChunkReader _reader;
    private readonly LateRecovery _recovery;
    private readonly Lock _spareGate = new();
    private ChunkReader? _spare;

    public SnapshotMetadata(BackupRepository repository, ChunkIndex index, Action<string> notice)
    {
        _repository = repository;
        _index = index;
        _recovery = new LateRecovery(repository, index, notice);
        _reader = new ChunkReader(repository, index);
        Trees = new TreeReader(Read);
    }

    /// <summary>Reads directories that must be whole.</summary>
    public TreeReader Trees { get; }

    /// <summary>A metadata chunk, verified.</summary>
    /// <exception cref="BackupIQException">It is missing or damaged (<see cref="DamageReading.IsDamage"/>), or the storage fails.</exception>
    public ReadOnlyMemory<byte> Read(ChunkId id)
    {
        if (!_index.TryFind(PackKind.Metadata, id, out _))
        {
            _recovery.Run();
        }

        return _reader.Read(PackKind.Metadata, id);
    }

    /// <summary>Where a chunk of a file's data is.</summary>
    public bool TryFind(in ChunkId id, out ChunkLocation location)
    {
        if (_index.TryFind(PackKind.Data, id, out location))
        {
            return true;
        }

        _recovery.Run();
        return _index.TryFind(PackKind.Data, id, out location);
    }

    public FrameReference GetFrame(FrameHandle handle) => _index.GetFrame(handle);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_spareGate)
        {
            _spare?.Dispose();
        }

        _reader.Dispose();
    }

    /// <summary>
    /// Reads a chunk of data whose frame turned out to be damaged from another pack that has it whole; false when there is none. Thread-safe:
    /// damage is rare enough that one at a time looks for it.
    /// </summary>
    public bool TryReadElsewhere(in ChunkId id, uint length, in FrameReference damaged, out ReadOnlyMemory<byte> chunk)
    {
        _recovery.Run();
        lock (_spareGate)
        {
            _spare ??= new ChunkReader(_repository, _index, cachedFrames: 2);
            return _spare.TryReadElsewhere(id, damaged, out chunk) && chunk.Length == length;
        }
    }

    /// <summary>The code under which damage is told: a pack that is gone or unreadable is damage of the repository, not trouble with the storage.</summary>
    public static ErrorCode DamageCode(BackupIQException exception) =>
        exception.Code == ErrorCodes.StorageObjectNotFound ? ErrorCodes.ChunkMissing
        : exception.Code == ErrorCodes.Storage ? ErrorCodes.CorruptData : exception.Code;
}
