using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// A restic repository (version 1 or 2) in a folder, opened to be read. Nothing of it is believed before it is verified: files and blobs by
/// the authenticator and the SHA-256 that is their name. Its files are only read; restic may work on it meanwhile, but for a prune, which takes
/// away what is being read. Any thread may read from it. Dispose it to wipe its key.
/// </summary>
public sealed class ResticRepository : IDisposable
{
    /// <summary>restic cuts blobs at 8 MiB; other programs that write the format may cut elsewhere.</summary>
    private const int MaxDataBlob = 64 << 20;

    /// <summary>A folder of a million files is some 500 MB.</summary>
    private const int MaxTreeBlob = 1 << 30;

    private const int MaxSmallFile = 1 << 20;
    private const int MaxSnapshotFile = 64 << 20;

    /// <summary>restic keeps an index file below 8 MiB; a pruned repository's may be larger.</summary>
    private const int MaxIndexFile = 1 << 30;

    /// <summary>restic itself tries no more.</summary>
    private const int MaxKeys = 20;

    private const int MaxPackHeader = 16 << 20;

    private readonly ResticFolder _folder;
    private readonly ResticKey _key;
    private readonly List<string> _damage = [];
    private readonly ResticIndex _index = new();

    private ResticRepository(ResticFolder folder, ResticKey key, string id, int version)
    {
        _folder = folder;
        _key = key;
        Id = id;
        Version = version;
    }

    /// <summary>The repository's id, 64 hex digits.</summary>
    public string Id { get; }

    /// <summary>The version of its format: 1 or 2.</summary>
    public int Version { get; }

    /// <summary>Where it lies.</summary>
    public string Location => _folder.Location;

    /// <summary>Blobs that it knows, once <see cref="LoadIndex"/> has run.</summary>
    public int BlobCount => _index.Count;

    /// <summary>Damage that was met and prevented nothing by itself, a sentence each.</summary>
    public IReadOnlyList<string> Damage
    {
        get
        {
            lock (_damage)
            {
                return [.. _damage];
            }
        }
    }

    /// <summary>Opens the repository in the folder <paramref name="path"/>.</summary>
    /// <exception cref="BackupIQException">
    /// <see cref="ErrorCodes.RepositoryNotFound"/>, <see cref="ErrorCodes.Authentication"/>, <see cref="ErrorCodes.UnsupportedFormat"/>;
    /// <see cref="ErrorCodes.CorruptData"/>: what opens it is damaged.
    /// </exception>
    public static ResticRepository Open(string path, Secret password)
    {
        ResticFolder folder = new(path);
        ResticKey? key = null;
        try
        {
            key = Unlock(folder, password);
            byte[] config = OpenSealed(key, folder.Read("config", MaxSmallFile), MaxSmallFile)
                ?? throw new ResticDamageException("The configuration of the restic repository is damaged.");
            (string id, long version) = ResticJson.Read(config, "The configuration", static root => (ResticJson.Id(root, "id").ToString(), ResticJson.Number(root, "version")));
            return version is 1 or 2
                ? new ResticRepository(folder, key, id, (int)version)
                : throw new BackupIQException(
                    ErrorCodes.UnsupportedFormat, $"The restic repository has version {version}; versions 1 and 2 can be read", "Update BackupIQ.");
        }
        catch
        {
            key?.Dispose();
            folder.Dispose();
            throw;
        }
    }

    /// <summary>All snapshots, oldest first. One that is damaged is left out and told in <see cref="Damage"/>.</summary>
    public IReadOnlyList<ResticSnapshot> ListSnapshots(CancellationToken cancellationToken)
    {
        List<ResticSnapshot> snapshots = [];
        foreach (ResticId id in _folder.List(_folder.SnapshotFolder))
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                snapshots.Add(ResticSnapshot.Parse(id, ReadFile(_folder.SnapshotFolder, id, MaxSnapshotFile)));
            }
            catch (ResticDamageException e)
            {
                Tell($"Snapshot {id.Short} of the restic repository is left out: {e.Message}");
            }
        }

        snapshots.Sort(static (a, b) => a.Time != b.Time ? a.Time.CompareTo(b.Time) : string.CompareOrdinal(a.Id, b.Id));
        return snapshots;
    }

    /// <summary>
    /// Reads the index: once, before the first blob. Where an index file is damaged, what it named is found again in the headers of the packs.
    /// </summary>
    public void LoadIndex(CancellationToken cancellationToken)
    {
        bool isWhole = true;
        foreach (ResticId id in _folder.List("index"))
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                _index.AddFile(ReadFile("index", id, MaxIndexFile));
            }
            catch (ResticDamageException e)
            {
                isWhole = false;
                Tell($"Index {id.Short} of the restic repository is left out: {e.Message}");
            }
        }

        if (isWhole && _index.Count > 0)
        {
            return;
        }

        foreach (ResticId pack in _folder.List("data", below: true))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!_index.HasPack(pack))
            {
                try
                {
                    ReadHeader(pack);
                }
                catch (ResticDamageException e)
                {
                    Tell(e.Message);
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _key.Dispose();
        _folder.Dispose();
    }

    /// <summary>The length of a blob of data, or null where the index has none that is as long as a blob can be.</summary>
    internal int? DataLength(ResticId id) => _index.TryFind(id, isTree: false, 0, out ResticBlob blob) && blob.PlainLength <= MaxDataBlob ? (int)blob.PlainLength : null;

    /// <summary>Reads a blob of data to <paramref name="destination"/>, which must have its length.</summary>
    /// <exception cref="ResticDamageException">No copy of it is whole.</exception>
    internal void ReadData(ResticId id, Span<byte> destination)
    {
        if (!TryRead(id, isTree: false, destination))
        {
            throw new ResticDamageException($"Blob {id.Short} of the restic repository is damaged or not there.");
        }
    }

    /// <summary>Reads a tree's document.</summary>
    /// <exception cref="ResticDamageException">No copy of it is whole.</exception>
    internal byte[] ReadTree(ResticId id)
    {
        byte[] plain = _index.TryFind(id, isTree: true, 0, out ResticBlob blob) && blob.PlainLength <= MaxTreeBlob ? new byte[blob.PlainLength] : [];
        return plain.Length > 0 && TryRead(id, isTree: true, plain)
            ? plain
            : throw new ResticDamageException($"Tree {id.Short} of the restic repository is damaged or not there.");
    }

    /// <summary>Opens what a file holds: the document itself, or behind a byte 2 what zstd made of it. Null: it was not sealed with this key.</summary>
    /// <exception cref="ResticDamageException">It is sealed well, but holds neither.</exception>
    internal static byte[]? OpenSealed(ResticKey key, byte[] file, int atMost)
    {
        if (file.Length < ResticKey.Overhead)
        {
            return null;
        }

        byte[] plain = new byte[file.Length - ResticKey.Overhead];
        return !key.TryOpen(file, plain) ? null
            : plain is [(byte)'{' or (byte)'[', ..] ? plain
            : plain is [2, ..] ? Decompress(plain.AsSpan(1), atMost)
            : throw new ResticDamageException("A file of the restic repository is of a kind that this version does not know.");
    }

    // The length is not known beforehand: the buffer grows until it holds the document.
    private static byte[] Decompress(ReadOnlySpan<byte> compressed, int atMost)
    {
        for (long size = Math.Clamp(compressed.Length * 8L, 4096, atMost); ; size = Math.Min(size * 4, atMost))
        {
            byte[] buffer = ArrayPool<byte>.Shared.Rent((int)size);
            try
            {
                int length = ResticLibraries.Decompress(compressed, buffer.AsSpan(0, (int)size));
                if (length >= 0)
                {
                    return buffer[..length];
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }

            if (size == atMost)
            {
                throw new ResticDamageException("A file of the restic repository cannot be decompressed.");
            }
        }
    }

    private static ResticKey Unlock(ResticFolder folder, Secret password)
    {
        string? damaged = null;
        foreach (ResticId id in folder.List(folder.KeyFolder).Take(MaxKeys))
        {
            try
            {
                byte[] file = folder.Read($"{folder.KeyFolder}/{id}", MaxSmallFile);
                if (ResticId.Read(SHA256.HashData(file)) != id)
                {
                    throw new ResticDamageException($"Key {id.Short} of the restic repository is not what its name says.");
                }

                if (ResticKey.Unlock(file, password.Bytes) is { } key)
                {
                    return key;
                }
            }
            catch (ResticDamageException e)
            {
                damaged = e.Message;
            }
        }

        throw damaged is null
            ? new BackupIQException(ErrorCodes.Authentication, "The password does not open the restic repository", "Check the password of that repository.").With("location", folder.Location)
            : new BackupIQException(ErrorCodes.Authentication, $"No whole key of the restic repository is opened by this password. {damaged}", "Check the password of that repository.")
                .With("location", folder.Location);
    }

    private byte[] ReadFile(string folder, ResticId id, int atMost)
    {
        byte[] file = _folder.Read($"{folder}/{id}", atMost);
        return ResticId.Read(SHA256.HashData(file)) == id
            ? OpenSealed(_key, file, atMost) ?? throw new ResticDamageException("It was not made with this repository's key.")
            : throw new ResticDamageException("It is not what its name says.");
    }

    private bool TryRead(ResticId id, bool isTree, Span<byte> destination)
    {
        for (int copy = 0; _index.TryFind(id, isTree, copy, out ResticBlob blob); copy++)
        {
            if (blob.PlainLength == destination.Length && blob.Length <= (isTree ? MaxTreeBlob : MaxDataBlob) + ResticKey.Overhead && TryRead(id, blob, destination))
            {
                return true;
            }
        }

        return false;
    }

    private bool TryRead(ResticId id, in ResticBlob blob, Span<byte> destination)
    {
        int length = (int)blob.Length;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            Span<byte> stored = buffer.AsSpan(0, length);
            if (!_folder.ReadPack(_index.Packs[blob.Pack], blob.Offset, stored))
            {
                return false;
            }

            bool isOpen;
            if (blob.IsCompressed)
            {
                Span<byte> compressed = stored[(ResticKey.Overhead / 2)..^(ResticKey.Overhead / 2)];
                isOpen = _key.TryOpen(stored, compressed) && ResticLibraries.Decompress(compressed, destination) == destination.Length;
            }
            else
            {
                isOpen = destination.Length == length - ResticKey.Overhead && _key.TryOpen(stored, destination);
            }

            Span<byte> hash = stackalloc byte[ResticId.Size];
            SHA256.HashData(destination, hash);
            return isOpen && ResticId.Read(hash) == id;
        }
        catch (ResticDamageException)
        {
            // The pack is gone or unreadable. Another copy may be there.
            return false;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private void ReadHeader(ResticId pack)
    {
        Span<byte> size = stackalloc byte[sizeof(uint)];
        long total = _folder.PackLength(pack);
        if (total < sizeof(uint) || !_folder.ReadPack(pack, total - sizeof(uint), size))
        {
            throw new ResticDamageException($"Pack {pack.Short} of the restic repository is too short.");
        }

        uint length = BinaryPrimitives.ReadUInt32LittleEndian(size);
        if (length < ResticKey.Overhead || length > MaxPackHeader || length > total - sizeof(uint))
        {
            throw new ResticDamageException($"The header of pack {pack.Short} of the restic repository is damaged.");
        }

        byte[] header = new byte[length];
        byte[] plain = new byte[length - ResticKey.Overhead];
        if (!_folder.ReadPack(pack, total - sizeof(uint) - length, header) || !_key.TryOpen(header, plain))
        {
            throw new ResticDamageException($"The header of pack {pack.Short} of the restic repository is damaged.");
        }

        _index.AddHeader(pack, plain, total - sizeof(uint) - length);
    }

    private void Tell(string damage)
    {
        lock (_damage)
        {
            _damage.Add(damage);
        }
    }
}
