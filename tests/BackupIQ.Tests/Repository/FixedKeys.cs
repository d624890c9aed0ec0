using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Tests.Repository;

/// <summary>The keyring of the golden vectors, which an independent implementation (Python's cryptography) computed.</summary>
internal static class FixedKeys
{
    public static readonly RepositoryId Id = RepositoryId.Read(Convert.FromHexString("101112131415161718191a1b1c1d1e1f"));

    public static readonly byte[] Salt = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    public static RepositoryKeys Open() => Open(Id);

    public static RepositoryKeys Open(RepositoryId id) =>
        new(id, [new(1, Filled(0x11)), new(2, Filled(0x22))], Filled(0x33), Filled(0x44));

    public static SaltRow Row(ushort epoch = 2) => new(epoch, SaltRow.FromMaster, BackupIQ.Repository.Crypto.Salt.Read(Salt));

    public static byte[] Filled(byte value)
    {
        var key = new byte[32];
        Array.Fill(key, value);
        return key;
    }
}
