using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// Reads single chunks, verified: for trees and for browsing. Keeps the frames opened last, because neighbours in a directory are
/// neighbours in a frame. Blocks on the storage; not thread-safe.
/// </summary>
public sealed class ChunkReader : IDisposable
{
    private readonly BackupRepository _repository;
    private readonly ChunkIndex _index;
    private readonly FrameOpener _opener;
    private readonly LinkedList<(FrameHandle Handle, byte[] Plain)> _recent = [];
    private readonly int _capacity;
    private byte[] _stored = [];

    /// <summary><paramref name="cachedFrames"/>: how many opened frames (of up to 4 MiB, mostly 1) are kept.</summary>
    public ChunkReader(BackupRepository repository, ChunkIndex index, int cachedFrames = 8)
    {
        _repository = repository;
        _index = index;
        _capacity = cachedFrames;
        _opener = new FrameOpener(repository.Keys);
    }

    /// <summary>The chunk's bytes, checked against its id. They stay valid as long as the caller keeps them.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>.</exception>
    public ReadOnlyMemory<byte> Read(PackKind kind, ChunkId id)
    {
        if (!_index.TryFind(kind, id, out ChunkLocation location))
        {
            throw new BackupIQException(ErrorCodes.ChunkMissing, $"Chunk {id} is in no pack of the repository.");
        }

        byte[] plain = Frame(location.Frame);
        if (location.Offset + (long)location.Length > plain.Length)
        {
            throw new CorruptDataException($"Chunk {id} lies outside its frame.");
        }

        ReadOnlyMemory<byte> chunk = plain.AsMemory((int)location.Offset, (int)location.Length);
        return _opener.IsChunk(kind, id, chunk.Span)
            ? chunk
            : throw new CorruptDataException($"Pack {_index.GetFrame(location.Frame).Pack} is damaged: chunk {id} has other bytes.");
    }

    /// <inheritdoc/>
    public void Dispose() => _opener.Dispose();

    private byte[] Frame(FrameHandle handle)
    {
        for (LinkedListNode<(FrameHandle Handle, byte[] Plain)>? node = _recent.First; node is not null; node = node.Next)
        {
            if (node.Value.Handle == handle)
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
                return node.Value.Plain;
            }
        }

        byte[] plain = Fetch(_index.GetFrame(handle));
        _recent.AddFirst((handle, plain));
        if (_recent.Count > _capacity)
        {
            _recent.RemoveLast();
        }

        return plain;
    }

    private byte[] Fetch(in FrameReference frame)
    {
        if (_stored.Length < frame.StoredLength)
        {
            _stored = new byte[Math.Max(frame.StoredLength, 1 << 20)];
        }

        Memory<byte> stored = _stored.AsMemory(0, (int)frame.StoredLength);
        int read = _repository.Storage
            .ReadAsync(RepositoryLayout.Pack(frame.Kind, frame.Pack), frame.Offset, stored, CancellationToken.None)
            .AsTask().GetAwaiter().GetResult();
        byte[] plain = new byte[frame.PlainLength];
        _opener.Open(frame, stored.Span[..read], plain);
        return plain;
    }
}
