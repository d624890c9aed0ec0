using System.Buffers;
using System.Runtime.InteropServices;

namespace BackupIQ.Primitives;

/// <summary>
/// A buffer outside of the collected heap, for what is mebibytes long: given up, it is the system's again at once, where an array would stay until
/// the collector looks at the old and large, and count until then. Its content is not cleared. Whoever has it disposes it.
/// </summary>
public sealed unsafe class NativeBuffer : MemoryManager<byte>
{
    private byte* _bytes;
    private int _length;

    /// <summary>The bytes that it has.</summary>
    public int Length => _length;

    /// <summary>The first <paramref name="length"/> bytes. Where it has fewer it grows, and what was given before is valid no more.</summary>
    public Memory<byte> Room(int length)
    {
        if (length > _length)
        {
            // Not moved: nobody wants what was in it.
            GiveUp();
            _bytes = (byte*)NativeMemory.Alloc((nuint)length);
            _length = length;
        }

        return CreateMemory(length);
    }

    /// <inheritdoc/>
    public override Span<byte> GetSpan() => new(_bytes, _length);

    /// <inheritdoc/>
    public override MemoryHandle Pin(int elementIndex = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)elementIndex, (uint)_length);
        return new MemoryHandle(_bytes + elementIndex);
    }

    /// <inheritdoc/>
    public override void Unpin()
    {
        // It never moves.
    }

    /// <summary>Gives the bytes back; they are there again when there must be <see cref="Room"/>.</summary>
    public void GiveUp()
    {
        NativeMemory.Free(_bytes);
        _bytes = null;
        _length = 0;
    }

    /// <summary>Gives the bytes back.</summary>
    public void Dispose() => ((IDisposable)this).Dispose();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => GiveUp();
}
