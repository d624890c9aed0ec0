using System.Buffers;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Files.Patterns;

/// <summary>
/// Patterns in their order, for excluding and for including. A pattern with <c>!</c> takes back what those before it matched. Paths are
/// absolute. Not thread-safe.
/// </summary>
public sealed class PatternList
{
    private readonly List<PathPattern> _patterns = [];
    private readonly bool _hasNegated;
    private readonly PathCursor _cursor = new();

    /// <summary>Reads the patterns; empty ones are left out.</summary>
    /// <param name="patterns">The patterns, as bytes.</param>
    /// <param name="ignoreCase">Whether the case of letters counts for nothing, as in <c>--iexclude</c>.</param>
    /// <param name="option">Where they come from, for the message: <c>--exclude</c>.</param>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: one is malformed.</exception>
    public PatternList(IEnumerable<byte[]> patterns, bool ignoreCase = false, string option = "--exclude")
    {
        IgnoresCase = ignoreCase;
        foreach (byte[] pattern in patterns)
        {
            if (pattern.Length == 0)
            {
                continue;
            }

            PathPattern parsed = PathPattern.Parse(ignoreCase ? LowerCase(pattern) : pattern)
                ?? throw new BackupIQException(
                    ErrorCodes.Usage,
                    $"{option}: the pattern '{Encoding.UTF8.GetString(pattern)}' is malformed",
                    "In a pattern, '[' needs a matching ']' and '\\' a character after it; write '\\[' for the character itself.");
            _patterns.Add(parsed);
            _hasNegated |= parsed.IsNegated;
        }
    }

    /// <summary>How many patterns there are.</summary>
    public int Count => _patterns.Count;

    /// <summary>Whether case counts for nothing. A <see cref="PathCursor"/> is then filled with names from <see cref="LowerCase"/>.</summary>
    public bool IgnoresCase { get; }

    /// <summary>Whether the path matches by the list as a whole.</summary>
    public bool Matches(ReadOnlySpan<byte> path)
    {
        _cursor.Set(IgnoresCase ? LowerCase(path) : path);
        return Matches(_cursor);
    }

    /// <summary>As <see cref="Matches(ReadOnlySpan{byte})"/>, and whether something below the path may: what a restore asks to skip folders.</summary>
    public bool Matches(ReadOnlySpan<byte> path, out bool mayMatchBelow)
    {
        _cursor.Set(IgnoresCase ? LowerCase(path) : path);
        mayMatchBelow = MayMatchBelow(_cursor);
        return Matches(_cursor);
    }

    /// <summary>As <see cref="Matches(ReadOnlySpan{byte})"/>, for a path that a walk keeps at hand (lower-case when case does not count).</summary>
    public bool Matches(PathCursor path)
    {
        bool matched = false;
        foreach (PathPattern pattern in _patterns)
        {
            if (pattern.IsNegated != matched)
            {
                continue;
            }

            if (pattern.Matches(path))
            {
                matched = !matched;
                if (matched && !_hasNegated)
                {
                    return true;
                }
            }
        }

        return matched;
    }

    /// <summary>
    /// As <see cref="Matches(PathCursor)"/>, but faster, when the list is known to match no folder above the path: so a walk asks, which
    /// does not enter what is excluded.
    /// </summary>
    public bool MatchesLast(PathCursor path)
    {
        // With patterns that take back, a folder above may match some of them and yet not the list.
        if (_hasNegated)
        {
            return Matches(path);
        }

        foreach (PathPattern pattern in _patterns)
        {
            if (pattern.MatchesLast(path))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether something below the path may match.</summary>
    public bool MayMatchBelow(PathCursor path)
    {
        bool may = false;
        foreach (PathPattern pattern in _patterns)
        {
            may = pattern.IsNegated ? may && !pattern.Matches(path) : may || pattern.MayMatchBelow(path);
        }

        return may;
    }

    /// <summary>
    /// Letters in lower case, by Unicode's simple mapping. As in restic, a byte that is no UTF-8 becomes U+FFFD, unless all is ASCII.
    /// </summary>
    public static byte[] LowerCase(ReadOnlySpan<byte> text)
    {
        byte[] lower = new byte[text.Length];
        if (Ascii.IsValid(text))
        {
            _ = Ascii.ToLower(text, lower, out _);
            return lower;
        }

        ArrayBufferWriter<byte> writer = new(text.Length * 3);
        while (!text.IsEmpty)
        {
            if (Rune.DecodeFromUtf8(text, out Rune rune, out int width) != OperationStatus.Done)
            {
                width = 1;
                rune = Rune.ReplacementChar;
            }

            // Unicode maps U+0130 to "i" and a combining dot; simply mapped it is "i", which .NET's invariant mapping leaves out.
            Rune mapped = rune.Value == 0x130 ? new Rune('i') : Rune.ToLowerInvariant(rune);
            writer.Advance(mapped.EncodeToUtf8(writer.GetSpan(4)));
            text = text[width..];
        }

        return writer.WrittenSpan.ToArray();
    }
}
