using System.Runtime.InteropServices;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// One worker's way into packs: gathers small chunks into frames of up to 1 MiB in the order they come, takes large chunks as frames of
/// their own, compresses, seals and appends. Content can be read straight into <see cref="Reserve"/>d space, so a small file is never
/// copied. Not thread-safe; each worker has its own. Its buffers are native and live as long as it does.
/// </summary>
public sealed unsafe class FrameWriter : IDisposable
{
    /// <summary>Plain bytes of a frame of small chunks: where zstd's gain levels off, and a read for one small file stays cheap.</summary>
    public const int FrameSize = 1 << 20;

    /// <summary>A chunk from this size on is a frame of its own.</summary>
    public const int LargeChunk = FrameSize / 2;

    private const int MaxChunksPerFrame = 60_000;

    private readonly UploadSession _session;
    private readonly PackKind _kind;
    private readonly FrameCompressor _compressor;
    private readonly List<ChunkEntry> _chunks = [];
    private readonly byte[] _idKey;
    private byte* _plain;
    private byte* _stored;
    private int _storedCapacity;
    private int _used;
    private bool _allIncompressible = true;

    internal FrameWriter(UploadSession session, PackKind kind, CompressionSetting compression)
    {
        _session = session;
        _kind = kind;
        _compressor = new FrameCompressor(compression);
        _idKey = (kind == PackKind.Data ? session.Keys.DataIdKey : session.Keys.MetadataIdKey).ToArray();
        _plain = (byte*)NativeMemory.Alloc(FrameSize);
        Grow(FrameCompressor.MaxCompressedSize(FrameSize));
    }

    /// <summary>The id that these bytes have in this repository.</summary>
    public ChunkId IdOf(ReadOnlySpan<byte> plain)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(_idKey, plain, digest);
        return ChunkId.Read(digest);
    }

    /// <summary>
    /// Space for a chunk of up to <paramref name="length"/> bytes (less than <see cref="FrameSize"/>) that is about to be read. Nothing is
    /// kept until <see cref="Keep"/>; the next reservation or write takes the space back.
    /// </summary>
    public Span<byte> Reserve(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, FrameSize);
        if (_used + length > FrameSize || _chunks.Count >= MaxChunksPerFrame)
        {
            Flush();
        }

        return new Span<byte>(_plain + _used, length);
    }

    /// <summary>
    /// Names the first <paramref name="length"/> bytes of the space reserved last and keeps them, unless the repository has them already.
    /// </summary>
    public ChunkId Keep(int length, ContentHint hint)
    {
        ChunkId id = IdOf(new ReadOnlySpan<byte>(_plain + _used, length));
        if (_session.Claim(_kind, id, length))
        {
            _chunks.Add(new ChunkEntry(id, (uint)length));
            _used += length;
            _allIncompressible &= hint == ContentHint.Incompressible;
        }

        return id;
    }

    /// <summary>Stores a chunk of 1 byte to 4 MiB, unless the repository has it already; returns its id.</summary>
    public ChunkId Write(ReadOnlySpan<byte> plain, ContentHint hint)
    {
        if (plain.Length < LargeChunk)
        {
            plain.CopyTo(Reserve(plain.Length));
            return Keep(plain.Length, hint);
        }

        ChunkId id = IdOf(plain);
        if (_session.Claim(_kind, id, plain.Length))
        {
            List<ChunkEntry> single = [new ChunkEntry(id, (uint)plain.Length)];
            Seal(plain, single, hint);
        }

        return id;
    }

    /// <summary>Ends the frame that is being filled. Its chunks are in a pack afterwards, but durable only after the session's flush.</summary>
    public void Flush()
    {
        if (_chunks.Count == 0)
        {
            return;
        }

        ContentHint hint = _kind == PackKind.Metadata ? ContentHint.Metadata : _allIncompressible ? ContentHint.Incompressible : ContentHint.Unknown;
        Seal(new ReadOnlySpan<byte>(_plain, _used), _chunks, hint);
        _chunks.Clear();
        _used = 0;
        _allIncompressible = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _compressor.Dispose();
        NativeMemory.Free(_plain);
        NativeMemory.Free(_stored);
        _plain = _stored = null;
    }

    private void Seal(ReadOnlySpan<byte> plain, List<ChunkEntry> chunks, ContentHint hint)
    {
        if (_session.IsDryRun)
        {
            return;
        }

        Grow(FrameCompressor.MaxCompressedSize(plain.Length) + FrameCipher.TagSize);
        Span<byte> stored = new(_stored, _storedCapacity);
        FrameCompression result = _compressor.Compress(plain, stored[..^FrameCipher.TagSize], hint);
        ReadOnlySpan<byte> body = result.Codec == Codec.None ? plain : stored[..result.StoredLength];
        Span<byte> destination = stored[..(body.Length + FrameCipher.TagSize)];
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteAssociatedData(associated, _session.Keys.Repository, _kind, (uint)plain.Length, result.Codec);

        OpenPack pack = _session.Packs.Reserve(_kind, out uint counter);
        try
        {
            FrameCipher cipher = pack.Borrow();
            cipher.Seal(counter, body, associated, destination);
            pack.Return(cipher);
        }
        catch
        {
            _session.Packs.Abandon(pack);
            throw;
        }

        FrameEntry frame = new(0, (uint)destination.Length, (uint)plain.Length, counter, result.Codec, 0, (ushort)chunks.Count);
        _session.Packs.Append(pack, destination, frame, chunks);
    }

    private void Grow(int capacity)
    {
        if (capacity > _storedCapacity)
        {
            _stored = (byte*)NativeMemory.Realloc(_stored, (nuint)capacity);
            _storedCapacity = capacity;
        }
    }
}
