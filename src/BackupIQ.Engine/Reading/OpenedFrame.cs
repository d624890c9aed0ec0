using System.Numerics;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Reading;

/// <summary>A frame that a <see cref="FramePipeline"/> keeps. Its bytes are valid while whoever rented it holds it.</summary>
internal sealed class OpenedFrame(FrameReference reference)
{
    private readonly TaskCompletionSource _loaded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Dictionary<uint, ChunkId> _verified = [];
    private NativeBuffer? _plain;

    public FrameReference Reference { get; } = reference;

    /// <summary>Bytes that it takes.</summary>
    public long Cost => RoomFor(Reference);

    /// <summary>Ends when the frame is open, or with the reason why it is not.</summary>
    public Task Loaded => _loaded.Task;

    /// <summary>The opened bytes.</summary>
    public ReadOnlyMemory<byte> Plain => _plain!.Memory[..(int)Reference.PlainLength];

    /// <summary>Where it stands among the frames that are kept; null when it is kept no more. Guarded by the pipeline.</summary>
    public LinkedListNode<OpenedFrame>? Place { get; set; }

    /// <summary>How many hold it. Guarded by the pipeline.</summary>
    public int Users { get; set; }

    public void Set(NativeBuffer plain)
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

    /// <summary>The size of the buffer for a frame: one of few, so that buffers are used again.</summary>
    public static int RoomFor(in FrameReference frame) => (int)BitOperations.RoundUpToPowerOf2(Math.Max(frame.PlainLength, 64 << 10));

    /// <summary>Gives the buffer up; null where there was none yet.</summary>
    public NativeBuffer? Release()
    {
        NativeBuffer? plain = _plain;
        _plain = null;
        return plain;
    }
}
