using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// The key pair of a slot, on the curve P-256: with its public part, which stands in the slot's head, a new epoch's master is wrapped for whoever
/// holds the slot's secret, without that secret. Nothing of the private part is stored: it is HKDF-SHA256(secret, slot id, label), 48 bytes, as
/// a big-endian number modulo n − 1, plus 1.
/// </summary>
internal static class SlotAgreement
{
    /// <summary>Length of a public key: 04 ‖ X ‖ Y.</summary>
    public const int PublicSize = 65;

    /// <summary>Length of what both sides agree on: X of the common point.</summary>
    public const int SharedSize = 32;

    private const int ScalarSize = 32;
    private const int DerivedSize = 48;

    private static readonly BigInteger Order = BigInteger.Parse("0FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    /// <summary>The private key of a slot. The caller disposes it.</summary>
    public static ECDiffieHellman KeyOf(ReadOnlySpan<byte> secret, string slotId, RepositoryId repository)
    {
        Span<byte> derived = stackalloc byte[DerivedSize];
        KeyLabels.Derive(secret, Convert.FromHexString(slotId), KeyLabels.Agreement, repository, derived);
        byte[] scalar = new byte[ScalarSize];
        try
        {
            BigInteger value = (new BigInteger(derived, isUnsigned: true, isBigEndian: true) % (Order - 1)) + 1;
            byte[] number = value.ToByteArray(isUnsigned: true, isBigEndian: true);
            number.CopyTo(scalar, ScalarSize - number.Length);
            CryptographicOperations.ZeroMemory(number);
            return KeyOf(scalar);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(derived);
            CryptographicOperations.ZeroMemory(scalar);
        }
    }

    /// <summary>The key pair of a private number of 32 bytes, big-endian.</summary>
    public static ECDiffieHellman KeyOf(byte[] scalar) => ECDiffieHellman.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, D = scalar });

    /// <summary>A new, random key pair.</summary>
    public static ECDiffieHellman NewKey() => ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>The public part.</summary>
    public static byte[] PublicOf(ECDiffieHellman key)
    {
        ECPoint point = key.ExportParameters(includePrivateParameters: false).Q;
        return [4, .. point.X!, .. point.Y!];
    }

    /// <summary>Agrees with the holder of <paramref name="other"/>; false when that is no point of the curve.</summary>
    public static bool TryAgree(ECDiffieHellman key, ReadOnlySpan<byte> other, Span<byte> shared)
    {
        if (other.Length != PublicSize || other[0] != 4)
        {
            return false;
        }

        try
        {
            using ECDiffieHellman peer = ECDiffieHellman.Create(new ECParameters
            {
                Curve = ECCurve.NamedCurves.nistP256,
                Q = new ECPoint { X = other[1..33].ToArray(), Y = other[33..].ToArray() },
            });
            byte[] agreed = key.DeriveRawSecretAgreement(peer.PublicKey);
            agreed.CopyTo(shared);
            CryptographicOperations.ZeroMemory(agreed);
            return agreed.Length == SharedSize;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }
}
