using System.Buffers;
using System.Numerics;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Reading;

/// <summary>A frame that a <see cref="FramePipeline"/> keeps. Its bytes are valid while whoever rented it holds it.</summary>
internal sealed class OpenedFrame(FrameReference reference)
{
    private readonly TaskCompletionSource _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<uint, ChunkId> _verified = [];
    private byte[]? _plain;

    public FrameReference Reference { get; } = reference;

    /// <summary>Bytes that it takes: the pool's buffers are powers of two.</summary>
    public long Cost => BitOperations.RoundUpToPowerOf2(Reference.PlainLength);

    /// <summary>Ends when the frame is open, or with the reason why it is not.</summary>
    public Task Loaded => _loaded.Task;

    /// <summary>The opened bytes.</summary>
    public ReadOnlyMemory<byte> Plain => _plain.AsMemory(0, (int)Reference.PlainLength);

    /// <summary>Where it stands among the frames that are kept; null when it is kept no more. Guarded by the pipeline.</summary>
    public LinkedListNode<OpenedFrame>? Place { get; set; }

    /// <summary>How many hold it. Guarded by the pipeline.</summary>
    public int Users { get; set; }

    public void Set(byte[] plain)
    {
        _plain = plain;
        _loaded.SetResult();
    }

    public void Fail(Exception reason)
    {
        _loaded.SetException(reason);

        // Whoever waits sees it; where nobody does, it is no unobserved failure.
        _ = _loaded.Task.Exception;
    }

    /// <summary>Whether the chunk that begins there was found to be what its id says.</summary>
    public bool IsVerified(uint offset, in ChunkId id)
    {
        lock (_verified)
        {
            return _verified.TryGetValue(offset, out ChunkId known) && known == id;
        }
    }

    public void SetVerified(uint offset, in ChunkId id)
    {
        lock (_verified)
        {
            _verified[offset] = id;
        }
    }

    /// <summary>Gives the bytes back to the pool.</summary>
    public void Release(ArrayPool<byte> pool)
    {
        if (_plain is { } plain)
        {
            _plain = null;
            pool.Return(plain);
        }
    }
}
