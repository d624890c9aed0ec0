using System.Text;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Repository.Logs;

/// <summary>
/// The id of a series of logs: the first 16 bytes of the BLAKE3 of its name, keyed with a key of the repository, so that the storage does not learn the name.
/// </summary>
public readonly record struct LogSeries(UInt128 Value)
{
    /// <summary>Bytes of an id.</summary>
    public const int Size = 16;

    /// <summary>The series that people call <paramref name="name"/>.</summary>
    public static LogSeries Of(RepositoryKeys keys, string name)
    {
        Span<byte> key = stackalloc byte[RepositoryKeys.KeySize];
        KeyLabels.Derive(keys.IdKey, [], KeyLabels.LogId, keys.Repository, key);
        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.HashKeyed(key, Encoding.UTF8.GetBytes(name), digest);
        key.Clear();
        return new LogSeries(System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(digest));
    }

    /// <summary>Reads 32 hex digits; false for other text.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out LogSeries series)
    {
        series = default;
        if (text.Length != 2 * Size || text.ContainsAnyExcept("0123456789abcdef"))
        {
            return false;
        }

        series = new LogSeries(UInt128.Parse(text, System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture));
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => Value.ToString("x32", System.Globalization.CultureInfo.InvariantCulture);
}
