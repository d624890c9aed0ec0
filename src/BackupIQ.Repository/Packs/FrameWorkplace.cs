using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Packs;

/// <summary>What a worker that opens one frame after the other needs again and again. For one thread at a time.</summary>
public sealed class FrameWorkplace(RepositoryKeys keys) : IDisposable
{
    /// <summary>What opens.</summary>
    public FrameOpener Opener { get; } = new(keys);

    /// <summary>Room for a frame as it is stored.</summary>
    public NativeBuffer Stored { get; } = new();

    /// <summary>Room for an opened one.</summary>
    public NativeBuffer Plain { get; } = new();

    /// <inheritdoc/>
    public void Dispose()
    {
        Opener.Dispose();
        Stored.Dispose();
        Plain.Dispose();
    }
}
