using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>
/// The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding: it proves the password without sending it, and has the server prove that
/// it knows it too.
/// </summary>
internal sealed class ScramExchange
{
    /// <summary>The mechanism's name.</summary>
    public const string Mechanism = "SCRAM-SHA-256";

    // A server that asks for more would keep us busy for minutes before it has proven anything.
    private const int MostRounds = 10_000_000;
    private const string Header = "n,,";

    private readonly string _bare;
    private readonly string _nonce;
    private readonly byte[] _password;
    private byte[] _serverSignature = [];

    /// <summary>The server has proven that it knows the password.</summary>
    public bool IsProven { get; private set; }

    /// <summary>Begins an exchange.</summary>
    /// <param name="password">The password; not normalised, as PostgreSQL does not where it is not ASCII.</param>
    /// <param name="nonce">For tests; null: a random one.</param>
    /// <param name="user">Empty: PostgreSQL goes by the name that the connection began with.</param>
    public ScramExchange(string password, string? nonce = null, string user = "")
    {
        _password = Encoding.UTF8.GetBytes(password);
        _nonce = nonce ?? Convert.ToBase64String(RandomNumberGenerator.GetBytes(18));
        _bare = $"n={user},r={_nonce}";
    }

    /// <summary>The first message.</summary>
    public byte[] First() => Encoding.UTF8.GetBytes(Header + _bare);

    /// <summary>Answers the server's challenge.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it is none.</exception>
    public byte[] Answer(ReadOnlySpan<byte> challenge)
    {
        string text = Encoding.UTF8.GetString(challenge);
        string[] parts = text.Split(',');
        if (parts is not [['r', '=', .. var nonce], ['s', '=', .. var salt64], ['i', '=', .. var rounds64], ..]
            || !nonce.StartsWith(_nonce, StringComparison.Ordinal) || nonce.Length == _nonce.Length
            || !int.TryParse(rounds64, NumberStyles.None, CultureInfo.InvariantCulture, out int rounds) || rounds is < 1 or > MostRounds
            || TryDecode(salt64) is not { Length: > 0 } salt)
        {
            throw Wrong("its challenge is none");
        }

        byte[] salted = Rfc2898DeriveBytes.Pbkdf2(_password, salt, rounds, HashAlgorithmName.SHA256, SHA256.HashSizeInBytes);
        byte[] client = HMACSHA256.HashData(salted, "Client Key"u8);
        string withoutProof = $"c={Convert.ToBase64String(Encoding.UTF8.GetBytes(Header))},r={nonce}";
        byte[] said = Encoding.UTF8.GetBytes($"{_bare},{text},{withoutProof}");
        byte[] signature = HMACSHA256.HashData(SHA256.HashData(client), said);
        for (int i = 0; i < client.Length; i++)
        {
            client[i] ^= signature[i];
        }

        _serverSignature = HMACSHA256.HashData(HMACSHA256.HashData(salted, "Server Key"u8), said);
        CryptographicOperations.ZeroMemory(salted);
        CryptographicOperations.ZeroMemory(_password);
        return Encoding.UTF8.GetBytes($"{withoutProof},p={Convert.ToBase64String(client)}");
    }

    /// <summary>Makes sure that the server knows the password.</summary>
    /// <exception cref="BackupIQException"><c>Authorization</c>: it did not prove it.</exception>
    public void Finish(ReadOnlySpan<byte> final)
    {
        string text = Encoding.UTF8.GetString(final);
        if (_serverSignature.Length == 0 || text is not ['v', '=', .. var proof] || TryDecode(proof.Split(',')[0]) is not { } signature
            || !CryptographicOperations.FixedTimeEquals(signature, _serverSignature))
        {
            throw Wrong("it did not prove that it knows the password: it may not be the server that it says it is");
        }

        IsProven = true;
    }

    private static byte[]? TryDecode(string text)
    {
        byte[] bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out int length) ? bytes[..length] : null;
    }

    private static BackupIQException Wrong(string what) => new(ErrorCodes.Authorization, $"The server's login failed: {what}", null);
}
