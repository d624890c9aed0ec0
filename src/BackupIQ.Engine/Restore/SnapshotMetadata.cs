using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Trees and chunk locations of a snapshot. What the index does not know is looked for once in the packs' own contents tables, so that a
/// lost index segment costs time and no file. Not thread-safe; blocks on the storage.
/// </summary>
internal sealed class SnapshotMetadata : IDisposable
{
    private readonly BackupRepository _repository;
    private readonly ChunkIndex _index;
    private readonly ChunkReader _reader;
    private readonly Action<string> _notice;
    private bool _recovered;

    public SnapshotMetadata(BackupRepository repository, ChunkIndex index, Action<string> notice)
    {
        _repository = repository;
        _index = index;
        _notice = notice;
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
            Recover();
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

        Recover();
        return _index.TryFind(PackKind.Data, id, out location);
    }

    public FrameReference GetFrame(FrameHandle handle) => _index.GetFrame(handle);

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();

    /// <summary>The code under which damage is told: a pack that is gone or unreadable is damage of the repository, not trouble with the storage.</summary>
    public static ErrorCode DamageCode(BackupIQException exception) =>
        exception.Code == ErrorCodes.StorageObjectNotFound ? ErrorCodes.ChunkMissing
        : exception.Code == ErrorCodes.Storage ? ErrorCodes.CorruptData : exception.Code;

    private void Recover()
    {
        if (_recovered)
        {
            return;
        }

        _recovered = true;
        foreach (string finding in IndexRecovery.AddUnindexedPacksAsync(_repository, _index, CancellationToken.None).GetAwaiter().GetResult())
        {
            _notice(finding);
        }
    }
}
