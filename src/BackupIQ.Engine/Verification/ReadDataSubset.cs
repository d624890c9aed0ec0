using System.Globalization;
using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Verification;

/// <summary>
/// Which packs are read whole: all, the share or amount that was not verified the longest, or the n-th of t parts (the parts of equal t make up the
/// whole).
/// </summary>
public sealed record ReadDataSubset
{
    private double _percent;
    private long _bytes = -1;
    private uint _part;
    private uint _parts;

    private ReadDataSubset()
    {
    }

    /// <summary>Every pack.</summary>
    public static ReadDataSubset All { get; } = new() { _percent = 100 };

    /// <summary>Reads <c>5%</c>, <c>1/10</c> or <c>2G</c> (K, M, G, T are powers of 1024).</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none of these.</exception>
    public static ReadDataSubset Parse(string text)
    {
        if (text.EndsWith('%') && double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double percent) &&
            percent is > 0 and <= 100)
        {
            return new ReadDataSubset { _percent = percent };
        }

        if (text.Split('/') is [{ } first, { } second] && uint.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out uint part) &&
            uint.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out uint parts) && part >= 1 && part <= parts)
        {
            return new ReadDataSubset { _part = part - 1, _parts = parts };
        }

        int shift = text.Length > 1 ? "KMGT".IndexOf(char.ToUpperInvariant(text[^1]), StringComparison.Ordinal) : -1;
        string number = shift >= 0 ? text[..^1] : text;
        return long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long count) && count > 0 && count <= long.MaxValue >> (10 * (shift + 1))
            ? new ReadDataSubset { _bytes = count << (10 * (shift + 1)) }
            : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no part of a repository.", "Write a share (5%), one of so many parts (1/10) or an amount (2G).");
    }

    /// <summary>Whether this is every pack.</summary>
    internal bool IsAll => _parts == 0 && _bytes < 0 && _percent >= 100;

    /// <summary>
    /// The packs to read, in the order of reading: the longest not verified first, those never verified before all. Among equals a share or an amount
    /// is drawn anew each time: names are uniform, so those nearest to a random one are a fair draw.
    /// </summary>
    /// <param name="packs">Those that are there and may be chosen.</param>
    /// <param name="total">How many there are in the repository, of which a share is a share.</param>
    /// <param name="lastVerified">When a pack was read and verified last.</param>
    internal List<CheckedPack> Choose(IEnumerable<CheckedPack> packs, int total, Func<PackId, DateTimeOffset?> lastVerified)
    {
        UInt128 draw = PackId.Read(RandomNumberGenerator.GetBytes(PackId.Size)).High;
        IEnumerable<CheckedPack> oldestFirst = packs
            .Where(p => _parts == 0 || (uint)(p.Id.High % _parts) == _part)
            .OrderBy(p => lastVerified(p.Id) ?? DateTimeOffset.MinValue)
            .ThenBy(p => p.Id.High ^ draw);
        if (_parts > 0 || IsAll)
        {
            return [.. oldestFirst];
        }

        if (_bytes < 0)
        {
            return [.. oldestFirst.Take((int)Math.Ceiling(total * _percent / 100))];
        }

        List<CheckedPack> chosen = [];
        long sum = 0;
        foreach (CheckedPack pack in oldestFirst.TakeWhile(_ => sum < _bytes))
        {
            chosen.Add(pack);
            sum += pack.Size;
        }

        return chosen;
    }
}
