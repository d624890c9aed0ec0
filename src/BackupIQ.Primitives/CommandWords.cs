using System.Text;

namespace BackupIQ.Primitives;

/// <summary>Splits a command into its words: at blanks, but for what stands in quotes; a backslash takes the next character as it is.</summary>
public static class CommandWords
{
    /// <summary>The words of <paramref name="command"/>; none for a blank one.</summary>
    public static string[] Split(string command)
    {
        List<string> words = [];
        StringBuilder word = new();
        bool inWord = false;
        char quote = '\0';
        for (int i = 0; i < command.Length; i++)
        {
            char c = command[i];
            if (c == '\\' && quote != '\'' && i + 1 < command.Length)
            {
                word.Append(command[++i]);
                inWord = true;
            }
            else if (quote != '\0')
            {
                if (c == quote)
                {
                    quote = '\0';
                }
                else
                {
                    word.Append(c);
                }
            }
            else if (c is '"' or '\'')
            {
                quote = c;
                inWord = true;
            }
            else if (char.IsWhiteSpace(c))
            {
                if (inWord)
                {
                    words.Add(word.ToString());
                    word.Clear();
                    inWord = false;
                }
            }
            else
            {
                word.Append(c);
                inWord = true;
            }
        }

        if (inWord)
        {
            words.Add(word.ToString());
        }

        return [.. words];
    }
}
