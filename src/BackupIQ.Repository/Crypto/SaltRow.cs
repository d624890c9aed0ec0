using System.Buffers.Binary;
using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Crypto;

/// <summary>32 random bytes, drawn anew for every pack and every sealed object, and never sealed under again once they were copied.</summary>
internal readonly record struct Salt(ulong A, ulong B, ulong C, ulong D)
{
    public const int Size = 32;

    public static Salt New()
    {
        Span<byte> bytes = stackalloc byte[Size];
        RandomNumberGenerator.Fill(bytes);
        return Read(bytes);
    }

    public static Salt Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]));

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, A);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], B);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], C);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[24..], D);
    }
}

/// <summary>
/// How the key of a pack's frames, or of a sealed object, comes about: from which epoch's master key, by which way
/// (<paramref name="Source"/>: 0 is HKDF of master and salt, all others are reserved), with which salt.
/// </summary>
internal readonly record struct SaltRow(ushort Epoch, byte Source, Salt Salt)
{
    /// <summary>Bytes: epoch u16, source u8, reserved u8 = 0, salt 32.</summary>
    public const int Size = 4 + Salt.Size;

    /// <summary>HKDF of the epoch's master key and the salt.</summary>
    public const byte FromMaster = 0;

    /// <summary>A row with a fresh salt under the current master key.</summary>
    /// <exception cref="BackupIQException"><c>KeyOutdated</c>: there is a newer epoch, whose master this keyring does not have.</exception>
    public static SaltRow New(RepositoryKeys keys)
    {
        keys.RequireCurrent();
        return new SaltRow(keys.CurrentEpoch, FromMaster, keys.NewSalt());
    }

    /// <summary>Reads a row from the first <see cref="Size"/> bytes.</summary>
    /// <exception cref="BackupIQException"><c>UnsupportedFormat</c>: a source or reserved byte that this version does not know.</exception>
    public static SaltRow Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes[2] != FromMaster || bytes[3] != 0)
        {
            throw UnknownSource(bytes[2]);
        }

        return new SaltRow(BinaryPrimitives.ReadUInt16LittleEndian(bytes), bytes[2], Salt.Read(bytes[4..]));
    }

    /// <summary>Writes <see cref="Size"/> bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, Epoch);
        bytes[2] = Source;
        bytes[3] = 0;
        Salt.Write(bytes[4..]);
    }

    internal static BackupIQException UnknownSource(byte source) => new(
        ErrorCodes.UnsupportedFormat, $"A salt row has key source {source}, which this version does not know (or its bytes are damaged).");
}
