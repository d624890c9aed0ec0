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

    /// <summary>
    /// Opens a frame that lies in <see cref="Stored"/>; what comes back is valid until the next one. Of the two rooms only the one is held afterwards in which
    /// the opened bytes are: beside it the caller fills and seals frames of his own.
    /// </summary>
    /// <exception cref="CorruptDataException">The bytes are not what was stored; names the pack.</exception>
    internal Memory<byte> Open(in FrameReference frame, Memory<byte> stored)
    {
        if (FrameOpener.IsStoredPlain(frame))
        {
            Plain.GiveUp();
            Memory<byte> inPlace = stored[..(int)frame.PlainLength];
            Opener.OpenInPlace(frame, stored.Span, inPlace.Span);
            return inPlace;
        }

        Memory<byte> plain = Plain.Room((int)frame.PlainLength);
        Opener.OpenInPlace(frame, stored.Span, plain.Span);
        Stored.GiveUp();
        return plain;
    }

    /// <summary>Gives both rooms back until the next frame is opened.</summary>
    internal void GiveUp()
    {
        Stored.GiveUp();
        Plain.GiveUp();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Opener.Dispose();
        Stored.Dispose();
        Plain.Dispose();
    }
}
