using System.Buffers;
using System.Text;

namespace BackupIQ.Sources.Files.Patterns;

/// <summary>
/// A pattern for one name: <c>*</c> any bytes, <c>?</c> one character, <c>[a-z]</c> and <c>[^a-z]</c> one character of a class,
/// <c>\x</c> x itself. A character is a UTF-8 sequence, or a single byte where the name is no UTF-8. The rules are those of Go's
/// filepath.Match, which restic documents for its patterns.
/// </summary>
internal sealed class NamePattern
{
    private readonly Token[] _tokens;

    /// <summary>Set when there is nothing but bytes to compare.</summary>
    private readonly byte[]? _literal;

    private NamePattern(Token[] tokens)
    {
        _tokens = tokens;
        _literal = Array.TrueForAll(tokens, static token => token.Kind == TokenKind.Byte)
            ? Array.ConvertAll(tokens, static token => token.Byte)
            : null;
    }

    private enum TokenKind : byte
    {
        Byte,
        AnyCharacter,
        AnyBytes,
        Class,
    }

    /// <summary>Reads a pattern; null when it is malformed.</summary>
    internal static NamePattern? Parse(ReadOnlySpan<byte> pattern)
    {
        List<Token> tokens = [];
        while (!pattern.IsEmpty)
        {
            byte first = pattern[0];
            pattern = pattern[1..];
            switch (first)
            {
                case (byte)'*':
                    if (tokens.Count == 0 || tokens[^1].Kind != TokenKind.AnyBytes)
                    {
                        tokens.Add(new Token(TokenKind.AnyBytes, 0, null));
                    }

                    break;
                case (byte)'?':
                    tokens.Add(new Token(TokenKind.AnyCharacter, 0, null));
                    break;
                case (byte)'[':
                    CharacterClass? characters = CharacterClass.Parse(ref pattern);
                    if (characters is null)
                    {
                        return null;
                    }

                    tokens.Add(new Token(TokenKind.Class, 0, characters));
                    break;
                case (byte)'\\':
                    if (pattern.IsEmpty)
                    {
                        return null;
                    }

                    tokens.Add(new Token(TokenKind.Byte, pattern[0], null));
                    pattern = pattern[1..];
                    break;
                default:
                    tokens.Add(new Token(TokenKind.Byte, first, null));
                    break;
            }
        }

        return new NamePattern([.. tokens]);
    }

    /// <summary>A pattern that is these bytes and nothing else.</summary>
    internal static NamePattern Literal(ReadOnlySpan<byte> name)
    {
        Token[] tokens = new Token[name.Length];
        for (int i = 0; i < tokens.Length; i++)
        {
            tokens[i] = new Token(TokenKind.Byte, name[i], null);
        }

        return new NamePattern(tokens);
    }

    /// <summary>Whether the whole name matches. Time is at most the product of both lengths: only the last <c>*</c> is tried again.</summary>
    internal bool Matches(ReadOnlySpan<byte> name)
    {
        if (_literal is not null)
        {
            return name.SequenceEqual(_literal);
        }

        int token = 0;
        int at = 0;
        int retryToken = -1;
        int retryAt = 0;
        while (true)
        {
            if (token < _tokens.Length && _tokens[token].Kind == TokenKind.AnyBytes)
            {
                retryToken = ++token;
                retryAt = at;
                if (token == _tokens.Length)
                {
                    return true;
                }

                continue;
            }

            int width = token < _tokens.Length ? _tokens[token].Match(name[at..]) : 0;
            if (width > 0)
            {
                token++;
                at += width;
                continue;
            }

            if (token == _tokens.Length && at == name.Length)
            {
                return true;
            }

            if (retryToken < 0 || retryAt >= name.Length)
            {
                return false;
            }

            token = retryToken;
            at = ++retryAt;
        }
    }

    /// <summary>The first character and its width; a byte that starts no valid sequence is a character of its own.</summary>
    private static int Decode(ReadOnlySpan<byte> text, out int width)
    {
        if (text[0] < 0x80)
        {
            width = 1;
            return text[0];
        }

        if (Rune.DecodeFromUtf8(text, out Rune rune, out width) != OperationStatus.Done)
        {
            width = 1;
            return Rune.ReplacementChar.Value;
        }

        return rune.Value;
    }

    private readonly record struct Token(TokenKind Kind, byte Byte, CharacterClass? Class)
    {
        /// <summary>How many bytes it takes from the start of the rest; 0 when it does not match.</summary>
        internal int Match(ReadOnlySpan<byte> rest)
        {
            if (rest.IsEmpty)
            {
                return 0;
            }

            if (Kind == TokenKind.Byte)
            {
                return rest[0] == Byte ? 1 : 0;
            }

            int character = Decode(rest, out int width);
            return Kind == TokenKind.AnyCharacter || Class!.Contains(character) ? width : 0;
        }
    }

    private sealed class CharacterClass(bool negated, List<(int Low, int High)> ranges)
    {
        internal bool Contains(int character)
        {
            foreach ((int low, int high) in ranges)
            {
                if (low <= character && character <= high)
                {
                    return !negated;
                }
            }

            return negated;
        }

        /// <summary>Reads what follows <c>[</c> up to and with <c>]</c>.</summary>
        internal static CharacterClass? Parse(ref ReadOnlySpan<byte> pattern)
        {
            bool negated = pattern is [(byte)'^', ..];
            if (negated)
            {
                pattern = pattern[1..];
            }

            List<(int, int)> ranges = [];
            while (pattern is not [(byte)']', ..] || ranges.Count == 0)
            {
                if (!ReadCharacter(ref pattern, out int low))
                {
                    return null;
                }

                int high = low;
                if (pattern[0] == (byte)'-')
                {
                    pattern = pattern[1..];
                    if (!ReadCharacter(ref pattern, out high))
                    {
                        return null;
                    }
                }

                ranges.Add((low, high));
            }

            pattern = pattern[1..];
            return new CharacterClass(negated, ranges);
        }

        /// <summary>One character of a class; something must follow it, the class not being closed yet.</summary>
        private static bool ReadCharacter(ref ReadOnlySpan<byte> pattern, out int character)
        {
            character = 0;
            if (pattern.IsEmpty || pattern[0] is (byte)'-' or (byte)']')
            {
                return false;
            }

            if (pattern[0] == (byte)'\\')
            {
                pattern = pattern[1..];
                if (pattern.IsEmpty)
                {
                    return false;
                }
            }

            character = Decode(pattern, out int width);
            if (character == Rune.ReplacementChar.Value && width == 1)
            {
                return false;
            }

            pattern = pattern[width..];
            return !pattern.IsEmpty;
        }
    }
}
