using BackupIQ.Primitives;

namespace BackupIQ.Jobs.Postgres;

/// <summary>Something that must be true of a restored database: <c>DB: SELECT …</c>, which must answer with one row of one column, true.</summary>
public static class PostgresAssertion
{
    /// <summary>Takes an assertion apart.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it names no database, or has no statement.</exception>
    public static (string Database, string Sql) Parse(string assertion)
    {
        int colon = assertion.IndexOf(':');
        string database = colon < 0 ? "" : assertion[..colon].Trim();
        string sql = colon < 0 ? "" : assertion[(colon + 1)..].Trim();
        return database.Length > 0 && sql.Length > 0 && !database.Any(char.IsWhiteSpace)
            ? (database, sql)
            : throw new BackupIQException(ErrorCodes.Usage, $"'{assertion}' is no assertion", "Write it as 'DB: SELECT …', a statement that answers true where all is as it should be.");
    }

    /// <summary>The assertions of a file: one a line; lines that are empty or begin with <c>#</c> are none.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the file cannot be read, or a line is none.</exception>
    public static IReadOnlyList<string> ReadFile(string path)
    {
        try
        {
            string[] lines = [.. File.ReadAllLines(path).Select(static line => line.Trim()).Where(static line => line.Length > 0 && line[0] != '#')];
            foreach (string line in lines)
            {
                _ = Parse(line);
            }

            return lines;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Usage, $"The file of assertions cannot be read: {e.Message}", null, e).With("path", path);
        }
    }
}
