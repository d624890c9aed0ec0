using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Keys.Remote.Pkcs11;

/// <summary>
/// A PKCS#11 library (Cryptoki 2.40), called by function pointers. It stays loaded and initialised for as long as the process lives: another
/// key may be of the same library, and finalising it would end that one's sessions.
/// </summary>
internal sealed unsafe class Pkcs11Module
{
    public const nuint Ok = 0;
    public const nuint UserAlreadyLoggedIn = 0x100;

    private const nuint AlreadyInitialised = 0x191;
    private const nuint OsLocking = 2;
    private const nuint SerialSession = 4;
    private const nuint User = 1;
    private const nuint AesGcm = 0x1087;
    private const nuint RsaOaep = 9;
    private const nuint Sha1 = 0x220;
    private const nuint MaskSha1 = 1;
    private const nuint LabelSpecified = 1;
    private const nuint ClassAttribute = 0;
    private const nuint LabelAttribute = 3;
    private const nuint IdAttribute = 0x102;
    private const nuint ModulusAttribute = 0x120;
    private const nuint ExponentAttribute = 0x122;
    private const nuint PrivateKeyClass = 3;
    private const nuint SecretKeyClass = 4;
    private const int MaxSlots = 256;
    private const int MaxKeys = 64;

    /// <summary>Bytes of the largest RSA modulus that is taken: 16,384 bits.</summary>
    private const int MaxModulus = 2048;

    // The order of CK_FUNCTION_LIST, behind its version.
    private const int Initialize = 0;
    private const int GetSlotList = 4;
    private const int GetTokenInfo = 6;
    private const int OpenSession = 12;
    private const int CloseSession = 13;
    private const int Login = 18;
    private const int GetAttributeValue = 24;
    private const int FindObjectsInit = 26;
    private const int FindObjects = 27;
    private const int FindObjectsFinal = 28;
    private const int EncryptInit = 29;
    private const int Encrypt = 30;
    private const int DecryptInit = 33;
    private const int Decrypt = 34;

    private readonly nint* _functions;

    private Pkcs11Module(nint list) => _functions = (nint*)(list + sizeof(nint));

    /// <summary>Loads and initialises the library.</summary>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: it cannot be loaded, or is none. <c>KeyService</c>: it does not start.</exception>
    public static Pkcs11Module Load(string path)
    {
        nint list = 0;
        try
        {
            nint library = NativeLibrary.Load(path);
            delegate* unmanaged<nint*, nuint> find = (delegate* unmanaged<nint*, nuint>)NativeLibrary.GetExport(library, "C_GetFunctionList");
            Check(find(&list), "The PKCS#11 library does not start");
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, "The PKCS#11 library that module-path names cannot be loaded", "Install it, or correct module-path in --kms.", e).With("module", path);
        }

        Pkcs11Module module = new(list);
        InitializeArguments arguments = new() { Flags = OsLocking };
        nuint result = ((delegate* unmanaged<InitializeArguments*, nuint>)module._functions[Initialize])(&arguments);
        if (result is not AlreadyInitialised)
        {
            Check(result, "The PKCS#11 library does not start");
        }

        return module;
    }

    /// <summary>The slots that hold a token, with its label and serial number.</summary>
    public IReadOnlyList<(nuint Slot, string Label, string Serial)> ListTokens()
    {
        var list = (delegate* unmanaged<byte, nuint*, nuint*, nuint>)_functions[GetSlotList];
        nuint* slots = stackalloc nuint[MaxSlots];
        nuint count = MaxSlots;
        Check(list(1, slots, &count), "The tokens could not be listed");
        List<(nuint, string, string)> tokens = [];
        TokenInfo info;
        for (nuint i = 0; i < count && i < MaxSlots; i++)
        {
            // A token that was taken out in between is none.
            if (((delegate* unmanaged<nuint, TokenInfo*, nuint>)_functions[GetTokenInfo])(slots[i], &info) == Ok)
            {
                tokens.Add((slots[i], Padded(info.Label, 32), Padded(info.Serial, 16)));
            }
        }

        return tokens;
    }

    /// <summary>Opens a session that reads; the caller closes it.</summary>
    public nuint Open(nuint slot)
    {
        nuint session;
        Check(((delegate* unmanaged<nuint, nuint, nint, nint, nuint*, nuint>)_functions[OpenSession])(slot, SerialSession, 0, 0, &session), "No session with the token could be opened");
        return session;
    }

    public void Close(nuint session) => _ = ((delegate* unmanaged<nuint, nuint>)_functions[CloseSession])(session);

    /// <summary>Logs the user in; returns the library's answer.</summary>
    public nuint LogIn(nuint session, ReadOnlySpan<byte> pin)
    {
        fixed (byte* at = pin)
        {
            return ((delegate* unmanaged<nuint, nuint, byte*, nuint, nuint>)_functions[Login])(session, User, at, (nuint)pin.Length);
        }
    }

    /// <summary>The secret keys of a label, or the private keys, with their ids.</summary>
    public IReadOnlyList<(nuint Key, byte[] Id)> FindKeys(nuint session, string label, bool arePrivate)
    {
        byte[] text = Encoding.UTF8.GetBytes(label);
        nuint kind = arePrivate ? PrivateKeyClass : SecretKeyClass;
        nuint* found = stackalloc nuint[MaxKeys];
        nuint count;
        fixed (byte* at = text)
        {
            Attribute* template = stackalloc Attribute[2];
            template[0] = new Attribute { Type = ClassAttribute, Value = &kind, Length = (nuint)sizeof(nuint) };
            template[1] = new Attribute { Type = LabelAttribute, Value = at, Length = (nuint)text.Length };
            Check(((delegate* unmanaged<nuint, Attribute*, nuint, nuint>)_functions[FindObjectsInit])(session, template, 2), "The token could not be searched");
            nuint result = ((delegate* unmanaged<nuint, nuint*, nuint, nuint*, nuint>)_functions[FindObjects])(session, found, MaxKeys, &count);
            _ = ((delegate* unmanaged<nuint, nuint>)_functions[FindObjectsFinal])(session);
            Check(result, "The token could not be searched");
        }

        List<(nuint, byte[])> keys = [];
        byte* id = stackalloc byte[byte.MaxValue];
        for (nuint i = 0; i < count && i < MaxKeys; i++)
        {
            Attribute asked = new() { Type = IdAttribute, Value = id, Length = byte.MaxValue };
            Check(((delegate* unmanaged<nuint, nuint, Attribute*, nuint, nuint>)_functions[GetAttributeValue])(session, found[i], &asked, 1), "The id of a key could not be read");
            keys.Add((found[i], new ReadOnlySpan<byte>(id, (int)Math.Min(asked.Length, byte.MaxValue)).ToArray()));
        }

        return keys;
    }

    /// <summary>The public half of a private RSA key; null: the token does not give it, or the key is of another kind.</summary>
    public (byte[] Modulus, byte[] Exponent)? ReadPublic(nuint session, nuint key)
    {
        byte* modulus = stackalloc byte[MaxModulus];
        byte* exponent = stackalloc byte[MaxModulus];
        Attribute* asked = stackalloc Attribute[2];
        asked[0] = new Attribute { Type = ModulusAttribute, Value = modulus, Length = MaxModulus };
        asked[1] = new Attribute { Type = ExponentAttribute, Value = exponent, Length = MaxModulus };
        nuint result = ((delegate* unmanaged<nuint, nuint, Attribute*, nuint, nuint>)_functions[GetAttributeValue])(session, key, asked, 2);
        return result == Ok && asked[0].Length is > 0 and <= MaxModulus && asked[1].Length is > 0 and <= MaxModulus
            ? (new ReadOnlySpan<byte>(modulus, (int)asked[0].Length).ToArray(), new ReadOnlySpan<byte>(exponent, (int)asked[1].Length).ToArray())
            : null;
    }

    /// <summary>Decrypts what was encrypted by RSA-OAEP with SHA-1, the one kind that all tokens know.</summary>
    public nuint DecryptOaep(nuint session, nuint key, ReadOnlySpan<byte> sealedBytes, Span<byte> plain, out int length)
    {
        OaepParameters oaep = new() { Hash = Sha1, Mask = MaskSha1, Source = LabelSpecified };
        Mechanism mechanism = new() { Type = RsaOaep, Parameter = &oaep, Length = (nuint)sizeof(OaepParameters) };
        return Run(DecryptInit, Decrypt, session, key, &mechanism, sealedBytes, plain, out length);
    }

    /// <summary>
    /// Encrypts with AES-GCM and a tag of 16 bytes. The nonce is a wish: some tokens draw their own and put it in its place.
    /// </summary>
    public nuint Seal(nuint session, nuint key, Span<byte> nonce, ReadOnlySpan<byte> associated, ReadOnlySpan<byte> plain, Span<byte> sealedBytes, out int length) =>
        Run(EncryptInit, Encrypt, session, key, nonce, associated, plain, sealedBytes, out length);

    /// <summary>Decrypts what <see cref="Seal"/> made.</summary>
    public nuint Unseal(nuint session, nuint key, Span<byte> nonce, ReadOnlySpan<byte> associated, ReadOnlySpan<byte> sealedBytes, Span<byte> plain, out int length) =>
        Run(DecryptInit, Decrypt, session, key, nonce, associated, sealedBytes, plain, out length);

    /// <summary>The failure for an answer of the library that says nothing of keys and PINs.</summary>
    public static BackupIQException Failure(nuint result, string what) => new BackupIQException(
        ErrorCodes.KeyService,
        result is 0xE0 or 0x3 or 0x32 ? $"{what}: the token is not there" : $"{what}: the token's answer was 0x{result.ToString("x", CultureInfo.InvariantCulture)}",
        result is 0xE0 or 0x3 or 0x32 ? "Put it in, or start what provides it." : "See the log of the PKCS#11 library.");

    private static void Check(nuint result, string what)
    {
        if (result != Ok)
        {
            throw Failure(result, what);
        }
    }

    private nuint Run(
        int begin, int finish, nuint session, nuint key, Span<byte> nonce, ReadOnlySpan<byte> associated, ReadOnlySpan<byte> input, Span<byte> output, out int length)
    {
        fixed (byte* iv = nonce)
        fixed (byte* aad = associated)
        {
            GcmParameters gcm = new()
            {
                Iv = iv, IvLength = (nuint)nonce.Length, IvBits = (nuint)nonce.Length * 8, Associated = aad, AssociatedLength = (nuint)associated.Length, TagBits = 128,
            };
            Mechanism mechanism = new() { Type = AesGcm, Parameter = &gcm, Length = (nuint)sizeof(GcmParameters) };
            return Run(begin, finish, session, key, &mechanism, input, output, out length);
        }
    }

    private nuint Run(int begin, int finish, nuint session, nuint key, Mechanism* mechanism, ReadOnlySpan<byte> input, Span<byte> output, out int length)
    {
        fixed (byte* from = input)
        fixed (byte* to = output)
        {
            nuint written = (nuint)output.Length;
            nuint result = ((delegate* unmanaged<nuint, Mechanism*, nuint, nuint>)_functions[begin])(session, mechanism, key);
            if (result == Ok)
            {
                result = ((delegate* unmanaged<nuint, byte*, nuint, byte*, nuint*, nuint>)_functions[finish])(session, from, (nuint)input.Length, to, &written);
            }

            length = result == Ok ? checked((int)written) : 0;
            return result;
        }
    }

    private static string Padded(byte* text, int length) => Encoding.UTF8.GetString(text, length).TrimEnd(' ', '\0');

    [StructLayout(LayoutKind.Sequential)]
    private struct InitializeArguments
    {
        public nint CreateMutex;
        public nint DestroyMutex;
        public nint LockMutex;
        public nint UnlockMutex;
        public nuint Flags;
        public nint Reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TokenInfo
    {
        public fixed byte Label[32];
        public fixed byte Manufacturer[32];
        public fixed byte Model[16];
        public fixed byte Serial[16];
        public nuint Flags;
        public fixed ulong Counts[10];
        public uint Versions;
        public fixed byte Time[16];
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Attribute
    {
        public nuint Type;
        public void* Value;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Mechanism
    {
        public nuint Type;
        public void* Parameter;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct OaepParameters
    {
        public nuint Hash;
        public nuint Mask;
        public nuint Source;
        public void* Label;
        public nuint LabelLength;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct GcmParameters
    {
        public byte* Iv;
        public nuint IvLength;
        public nuint IvBits;
        public byte* Associated;
        public nuint AssociatedLength;
        public nuint TagBits;
    }
}
