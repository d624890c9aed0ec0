using System.Runtime.InteropServices;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>What one worker of a restore owns: its opener and its buffers. No thread of its own.</summary>
internal sealed unsafe class RestoreWorker : IDisposable
{
    /// <summary>The longest frame in plain, as docs/format.md bounds it.</summary>
    public const int MaxFrame = 4 << 20;

    /// <summary>The longest read: one frame with its seal, or several smaller ones.</summary>
    public const int MaxRead = MaxFrame + 4096;

    /// <summary>Bytes that a worker takes.</summary>
    public const long Cost = MaxFrame + MaxRead;

    private byte* _plain = (byte*)NativeMemory.AlignedAlloc(MaxFrame, 4096);

    public RestoreWorker(RepositoryKeys keys) => Opener = new FrameOpener(keys);

    public FrameOpener Opener { get; }

    /// <summary>Sealed bytes as they were read.</summary>
    public byte[] Stored { get; } = GC.AllocateUninitializedArray<byte>(MaxRead, pinned: true);

    /// <summary>Room for an opened frame, or for what a file in the target has.</summary>
    public Span<byte> Plain(int length) => new(_plain, length);

    /// <inheritdoc/>
    public void Dispose()
    {
        Opener.Dispose();
        NativeMemory.AlignedFree(_plain);
        _plain = null;
    }
}
