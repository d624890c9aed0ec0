using System.Buffers;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// A file of a restic snapshot: its blobs, one after the other. A blob that a read takes whole is decrypted straight to where it is wanted; one
/// that it takes a part of is held until the read that follows.
/// </summary>
internal sealed class ResticFile : ISourceFile
{
    private readonly ResticRepository _repository;
    private readonly SourceEntry _entry;
    private readonly ResticNode _node;
    private readonly long[] _ends;
    private readonly Lock _gate = new();
    private byte[]? _held;
    private int _heldBlob = -1;

    /// <summary>Looks where the file's blobs lie; reads none yet.</summary>
    /// <exception cref="SourceItemException">The repository does not have all of them.</exception>
    public ResticFile(ResticRepository repository, SourceEntry entry, ResticNode node)
    {
        _repository = repository;
        _entry = entry;
        _node = node;
        _ends = new long[node.Content.Length];
        long end = 0;
        for (int i = 0; i < _ends.Length; i++)
        {
            int length = repository.DataLength(node.Content[i])
                ?? throw Failed($"The restic repository lacks blob {node.Content[i].Short}, which is a part of it, so it is left out.");
            _ends[i] = end += length;
        }

        // What restic restores are the blobs, whatever the entry says of their length.
        Opened = entry.Stat with { Size = (ulong)end, Blocks = ((ulong)end / 512) + 1 };
    }

    /// <inheritdoc/>
    public bool IsSequential => false;

    /// <inheritdoc/>
    public SourceStat Opened { get; }

    /// <inheritdoc/>
    public SourceStat Stat() => Opened;

    /// <inheritdoc/>
    public NodeMetadata Describe() => _node.ToMetadata() with { Size = Opened.Size };

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        int found = Array.BinarySearch(_ends, offset);

        // The first blob that ends behind the offset; those of length 0 hold nothing.
        int blob = found >= 0 ? found + 1 : ~found;
        int total = 0;
        for (; blob < _ends.Length && total < destination.Length; blob++)
        {
            long start = blob == 0 ? 0 : _ends[blob - 1];
            int length = (int)(_ends[blob] - start);
            int from = (int)Math.Max(0, offset - start);
            if (from >= length)
            {
                continue;
            }

            Span<byte> rest = destination[total..];
            int taken = Math.Min(length - from, rest.Length);
            if (from == 0 && taken == length)
            {
                ReadBlob(blob, rest[..length]);
            }
            else
            {
                CopyPart(blob, length, from, rest[..taken]);
            }

            total += taken;
            offset += taken;
        }

        return total;
    }

    /// <inheritdoc/>
    /// <remarks>restic does not keep where a file has holes: all of it is data.</remarks>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = fileEnd - offset;
        return dataLength > 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            Drop();
        }
    }

    private void CopyPart(int blob, int length, int from, Span<byte> destination)
    {
        lock (_gate)
        {
            if (_heldBlob != blob)
            {
                Drop();
                _held = ArrayPool<byte>.Shared.Rent(length);
                ReadBlob(blob, _held.AsSpan(0, length));
                _heldBlob = blob;
            }

            _held.AsSpan(from, destination.Length).CopyTo(destination);
        }
    }

    private void Drop()
    {
        if (_held is { } buffer)
        {
            _held = null;
            _heldBlob = -1;
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void ReadBlob(int blob, Span<byte> destination)
    {
        try
        {
            _repository.ReadData(_node.Content[blob], destination);
        }
        catch (ResticDamageException e)
        {
            throw Failed($"{e.Message.TrimEnd('.')}; it is a part of this file, which is left out.", e);
        }
    }

    private SourceItemException Failed(string message, Exception? cause = null) => new(ErrorCodes.SourceUnreadable, _entry.FullPath(), message, cause);
}
