namespace BackupIQ.Sources.Files.Patterns;

/// <summary>
/// A pattern for paths: names with wildcards (<see cref="NamePattern"/>) between slashes, <c>**</c> for any number of names, a slash
/// at the start to anchor it at the top. Without that slash it may begin anywhere. It matches a path when it matches any run of its
/// names, so that everything below something that matches does so too. The rules are those of restic 0.14.
/// </summary>
internal sealed class PathPattern
{
    /// <summary>Stands for the top of an anchored pattern in <see cref="_parts"/>.</summary>
    private const int Anchor = -1;

    /// <summary><c>**</c>: any number of names.</summary>
    private const int AnyNames = -2;

    private readonly NamePattern[] _names;

    /// <summary>Indices into <see cref="_names"/>, or one of the constants above.</summary>
    private readonly int[] _parts;

    /// <summary>Whether there is a <c>**</c>.</summary>
    private readonly bool _hasWild;

    private PathPattern(string original, bool isNegated, NamePattern[] names, int[] parts)
    {
        Original = original;
        IsNegated = isNegated;
        _names = names;
        _parts = parts;
        _hasWild = Array.IndexOf(parts, AnyNames) >= 0;
    }

    /// <summary>The pattern as it was given, for messages.</summary>
    internal string Original { get; }

    /// <summary>Whether it began with <c>!</c>: what it matches is taken back from the patterns before it.</summary>
    internal bool IsNegated { get; }

    /// <summary>Reads a pattern that is not empty; null when it is malformed.</summary>
    internal static PathPattern? Parse(ReadOnlySpan<byte> pattern)
    {
        string original = System.Text.Encoding.UTF8.GetString(pattern);
        bool negated = pattern[0] == (byte)'!';
        byte[] cleaned = BytePath.Clean(negated ? pattern[1..] : pattern);
        List<NamePattern> names = [];
        List<int> parts = [];
        if (cleaned[0] == (byte)'/')
        {
            parts.Add(Anchor);
        }

        foreach (Range range in cleaned.AsSpan(cleaned[0] == (byte)'/' ? 1 : 0).Split((byte)'/'))
        {
            ReadOnlySpan<byte> name = cleaned.AsSpan(cleaned[0] == (byte)'/' ? 1 : 0)[range];
            if (name.SequenceEqual("**"u8) || (name.IsEmpty && parts.Count > 0))
            {
                // The empty name after the slash of "/" alone: to restic that is "/**".
                parts.Add(AnyNames);
                continue;
            }

            NamePattern? part = name.IndexOfAny("\\[]*?"u8) < 0 ? NamePattern.Literal(name) : NamePattern.Parse(name);
            if (part is null)
            {
                return null;
            }

            parts.Add(names.Count);
            names.Add(part);
        }

        return new PathPattern(original, negated, [.. names], [.. parts]);
    }

    /// <summary>Whether the path, or a folder above it, matches.</summary>
    internal bool Matches(PathCursor path) => Match(_parts, path, path.Count);

    /// <summary>As <see cref="Matches"/>, when it is known that no folder above matches: then only runs that end at the last name can.</summary>
    internal bool MatchesLast(PathCursor path)
    {
        if (_hasWild)
        {
            return Matches(path);
        }

        bool anchored = _parts[0] == Anchor;
        int offset = path.Count - (anchored ? _parts.Length - 1 : _parts.Length);
        return anchored
            ? offset == 0 && MatchAt(_parts.AsSpan(1), path, 0)
            : offset >= 0 && MatchAt(_parts, path, offset);
    }

    /// <summary>Whether something below the path could match: false only when an anchored pattern leads elsewhere.</summary>
    internal bool MayMatchBelow(PathCursor path)
    {
        if (_parts[0] != Anchor)
        {
            return true;
        }

        // Compared are as many names as both have, and none from "**" on.
        int count = path.Count;
        int wild = Array.IndexOf(_parts, AnyNames);
        if (wild >= 0 && count + 1 >= wild)
        {
            count = wild - 1;
        }

        return Match(_parts.AsSpan(0, Math.Min(count + 1, _parts.Length)), path, count);
    }

    /// <summary>
    /// Compares with the first <paramref name="count"/> names of the path. Each <c>**</c> stands for no name, one, two and so on, no more than
    /// leave room for the other parts, each <c>**</c> behind it counted as one: so does restic, and <c>/a/**/b/**</c> therefore matches what
    /// lies in /a/b but not /a/b itself. restic tries all combinations; as the room only shrinks, it is enough to let each stand for the
    /// fewest names with which what follows it matches.
    /// </summary>
    private bool Match(ReadOnlySpan<int> parts, PathCursor path, int count)
    {
        int wilds = parts.Count(AnyNames);
        if (wilds == 0)
        {
            return MatchFixed(parts, path, count);
        }

        int names = parts.Length - wilds;
        if (parts[0] == Anchor)
        {
            return MatchFrom(parts[1..], path, count, 0, names, wilds);
        }

        for (int offset = 0; offset <= count; offset++)
        {
            if (MatchFrom(parts, path, count, offset, names, wilds))
            {
                return true;
            }
        }

        return false;
    }

    private bool MatchFrom(ReadOnlySpan<int> parts, PathCursor path, int count, int offset, int names, int wilds)
    {
        int at = offset;
        int room = 0;
        for (int taken = 0; ; wilds--)
        {
            int wild = parts.IndexOf(AnyNames);
            ReadOnlySpan<int> run = wild < 0 ? parts : parts[..wild];
            while (at + run.Length > count || !MatchAt(run, path, at))
            {
                at++;
                if (++taken > room || at + run.Length > count)
                {
                    return false;
                }
            }

            at += run.Length;
            if (wild < 0)
            {
                // Nothing but "**" stands for one name at least.
                return names > 0 || count > 0;
            }

            // What all "**" up to this one may stand for together. The path has one part more than names: its anchor.
            parts = parts[(wild + 1)..];
            room = count + 1 - names - (wilds - 1);
            if (taken > room)
            {
                return false;
            }
        }
    }

    private bool MatchFixed(ReadOnlySpan<int> parts, PathCursor path, int count)
    {
        if (parts.IsEmpty)
        {
            return false;
        }

        if (parts[0] == Anchor)
        {
            return parts.Length - 1 <= count && MatchAt(parts[1..], path, 0);
        }

        for (int offset = count - parts.Length; offset >= 0; offset--)
        {
            if (MatchAt(parts, path, offset))
            {
                return true;
            }
        }

        return false;
    }

    private bool MatchAt(ReadOnlySpan<int> parts, PathCursor path, int offset)
    {
        for (int i = parts.Length - 1; i >= 0; i--)
        {
            if (!_names[parts[i]].Matches(path[offset + i]))
            {
                return false;
            }
        }

        return true;
    }
}
