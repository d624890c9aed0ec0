using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>Where programs of PostgreSQL are that fit a server.</summary>
/// <param name="Folder">Their folder.</param>
/// <param name="Major">15 for 15.18.</param>
/// <param name="Version">What they say of themselves: <c>15.18</c>.</param>
public sealed partial record PostgresPrograms(string Folder, int Major, string Version)
{
    /// <summary>
    /// Finds the newest that is not older than <paramref name="atLeast"/>: an older <c>pg_dump</c> refuses a server, an older <c>pg_restore</c> a dump.
    /// </summary>
    /// <param name="program">The one that is wanted: <c>pg_dump</c>.</param>
    /// <param name="folder">Where to look; null: where packages put them, and PATH.</param>
    /// <param name="atLeast">A major version.</param>
    /// <exception cref="BackupIQException"><c>MissingLibrary</c>: there is none.</exception>
    public static PostgresPrograms Find(string program, string? folder, int atLeast)
    {
        List<PostgresPrograms> found = [.. (folder is null ? Places() : [folder]).Distinct(StringComparer.Ordinal).Select(place => Look(place, program)).OfType<PostgresPrograms>()];
        return found.Where(one => one.Major >= atLeast).MaxBy(static one => one.Major) ?? throw new BackupIQException(
            ErrorCodes.MissingLibrary,
            found.Count == 0
                ? $"There is no {program} {(folder is null ? "on this machine" : $"in {folder}")}"
                : $"{program} must be of version {atLeast.ToString(CultureInfo.InvariantCulture)} or later; there {(found.Count == 1 ? "is" : "are")} {string.Join(", ", found.Select(static one => $"{one.Version} in {one.Folder}"))}",
            $"Install postgresql-client-{atLeast.ToString(CultureInfo.InvariantCulture)}, or name the folder of its programs with --pg-bin.");
    }

    /// <summary>The path of one.</summary>
    public string Of(string program) => Path.Combine(Folder, program);

    private static IEnumerable<string> Places()
    {
        foreach (string parent in (string[])["/usr/lib/postgresql", "/usr"])
        {
            foreach (string place in Directory.Exists(parent) ? Directory.EnumerateDirectories(parent) : [])
            {
                if (parent != "/usr" || Path.GetFileName(place).StartsWith("pgsql-", StringComparison.Ordinal))
                {
                    yield return Path.Combine(place, "bin");
                }
            }
        }

        foreach (string place in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            yield return place;
        }
    }

    private static PostgresPrograms? Look(string folder, string program)
    {
        string path = Path.Combine(folder, program);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            using Process process = Process.Start(new ProcessStartInfo(path, ["--version"]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })!;
            string said = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Match match = VersionSaid().Match(said);
            return match.Success ? new PostgresPrograms(folder, int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture), match.Groups[1].Value) : null;
        }
        catch (Win32Exception)
        {
            return null;
        }
    }

    [GeneratedRegex(@"\(PostgreSQL\) ((\d{1,4})[^ \n]*)", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex VersionSaid();
}
