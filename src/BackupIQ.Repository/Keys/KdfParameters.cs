using System.Numerics;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// How a password becomes a key: one salt and one set of parameters for a repository, so that one derivation serves however many slots.
/// They come from outside and are checked before anything is allocated.
/// </summary>
internal sealed record KdfParameters
{
    public const string ScryptName = "scrypt";
    public const string Pbkdf2Name = "pbkdf2-sha512";

    /// <summary>The most that 128·N·r·p may come to. What asks for more is refused: it would be an attack on memory, not a protection.</summary>
    public const long MaxScryptMemory = 1L << 30;

    /// <summary>Length of a derived key.</summary>
    public const int KeySize = 32;

    /// <summary><c>scrypt</c> or <c>pbkdf2-sha512</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The salt as hex, 16 to 64 bytes.</summary>
    public required string Salt { get; init; }

    /// <summary>scrypt's cost: a power of two from 2^10 to 2^22.</summary>
    public int? N { get; init; }

    /// <summary>scrypt's block size, 1 to 64.</summary>
    public int? R { get; init; }

    /// <summary>scrypt's lanes, 1 to 64.</summary>
    public int? P { get; init; }

    /// <summary>PBKDF2's rounds, 1,000 to 20,000,000.</summary>
    public int? Iterations { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    /// <summary>
    /// scrypt with N = 2^15, r = 8, p = 3 (32 MiB, some 0.2 s): what OWASP asks for at the least, and no more memory than the rest of a run
    /// needs (docs/adr/0006). New salt.
    /// </summary>
    public static KdfParameters NewScrypt(int n = 1 << 15) =>
        new() { Name = ScryptName, Salt = NewSalt(), N = n, R = 8, P = 3 };

    /// <summary>PBKDF2 with HMAC-SHA-512, for where scrypt is not allowed. 600,000 rounds are some 0.8 s. New salt.</summary>
    public static KdfParameters NewPbkdf2(int iterations = 600_000) =>
        new() { Name = Pbkdf2Name, Salt = NewSalt(), Iterations = iterations };

    /// <summary>What is wrong with these parameters, or null.</summary>
    public string? Problem()
    {
        if (Salt.Length is < 32 or > 128 || Salt.Length % 2 != 0 || Salt.AsSpan().ContainsAnyExcept("0123456789abcdef"))
        {
            return "the salt of its key derivation is not 16 to 64 bytes of hex";
        }

        return (Name, N, R, P, Iterations) switch
        {
            (ScryptName, int n, int r, int p, null) => ScryptProblem(n, r, p),
            (Pbkdf2Name, null, null, null, >= 1_000 and <= 20_000_000) => null,
            (Pbkdf2Name, _, _, _, _) => "its PBKDF2 rounds are not 1,000 to 20,000,000",
            (ScryptName, _, _, _, _) => "its scrypt parameters are incomplete",
            _ => "its key derivation is of an unknown kind",
        };
    }

    /// <summary>Whether both derive the same key of the same password.</summary>
    public bool IsSameAs(KdfParameters other) =>
        (Name, Salt, N, R, P, Iterations) == (other.Name, other.Salt, other.N, other.R, other.P, other.Iterations);

    /// <summary>Derives <see cref="KeySize"/> bytes. The caller wipes them.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: scrypt needs libcrypto. <c>Resource</c>: not enough memory.</exception>
    public byte[] Derive(ReadOnlySpan<byte> password)
    {
        if (Problem() is { } problem)
        {
            throw new CorruptDataException($"A key derivation is refused: {problem}.");
        }

        byte[] salt = Convert.FromHexString(Salt);
        byte[] key = GC.AllocateArray<byte>(KeySize, pinned: true);
        if (Name == ScryptName)
        {
            Scrypt.Derive(password, salt, N!.Value, R!.Value, P!.Value, key);
        }
        else
        {
            Rfc2898DeriveBytes.Pbkdf2(password, salt, key, Iterations!.Value, HashAlgorithmName.SHA512);
        }

        return key;
    }

    private static string NewSalt() => RandomNumberGenerator.GetHexString(64, lowercase: true);

    private static string? ScryptProblem(int n, int r, int p) =>
        n is < 1 << 10 or > 1 << 22 || !BitOperations.IsPow2(n) || r is < 1 or > 64 || p is < 1 or > 64
            ? "its scrypt parameters are out of range"
            : 128L * n * r * p > MaxScryptMemory ? "its scrypt parameters ask for more than 1 GiB" : null;
}
