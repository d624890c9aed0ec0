using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Configuration;

/// <summary>Adds to a configuration file and leaves all that stands in it as it is, comments too.</summary>
internal static class ConfigEditor
{
    /// <summary>Adds a named entry under a key of the file, which is made where it is not there. What comes of it is read before it takes the file's place.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: the file cannot be read or written, or is of a form that this cannot add to.</exception>
    public static void AddServer(string file, string section, string name, IReadOnlyDictionary<string, string> fields)
    {
        List<string> entry = [$"  {name}:", .. fields.Select(static field => $"    {field.Key}: {Quote(field.Value)}")];
        try
        {
            if (!File.Exists(file))
            {
                PrivateFile.Write(file, Encoding.UTF8.GetBytes(string.Join('\n', [section + ":", .. entry]) + "\n"));
                return;
            }

            List<string> lines = [.. File.ReadAllLines(file)];
            int at = lines.FindIndex(line => line.TrimEnd() == section + ":");
            if (at < 0)
            {
                lines.AddRange([section + ":", .. entry]);
            }
            else
            {
                // As deep as what stands there already.
                string? first = lines.Skip(at + 1).FirstOrDefault(static line => line.Trim().Length > 0 && !line.TrimStart().StartsWith('#'));
                string indent = first is not null && first.StartsWith(' ') ? first[..^first.TrimStart().Length] : "  ";
                lines.InsertRange(at + 1, entry.Select((line, i) => i == 0 ? indent + line.TrimStart() : indent + indent + line.TrimStart()));
            }

            string text = string.Join('\n', lines) + "\n";
            Check(file, text, name);
            UnixFileMode mode = File.GetUnixFileMode(file);
            DurableFile.Replace(file, Encoding.UTF8.GetBytes(text));
            File.SetUnixFileMode(file, mode);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Configuration, $"The configuration file cannot be changed: {fault.Message}", null, fault).With("file", file);
        }
    }

    private static void Check(string file, string text, string name)
    {
        ConfigFile changed = new();
        changed.ReadText(file, text);
        if (!changed.Postgres.ContainsKey(name) || changed.Findings.Count > 0)
        {
            throw new BackupIQException(
                ErrorCodes.Configuration, $"The server '{DisplayText.Of(name)}' cannot be added to the configuration file as that is written", $"Write it there by hand, under '{ConfigFile.PostgresKey}:'.")
                .With("file", file);
        }
    }

    // Single quotes: nothing in them means anything but the quote itself.
    private static string Quote(string value) => $"'{value.Replace("'", "''", StringComparison.Ordinal)}'";
}
