using System.Buffers.Binary;
using System.Security.Cryptography;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// What a slot wraps: format u8 = 1, reserved u8 = 0, count u16, then for each epoch, ascending, {epoch u16, master 32}, then the id key
/// (32) and the gear key (32). Bytes after that belong to newer versions; they are kept when a keyring is wrapped again.
/// </summary>
internal static class Keyring
{
    private const int HeadSize = 4;
    private const int EntrySize = 2 + RepositoryKeys.KeySize;
    /// <summary>The most epochs of a keyring.</summary>
    public const int MaxEpochs = 512;


    /// <summary>Writes the keyring. The caller wipes the result.</summary>
    public static byte[] Write(RepositoryKeys keys)
    {
        ReadOnlySpan<byte> extension = keys.Extension;
        byte[] bytes = GC.AllocateArray<byte>(
            HeadSize + (keys.Masters.Count * EntrySize) + (2 * RepositoryKeys.KeySize) + extension.Length, pinned: true);
        bytes[0] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), (ushort)keys.Masters.Count);
        int at = HeadSize;
        foreach ((ushort epoch, byte[] master) in keys.Masters)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), epoch);
            master.CopyTo(bytes, at + 2);
            at += EntrySize;
        }

        keys.IdKey.CopyTo(bytes.AsSpan(at));
        keys.GearKey.CopyTo(bytes.AsSpan(at + RepositoryKeys.KeySize));
        extension.CopyTo(bytes.AsSpan(at + (2 * RepositoryKeys.KeySize)));
        return bytes;
    }

    /// <summary>Reads a keyring; null when the bytes, though well sealed, are not one that this version knows.</summary>
    public static RepositoryKeys? TryRead(RepositoryId repository, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeadSize || bytes[0] != 1 || bytes[1] != 0)
        {
            return null;
        }

        int count = BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]);
        int tail = HeadSize + (count * EntrySize);
        if (count is 0 or > MaxEpochs || bytes.Length < tail + (2 * RepositoryKeys.KeySize))
        {
            return null;
        }

        var masters = new SortedDictionary<ushort, byte[]>();
        try
        {
            for (int at = HeadSize; at < tail; at += EntrySize)
            {
                byte[] master = GC.AllocateArray<byte>(RepositoryKeys.KeySize, pinned: true);
                bytes.Slice(at + 2, RepositoryKeys.KeySize).CopyTo(master);
                if (!masters.TryAdd(BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]), master))
                {
                    return null;
                }
            }

            return new RepositoryKeys(
                repository,
                masters,
                bytes.Slice(tail, RepositoryKeys.KeySize),
                bytes.Slice(tail + RepositoryKeys.KeySize, RepositoryKeys.KeySize),
                bytes[(tail + (2 * RepositoryKeys.KeySize))..]);
        }
        finally
        {
            foreach (byte[] master in masters.Values)
            {
                CryptographicOperations.ZeroMemory(master);
            }
        }
    }
}
