using System.Runtime.InteropServices;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// Opens frames: decrypts, decompresses, and tells whether chunks are what their ids say. Not thread-safe; each worker has its own.
/// </summary>
public sealed unsafe class FrameOpener : IDisposable
{
    private readonly RepositoryKeys _keys;
    private readonly FrameDecompressor _decompressor = new();
    private readonly Dictionary<SaltRow, FrameCipher> _ciphers = [];
    private readonly byte[] _dataIdKey;
    private readonly byte[] _metadataIdKey;
    private byte* _body;
    private int _capacity;

    /// <summary>For frames of the repository whose keys these are.</summary>
    public FrameOpener(RepositoryKeys keys)
    {
        _keys = keys;
        _dataIdKey = keys.DataIdKey.ToArray();
        _metadataIdKey = keys.MetadataIdKey.ToArray();
    }

    /// <summary>
    /// Opens the stored bytes of a frame (exactly <see cref="FrameReference.StoredLength"/>) into <paramref name="plain"/> (exactly
    /// <see cref="FrameReference.PlainLength"/>).
    /// </summary>
    /// <exception cref="CorruptDataException">The bytes are not what was stored; names the pack.</exception>
    public void Open(in FrameReference frame, ReadOnlySpan<byte> stored, Span<byte> plain)
    {
        Require(frame, stored.Length, plain.Length);
        Open(frame, stored, IsStoredPlain(frame) ? plain : Scratch(stored.Length - FrameCipher.TagSize), plain);
    }

    /// <summary>The same for who does not need the stored bytes any more: they are overwritten, and no room for a frame is held beside them.</summary>
    /// <exception cref="CorruptDataException">The bytes are not what was stored; names the pack.</exception>
    public void OpenInPlace(in FrameReference frame, Span<byte> stored, Span<byte> plain)
    {
        Require(frame, stored.Length, plain.Length);
        Open(frame, stored, IsStoredPlain(frame) ? plain : stored[..^FrameCipher.TagSize], plain);
    }

    /// <summary>Whether these bytes are the chunk of that id.</summary>
    public bool IsChunk(PackKind kind, in ChunkId id, ReadOnlySpan<byte> plain)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(kind == PackKind.Data ? _dataIdKey : _metadataIdKey, plain, digest);
        return ChunkId.Read(digest) == id;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _decompressor.Dispose();
        foreach (FrameCipher cipher in _ciphers.Values)
        {
            cipher.Dispose();
        }

        NativeMemory.Free(_body);
        _body = null;
    }

    /// <summary>Whether the opened bytes are as long as the stored ones without their seal: they can be opened where they lie.</summary>
    internal static bool IsStoredPlain(in FrameReference frame) => frame.Codec == Codec.None && frame.StoredLength == frame.PlainLength + FrameCipher.TagSize;

    private static void Require(in FrameReference frame, int stored, int plain)
    {
        if (stored != frame.StoredLength || plain != frame.PlainLength || stored < FrameCipher.TagSize)
        {
            throw Damaged(frame, "it is cut short");
        }
    }

    private void Open(in FrameReference frame, ReadOnlySpan<byte> stored, Span<byte> body, Span<byte> plain)
    {
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteAssociatedData(associated, _keys.Repository, frame.Kind, frame.PlainLength, frame.Codec);
        if (!CipherFor(frame).TryOpen(frame.Counter, stored, associated, body))
        {
            throw Damaged(frame, "its seal does not hold");
        }

        if (IsStoredPlain(frame))
        {
            return;
        }

        try
        {
            _decompressor.Decompress(frame.Codec, body, plain);
        }
        catch (CorruptDataException e)
        {
            throw Damaged(frame, "it does not decompress", e);
        }
    }

    private static CorruptDataException Damaged(in FrameReference frame, string why, Exception? inner = null) =>
        new($"Pack {frame.Pack} is damaged: a frame at byte {frame.Offset} cannot be opened, {why}.", inner);

    private FrameCipher CipherFor(in FrameReference frame)
    {
        if (_ciphers.TryGetValue(frame.Salt, out FrameCipher? cipher))
        {
            return cipher;
        }

        // A restore walks from pack to pack; a few ciphers are enough, and none is kept for ever.
        if (_ciphers.Count >= 64)
        {
            foreach (FrameCipher old in _ciphers.Values)
            {
                old.Dispose();
            }

            _ciphers.Clear();
        }

        cipher = _keys.CreateCipher(frame.Salt, FrameSeal.PurposeOf(frame.Kind));
        _ciphers.Add(frame.Salt, cipher);
        return cipher;
    }

    private Span<byte> Scratch(int length)
    {
        if (length > _capacity)
        {
            _body = (byte*)NativeMemory.Realloc(_body, (nuint)length);
            _capacity = length;
        }

        return new Span<byte>(_body, length);
    }
}
