using System.Runtime.InteropServices;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// What restic's format needs of the system's libraries and .NET does not have: scrypt, AES in counter mode and Poly1305 of libcrypto
/// (OpenSSL 3, which .NET itself uses), and zstd of libzstd. Each is loaded when it is first needed.
/// </summary>
internal static unsafe partial class ResticLibraries
{
    private const string Crypto = "libcrypto.so.3";
    private const string Zstd = "libzstd.so.1";

    /// <summary>Bytes of a Poly1305 tag.</summary>
    public const int TagSize = 16;

    /// <summary>scrypt (RFC 7914). The parameters must have been checked: the memory is 128·N·r bytes and some.</summary>
    public static void Scrypt(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, long n, long r, long p, Span<byte> key)
    {
        ulong maxMemory = (ulong)((128 * n * r) + (128 * r * p) + (1 << 20));
        try
        {
            if (DeriveScrypt(password, (nuint)password.Length, salt, (nuint)salt.Length, (ulong)n, (ulong)r, (ulong)p, maxMemory, key, (nuint)key.Length) == 1)
            {
                return;
            }
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw Missing(Crypto, "libssl3", e);
        }

        throw new BackupIQException(ErrorCodes.Resource, $"Deriving the key of a restic password failed; it needs {maxMemory >> 20} MiB of memory.");
    }

    /// <summary>
    /// Encrypts or decrypts, which is the same, with AES in counter mode: the key has 16 or 32 bytes, the counter 16 (big-endian, wrapping).
    /// The two buffers may be the same.
    /// </summary>
    public static void AesCounter(ReadOnlySpan<byte> key, ReadOnlySpan<byte> counter, ReadOnlySpan<byte> input, Span<byte> output)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(counter.Length, 16);
        ArgumentOutOfRangeException.ThrowIfLessThan(output.Length, input.Length);
        nint cipher = key.Length switch
        {
            16 => Aes128Counter(),
            32 => Aes256Counter(),
            _ => throw new ArgumentOutOfRangeException(nameof(key)),
        };
        nint context = NewCipher();
        try
        {
            fixed (byte* keyAt = key, counterAt = counter, inputAt = input, outputAt = output)
            {
                int written = 0;
                if (context == 0
                    || StartCipher(context, cipher, 0, keyAt, counterAt) != 1
                    || (input.Length > 0 && UpdateCipher(context, outputAt, &written, inputAt, input.Length) != 1)
                    || written != input.Length)
                {
                    throw Failed("AES");
                }
            }
        }
        finally
        {
            FreeCipher(context);
        }
    }

    /// <summary>Poly1305 (RFC 8439) of a message under a one-time key: r, which is masked here, and s.</summary>
    public static void Poly1305(PolyHandle algorithm, ReadOnlySpan<byte> key, ReadOnlySpan<byte> message, Span<byte> tag)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, 32);
        ArgumentOutOfRangeException.ThrowIfNotEqual(tag.Length, TagSize);
        nint context = NewMac(algorithm);
        try
        {
            fixed (byte* keyAt = key, messageAt = message, tagAt = tag)
            {
                nuint written = 0;
                if (context == 0
                    || StartMac(context, keyAt, (nuint)key.Length, 0) != 1
                    || (message.Length > 0 && UpdateMac(context, messageAt, (nuint)message.Length) != 1)
                    || EndMac(context, tagAt, &written, TagSize) != 1
                    || written != TagSize)
                {
                    throw Failed("Poly1305");
                }
            }
        }
        finally
        {
            FreeMac(context);
        }
    }

    /// <summary>Decompresses zstd frames; returns the bytes, or -1 where the input is none or needs more room.</summary>
    public static int Decompress(ReadOnlySpan<byte> input, Span<byte> output)
    {
        try
        {
            fixed (byte* inputAt = input, outputAt = output)
            {
                nuint result = DecompressZstd(outputAt, (nuint)output.Length, inputAt, (nuint)input.Length);
                return IsZstdError(result) != 0 ? -1 : (int)result;
            }
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw Missing(Zstd, "libzstd1", e);
        }
    }

    private static BackupIQException Missing(string library, string package, Exception cause) =>
        new(ErrorCodes.MissingLibrary, $"Reading restic repositories needs {library}, which is not there.", $"Install the Debian package {package}.", cause);

    private static BackupIQException Failed(string what) => new(ErrorCodes.MissingLibrary, $"{Crypto} does no {what} here.", "Enable OpenSSL's default provider.");

    [LibraryImport(Crypto, EntryPoint = "EVP_PBE_scrypt")]
    private static partial int DeriveScrypt(
        ReadOnlySpan<byte> pass, nuint passLength, ReadOnlySpan<byte> salt, nuint saltLength, ulong n, ulong r, ulong p, ulong maxMemory, Span<byte> key, nuint keyLength);

    [LibraryImport(Crypto, EntryPoint = "EVP_aes_128_ctr")]
    private static partial nint Aes128Counter();

    [LibraryImport(Crypto, EntryPoint = "EVP_aes_256_ctr")]
    private static partial nint Aes256Counter();

    [LibraryImport(Crypto, EntryPoint = "EVP_CIPHER_CTX_new")]
    private static partial nint NewCipher();

    [LibraryImport(Crypto, EntryPoint = "EVP_CIPHER_CTX_free")]
    private static partial void FreeCipher(nint context);

    [LibraryImport(Crypto, EntryPoint = "EVP_DecryptInit_ex")]
    private static partial int StartCipher(nint context, nint cipher, nint engine, byte* key, byte* counter);

    [LibraryImport(Crypto, EntryPoint = "EVP_DecryptUpdate")]
    private static partial int UpdateCipher(nint context, byte* output, int* written, byte* input, int length);

    [LibraryImport(Crypto, EntryPoint = "EVP_MAC_CTX_new")]
    private static partial nint NewMac(PolyHandle algorithm);

    [LibraryImport(Crypto, EntryPoint = "EVP_MAC_CTX_free")]
    private static partial void FreeMac(nint context);

    [LibraryImport(Crypto, EntryPoint = "EVP_MAC_init")]
    private static partial int StartMac(nint context, byte* key, nuint length, nint parameters);

    [LibraryImport(Crypto, EntryPoint = "EVP_MAC_update")]
    private static partial int UpdateMac(nint context, byte* message, nuint length);

    [LibraryImport(Crypto, EntryPoint = "EVP_MAC_final")]
    private static partial int EndMac(nint context, byte* tag, nuint* written, nuint size);

    [LibraryImport(Zstd, EntryPoint = "ZSTD_decompress")]
    private static partial nuint DecompressZstd(byte* output, nuint capacity, byte* input, nuint length);

    [LibraryImport(Zstd, EntryPoint = "ZSTD_isError")]
    private static partial uint IsZstdError(nuint result);

    /// <summary>libcrypto's Poly1305: looked up once, because looking it up costs more than a small message.</summary>
    internal sealed partial class PolyHandle : SafeHandle
    {
        /// <exception cref="BackupIQException"><see cref="ErrorCodes.MissingLibrary"/>: libcrypto is not there, or has no Poly1305.</exception>
        public PolyHandle()
            : base(0, ownsHandle: true)
        {
            try
            {
                SetHandle(Fetch(0, "POLY1305", null));
            }
            catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
            {
                throw Missing(Crypto, "libssl3", e);
            }

            if (IsInvalid)
            {
                throw Failed("Poly1305");
            }
        }

        /// <inheritdoc/>
        public override bool IsInvalid => handle == 0;

        /// <inheritdoc/>
        protected override bool ReleaseHandle()
        {
            Free(handle);
            return true;
        }

        [LibraryImport(Crypto, EntryPoint = "EVP_MAC_fetch", StringMarshalling = StringMarshalling.Utf8)]
        private static partial nint Fetch(nint context, string algorithm, string? properties);

        [LibraryImport(Crypto, EntryPoint = "EVP_MAC_free")]
        private static partial void Free(nint algorithm);
    }
}
