using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Keys.Remote.Pkcs11;

/// <summary>
/// An AES or RSA key on a token: a hardware security module, a smart card, SoftHSM. Tokens have no versions of keys; here all keys of one label are the
/// versions of one, the one with the highest id is the newest. What is stored by an AES key: format u8 = 1, length of the id u8, id, nonce 12, AES-GCM of what was
/// wrapped with tag 16; associated data is the context. By an RSA key: format u8 = 2, length of the id u8, id, RSA-OAEP (SHA-1, MGF1 with SHA-1) of what was wrapped, which names its context
/// itself (<see cref="BoundSecret"/>). It is encrypted here, by the public key that the token tells, and decrypted on the token.
/// </summary>
internal sealed class Pkcs11Key : ServiceKey
{
    private const string PinVariable = "BACKUPIQ_PKCS11_PIN";
    private const byte Format = 1;
    private const byte RsaFormat = 2;

    /// <summary>Bits: shorter moduli are not safe.</summary>
    private const int SmallestModulus = 2048;

    private const int NonceSize = 12;
    private const int TagSize = 16;

    private const nuint FunctionNotPermitted = 0x68;
    private const nuint PinLocked = 0xA4;

    private readonly Pkcs11Uri _uri;
    private readonly Pkcs11Module _module;
    private readonly CachedSecret _pin;

    private Pkcs11Key(Pkcs11Uri uri, Pkcs11Module module, CachedSecret pin)
    {
        _uri = uri;
        _module = module;
        _pin = pin;
    }

    /// <inheritdoc/>
    public override string Service => $"{Pkcs11Uri.Scheme}:{_uri.Token}";

    /// <inheritdoc/>
    public override string Key => _uri.Label;

    /// <summary>Loads the library; the token is not asked yet.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>, <c>KeyService</c>.</exception>
    public static Pkcs11Key Open(Pkcs11Uri uri, Func<string, string?> environment, TimeProvider time) =>
        new(uri, Pkcs11Module.Load(uri.Module), new CachedSecret(uri.Pin ?? SecretReference.Parse("env:" + PinVariable), environment, time));

    /// <inheritdoc/>
    public override Task<KeyState> DescribeAsync(CancellationToken cancellationToken) =>
        WithSessionAsync($"Key '{Key}' could not be looked at", static (_, _) => new KeyState(IsEnabled: true, Rotated: null), cancellationToken);

    /// <inheritdoc/>
    public override ValueTask DisposeAsync()
    {
        _pin.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    protected override Task<byte[]> WrapAsync(byte[] plain, KeyContext context, CancellationToken cancellationToken)
    {
        string what = $"Key '{Key}' could not wrap";
        if (_uri.IsRsa)
        {
            return WithSessionAsync(what, (session, keys) => WrapByPublicKey(session, keys[^1].Key, keys[^1].Id, plain, what), cancellationToken);
        }

        return WithSessionAsync(
            what,
            (session, keys) =>
            {
                (nuint key, byte[] id) = keys[^1];
                byte[] wrapped = new byte[2 + id.Length + NonceSize + plain.Length + TagSize];
                wrapped[0] = Format;
                wrapped[1] = (byte)id.Length;
                id.CopyTo(wrapped, 2);
                Span<byte> nonce = wrapped.AsSpan(2 + id.Length, NonceSize);
                RandomNumberGenerator.Fill(nonce);
                Span<byte> into = wrapped.AsSpan(2 + id.Length + NonceSize);
                nuint result = _module.Seal(session, key, nonce, BoundSecret.BytesOf(context), plain, into, out int length);
                return result == Pkcs11Module.Ok && length == into.Length ? wrapped : throw Failure(result, what);
            },
            cancellationToken);
    }

    /// <inheritdoc/>
    protected override Task<byte[]> UnwrapBytesAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken)
    {
        if (wrapped.Length < 2 || wrapped[0] != (_uri.IsRsa ? RsaFormat : Format) || wrapped.Length <= 2 + wrapped[1] + (_uri.IsRsa ? 0 : NonceSize + TagSize))
        {
            throw NotOurs();
        }

        string what = $"Key '{Key}' could not unwrap";
        return WithSessionAsync(
            what,
            (session, keys) =>
            {
                ReadOnlySpan<byte> id = wrapped.AsSpan(2, wrapped[1]);
                int at = 0;
                while (at < keys.Count && !id.SequenceEqual(keys[at].Id))
                {
                    at++;
                }

                if (at == keys.Count)
                {
                    throw new BackupIQException(
                        ErrorCodes.KeyNotFound, $"{what}: the token has no key of that label with id {Convert.ToHexStringLower(id)}, which wrapped it", "Put it back from the token's own backup, or open the repository another way.")
                        .With("token", _uri.Token);
                }

                ReadOnlySpan<byte> from = wrapped.AsSpan(2 + id.Length);

                // Some libraries want room for the tag as well.
                byte[] buffer = GC.AllocateArray<byte>(from.Length, pinned: true);
                nuint result = _uri.IsRsa
                    ? _module.DecryptOaep(session, keys[at].Key, from, buffer, out int length)
                    : Unseal(session, keys[at].Key, context, from, buffer, out length);
                byte[] plain = buffer[..length];
                CryptographicOperations.ZeroMemory(buffer);
                return result == Pkcs11Module.Ok ? plain : throw UnwrapFailure(result, what);
            },
            cancellationToken);
    }

    private nuint Unseal(nuint session, nuint key, KeyContext context, ReadOnlySpan<byte> from, Span<byte> plain, out int length)
    {
        Span<byte> nonce = stackalloc byte[NonceSize];
        from[..NonceSize].CopyTo(nonce);
        return _module.Unseal(session, key, nonce, BoundSecret.BytesOf(context), from[NonceSize..], plain, out length);
    }

    private byte[] WrapByPublicKey(nuint session, nuint key, byte[] id, byte[] plain, string what)
    {
        if (_module.ReadPublic(session, key) is not { } found)
        {
            throw new BackupIQException(ErrorCodes.Validation, $"{what}: the token does not tell the public key of that pair", "Use an RSA key, or an AES key (type=secret-key).").With("token", _uri.Token);
        }

        using RSA rsa = RSA.Create(new RSAParameters { Modulus = found.Modulus, Exponent = found.Exponent });
        return rsa.KeySize >= SmallestModulus
            ? [RsaFormat, (byte)id.Length, .. id, .. rsa.Encrypt(plain, RSAEncryptionPadding.OaepSHA1)]
            : throw new BackupIQException(ErrorCodes.Validation, $"{what}: it is an RSA key of {rsa.KeySize} bits", $"Use one of {SmallestModulus} bits or more.").With("token", _uri.Token);
    }

    // Tokens give sessions sparingly, and may be taken out at any time: each use has its own.
    private async Task<T> WithSessionAsync<T>(string what, Func<nuint, IReadOnlyList<(nuint Key, byte[] Id)>, T> use, CancellationToken cancellationToken)
    {
        using Secret pin = await _pin.GetAsync(cancellationToken).ConfigureAwait(false);
        nuint session = _module.Open(FindSlot(what));
        try
        {
            nuint answer = _module.LogIn(session, pin.Bytes);
            if (answer is not (Pkcs11Module.Ok or Pkcs11Module.UserAlreadyLoggedIn or PinLocked)
                && await _pin.RenewAsync(pin, cancellationToken).ConfigureAwait(false) is { } renewed)
            {
                using (renewed)
                {
                    answer = _module.LogIn(session, renewed.Bytes);
                }
            }

            if (answer is not (Pkcs11Module.Ok or Pkcs11Module.UserAlreadyLoggedIn))
            {
                throw Failure(answer, what);
            }

            List<(nuint Key, byte[] Id)> keys = [.. _module.FindKeys(session, _uri.Label, _uri.IsRsa).Order(ById)];
            return keys.Count > 0 ? use(session, keys)
                : throw new BackupIQException(
                    ErrorCodes.KeyNotFound,
                    $"{what}: the token has no such {(_uri.IsRsa ? "private" : "secret")} key",
                    $"Make it with 'pkcs11-tool {(_uri.IsRsa ? "--keypairgen --key-type RSA:3072" : "--keygen --key-type AES:32")} --label {Key} --id 01', or check --kms.").With("token", _uri.Token);
        }
        finally
        {
            _module.Close(session);
        }
    }

    private static readonly Comparer<(nuint Key, byte[] Id)> ById = Comparer<(nuint Key, byte[] Id)>.Create(
        static (left, right) => left.Id.Length != right.Id.Length ? left.Id.Length.CompareTo(right.Id.Length) : left.Id.AsSpan().SequenceCompareTo(right.Id));

    private nuint FindSlot(string what)
    {
        foreach ((nuint slot, string label, string serial) in _module.ListTokens())
        {
            if (label == _uri.Token && (_uri.Serial is null || serial == _uri.Serial))
            {
                return slot;
            }
        }

        throw new BackupIQException(ErrorCodes.KeyService, $"{what}: there is no token '{_uri.Token}'", "Put it in, or start what provides it; 'pkcs11-tool --list-token-slots' shows which there are.")
            .With("module", _uri.Module);
    }

    private BackupIQException Failure(nuint result, string what)
    {
        BackupIQException failure = result switch
        {
            0xA0 or 0xA1 or 0xA2 => new(ErrorCodes.KeyServiceAuthentication, $"{what}: the token does not accept the PIN of {_pin.Origin}", "Correct it; most tokens lock themselves after a few wrong ones."),
            0xA3 => new(ErrorCodes.KeyServiceAuthentication, $"{what}: the token's PIN has expired", "Set a new one with the token's own tool."),
            PinLocked => new(ErrorCodes.KeyServiceAuthentication, $"{what}: the token's PIN is locked", "Unlock it with the security officer's PIN, or open the repository another way."),
            FunctionNotPermitted => new(ErrorCodes.KeyDisabled, $"{what}: the token does not allow the key to be used for it", "Allow the key to encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT), or open the repository another way."),
            0x60 => new(ErrorCodes.KeyNotFound, $"{what}: the key is gone"),
            0x63 or 0x70 or 0x71 => _uri.IsRsa
                ? new(ErrorCodes.Validation, $"{what}: the key or the token knows no RSA-OAEP", "Use an RSA key on a token that has the mechanism CKM_RSA_PKCS_OAEP.")
                : new(ErrorCodes.Validation, $"{what}: the key or the token knows no AES-GCM", "Use an AES key on a token that has the mechanism CKM_AES_GCM."),
            0x101 or 0x104 => new(ErrorCodes.KeyService, $"{what}: somebody else is logged in to the token"),
            _ => Pkcs11Module.Failure(result, what),
        };
        return failure.With("token", _uri.Token);
    }

    // What a wrong tag is called differs; SoftHSM says "general error".
    private BackupIQException UnwrapFailure(nuint result, string what) => result is 0x5 or 0x6 or 0x40 or 0x41 or 0xC0 ? NotOurs() : Failure(result, what);
}
