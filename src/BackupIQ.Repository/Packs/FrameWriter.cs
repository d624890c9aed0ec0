using System.Runtime.InteropServices;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// One worker's way into packs: gathers chunks into frames in the order they come, takes large chunks, and those that do not compress, as
/// frames of their own, compresses, seals and appends. Content can be read straight into <see cref="Reserve"/>d space, so a small file is
/// never copied. Not thread-safe; each worker has its own. Its buffers are native and live as long as it does.
/// </summary>
public sealed unsafe class FrameWriter : IDisposable
{
    /// <summary>
    /// Plain bytes of a frame of data: all that a frame may have, because zstd's gain from neighbours pays up to there (docs/adr/0004), and
    /// opening one for a single small file still takes some milliseconds only.
    /// </summary>
    public const int DataFrameSize = FrameCompressor.MaxPlainLength;

    /// <summary>Plain bytes of a frame of metadata: who browses reads here and there, and trees gain little from more.</summary>
    public const int MetadataFrameSize = 1 << 20;

    /// <summary>A chunk from this size on is asked whether it compresses before it is put beside others.</summary>
    private const int ProbedAlone = 256 << 10;

    /// <summary>
    /// Frames whose chunks are smaller than this on the average are compressed without a look, whatever the names say: packed pages of a manual
    /// (gz) still gave a tenth for what they repeat of each other, which no look finds, and the try costs 4 ms a MiB.
    /// </summary>
    private const int AlwaysTried = 64 << 10;

    private const int MaxChunksPerFrame = 60_000;

    private readonly UploadSession _session;
    private readonly PackKind _kind;
    private readonly FrameCompressor _compressor;
    private readonly List<ChunkEntry> _chunks = [];
    private readonly byte[] _idKey;
    private readonly int _frameSize;
    private byte* _plain;
    private byte* _stored;
    private int _storedCapacity;
    private int _used;
    private bool _allIncompressible = true;
    private bool _anyCompressible;

    internal FrameWriter(UploadSession session, PackKind kind, CompressionSetting compression)
    {
        _session = session;
        _kind = kind;
        _compressor = new FrameCompressor(compression);
        _idKey = (kind == PackKind.Data ? session.Keys.DataIdKey : session.Keys.MetadataIdKey).ToArray();
        _frameSize = kind == PackKind.Data ? DataFrameSize : MetadataFrameSize;
        _plain = (byte*)NativeMemory.Alloc((nuint)_frameSize);
    }

    /// <summary>The id that these bytes have in this repository.</summary>
    public ChunkId IdOf(ReadOnlySpan<byte> plain)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(_idKey, plain, digest);
        return ChunkId.Read(digest);
    }

    /// <summary>
    /// Space for a chunk of up to <paramref name="length"/> bytes (no more than a frame has) that is about to be read. Nothing is
    /// kept until <see cref="Keep"/>; the next reservation or write takes the space back.
    /// </summary>
    public Span<byte> Reserve(int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, _frameSize);
        if (!HasRoomFor(length))
        {
            Flush();
        }

        return new Span<byte>(_plain + _used, length);
    }

    /// <summary>Whether a chunk of that length can be put beside what the frame has that is being filled.</summary>
    internal bool HasRoomFor(int length) => _used + length <= _frameSize && _chunks.Count < MaxChunksPerFrame;

    /// <summary>
    /// Names the first <paramref name="length"/> bytes of the space reserved last and keeps them, unless the repository has them already.
    /// </summary>
    public ChunkId Keep(int length, ContentHint hint)
    {
        ChunkId id = IdOf(new ReadOnlySpan<byte>(_plain + _used, length));
        if (_session.Claim(_kind, id, length))
        {
            Add(id, length, hint);
        }

        return id;
    }

    /// <summary>Stores a chunk of 1 byte to 4 MiB, unless the repository has it already; returns its id.</summary>
    public ChunkId Write(ReadOnlySpan<byte> plain, ContentHint hint)
    {
        if (plain.Length < ProbedAlone)
        {
            plain.CopyTo(Reserve(plain.Length));
            return Keep(plain.Length, hint);
        }

        ChunkId id = IdOf(plain);
        if (!_session.Claim(_kind, id, plain.Length))
        {
            return id;
        }

        bool compresses = _compressor.IsWorthTrying(plain, hint);
        if (compresses && plain.Length <= _frameSize / 2)
        {
            plain.CopyTo(Reserve(plain.Length));
            Add(id, plain.Length, ContentHint.Compressible);
        }
        else
        {
            List<ChunkEntry> single = [new ChunkEntry(id, (uint)plain.Length)];
            Seal(plain, single, compresses ? ContentHint.Compressible : ContentHint.Stored);
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

        ContentHint hint = _kind == PackKind.Metadata || _anyCompressible || _used / _chunks.Count < AlwaysTried ? ContentHint.Compressible
            : _allIncompressible ? ContentHint.Incompressible : ContentHint.Unknown;
        Seal(new ReadOnlySpan<byte>(_plain, _used), _chunks, hint);
        _chunks.Clear();
        _used = 0;
        _allIncompressible = true;
        _anyCompressible = false;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _compressor.Dispose();
        GiveUpRoom();
        NativeMemory.Free(_plain);
        _plain = null;
    }

    /// <summary>Gives back the room for a sealed frame until the next one is sealed: for who does something else meanwhile.</summary>
    internal void GiveUpRoom()
    {
        NativeMemory.Free(_stored);
        _stored = null;
        _storedCapacity = 0;
    }

    private void Add(in ChunkId id, int length, ContentHint hint)
    {
        _chunks.Add(new ChunkEntry(id, (uint)length));
        _used += length;
        _allIncompressible &= hint == ContentHint.Incompressible;
        _anyCompressible |= hint == ContentHint.Compressible;
    }

    private void Seal(ReadOnlySpan<byte> plain, List<ChunkEntry> chunks, ContentHint hint)
    {
        if (_session.IsDryRun)
        {
            return;
        }

        Grow(FrameCompressor.MaxCompressedSize(plain.Length) + FrameCipher.TagSize);
        Span<byte> stored = new(_stored, _storedCapacity);
        _compressor.Effort = _session.Packs.Effort;
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
