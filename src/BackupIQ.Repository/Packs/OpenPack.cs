using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// A pack that is being written: a file, hashed as it grows, never held in memory. Frames are sealed by their writers, side by side, under
/// the pack's salt and a counter that <see cref="NextCounter"/> hands out; only the append is one at a time.
/// </summary>
internal sealed class OpenPack : IDisposable
{
    private readonly RepositoryKeys _keys;
    private readonly ConcurrentBag<FrameCipher> _ciphers = [];
    private readonly Blake3Hasher _hasher = new();
    private readonly SafeFileHandle _file;
    private readonly SaltRow _salt;
    private uint _nextCounter;
    private IOException? _fault;

    /// <summary>
    /// Begins a pack. <paramref name="foreignSalts"/> are those of frames that will be moved here as they are, in the order of their rows, from
    /// row 1 on; nothing new is sealed under them.
    /// </summary>
    public OpenPack(
        RepositoryKeys keys, PackKind kind, SessionId session, ushort worker, string path, long startedAt, IReadOnlyList<SaltRow>? foreignSalts = null)
    {
        _keys = keys;
        _salt = SaltRow.New(keys);
        Path = path;
        StartedAt = startedAt;
        Head = new PackHead(kind, session, worker, [_salt, .. foreignSalts ?? []]);
        Contents = new PackContents(kind, session, worker);
        _file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
        byte[] head = new byte[Head.Size];
        Head.Write(head);
        Write(head);
    }

    public string Path { get; }

    /// <summary>Monotonic milliseconds when it was begun.</summary>
    public long StartedAt { get; }

    public PackHead Head { get; }

    public PackContents Contents { get; }

    /// <summary>Bytes written so far.</summary>
    public long Length { get; private set; }

    /// <summary>Frames that have a counter and are not appended yet. Guarded by the sink.</summary>
    public int Outstanding { get; set; }

    /// <summary>No more counters are handed out. Guarded by the sink.</summary>
    public bool IsClosing { get; set; }

    /// <summary>Completes when the pack is durable and known, or has failed (the sink then says why).</summary>
    public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public uint NextCounter() => _nextCounter++;

    /// <summary>Borrows a cipher for one sealing; give it back with <see cref="Return"/>.</summary>
    public FrameCipher Borrow() =>
        _ciphers.TryTake(out FrameCipher? cipher) ? cipher : _keys.CreateCipher(_salt, FrameSeal.PurposeOf(Head.Kind));

    public void Return(FrameCipher cipher) => _ciphers.Add(cipher);

    /// <summary>Appends a sealed frame and lists it. One at a time. Once that failed the pack takes no frame any more, and has no end.</summary>
    /// <exception cref="IOException">It could not be written, or one before it could not.</exception>
    public void Append(ReadOnlySpan<byte> sealedFrame, in FrameEntry frame, IReadOnlyList<ChunkEntry> chunks)
    {
        ThrowIfBroken();
        uint offset = checked((uint)Length);
        try
        {
            Write(sealedFrame);
        }
        catch (IOException e)
        {
            _fault = e;
            throw;
        }

        Contents.Frames.Add(frame with { Offset = offset });
        Contents.Chunks.AddRange(chunks);
    }

    /// <summary>Writes the contents table twice and the trailer, closes the file, and returns the pack's name.</summary>
    /// <exception cref="IOException">They could not be written, or a frame could not.</exception>
    public PackId Finish()
    {
        ThrowIfBroken();
        using NativeBuffer plainRoom = new(), tableRoom = new();
        Span<byte> plain = plainRoom.Room(Contents.Size).Span;
        Contents.Write(plain);
        Span<byte> table = tableRoom.Room(plain.Length + FrameCipher.TagSize).Span;
        Span<byte> associated = stackalloc byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteContentsData(associated, _keys.Repository, Head.Kind, (uint)plain.Length);
        FrameCipher cipher = Borrow();
        cipher.Seal(FrameSeal.ContentsCounter, plain, associated, table);
        Return(cipher);
        uint first = checked((uint)Length);
        Write(table);
        Write(table);
        byte[] trailer = new byte[PackTrailer.Size];
        new PackTrailer(first, (uint)table.Length, (ulong)Length + PackTrailer.Size).Write(trailer);
        Write(trailer);
        Span<byte> digest = stackalloc byte[PackId.Size];
        _hasher.Finish(digest);
        _file.Dispose();
        return PackId.Read(digest);
    }

    public void Dispose()
    {
        _file.Dispose();
        while (_ciphers.TryTake(out FrameCipher? cipher))
        {
            cipher.Dispose();
        }
    }

    // The file may hold a part of that frame, and nobody else will store its chunks: such a pack must never count, whoever still has something for it.
    // The reason stays the first one: writers are side by side, and it does not matter which of them is heard.
    private void ThrowIfBroken()
    {
        if (_fault is { } fault)
        {
            throw new IOException(fault.Message, fault) { HResult = fault.HResult };
        }
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        RandomAccess.Write(_file, bytes, Length);
        _hasher.Update(bytes);
        Length += bytes.Length;
    }
}
