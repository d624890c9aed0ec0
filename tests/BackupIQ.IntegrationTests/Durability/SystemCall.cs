using System.Globalization;
using System.Text.RegularExpressions;
using BackupIQ.IntegrationTests.Processes;
using Xunit;

namespace BackupIQ.IntegrationTests.Durability;

/// <summary>A system call of the program that succeeded.</summary>
/// <param name="Begin">Its place in the order of all beginnings and ends.</param>
/// <param name="End">When it was done.</param>
/// <param name="Name">The call.</param>
/// <param name="Paths">The files that it names: by descriptor or by path.</param>
/// <param name="Arguments">All arguments, as strace writes them.</param>
internal sealed partial record SystemCall(int Begin, int End, string Name, IReadOnlyList<string> Paths, string Arguments)
{
    private const string Traced =
        "openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile,fsync,fdatasync,syncfs,sync,"
        + "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir";

    public string Path => Paths[^1];

    public bool IsSync => Name is "fsync" or "fdatasync";

    public bool IsSyncOfAll => Name is "sync" or "syncfs";

    public bool IsWrite => Name is "write" or "pwrite64" or "writev" or "pwritev" or "pwritev2" or "ftruncate" or "fallocate" or "copy_file_range" or "sendfile";

    /// <summary>Runs the program to its end and tells what it asked of the system. Skips the test where nothing can be traced.</summary>
    public static (ProgramRun Run, IReadOnlyList<SystemCall> Calls) Trace(ProgramUser user, Func<ProgramRun> run)
    {
        string trace = user.At("trace");
        string[] strace = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", "signal=none", "-e", "trace=" + Traced, "-o", trace, "--"];
        Assert.SkipWhen(CannotTrace(user, strace), "strace is missing or may not trace here");
        user.Prefix = strace;
        try
        {
            return (run(), Parse(File.ReadLines(trace)));
        }
        finally
        {
            user.Prefix = [];
        }
    }

    /// <summary>Reads what <c>strace -f -y</c> wrote. Calls of several threads overlap.</summary>
    internal static IReadOnlyList<SystemCall> Parse(IEnumerable<string> lines)
    {
        List<SystemCall> calls = [];
        Dictionary<string, (int Begin, string Text)> unfinished = new(StringComparer.Ordinal);
        int number = 0;
        foreach (string line in lines)
        {
            number++;
            string thread = line[..line.IndexOf(' ', StringComparison.Ordinal)];
            string text = line[thread.Length..].TrimStart();
            int begin = number;
            if (text.EndsWith(" <unfinished ...>", StringComparison.Ordinal))
            {
                unfinished[thread] = (number, text[..^" <unfinished ...>".Length]);
                continue;
            }

            if (text.StartsWith("<... ", StringComparison.Ordinal))
            {
                (begin, string first) = unfinished[thread];
                text = first + text[(text.IndexOf("resumed>", StringComparison.Ordinal) + "resumed>".Length)..];
            }

            Match call = Line().Match(text);
            if (call.Success && long.Parse(call.Groups["result"].ValueSpan, CultureInfo.InvariantCulture) >= 0)
            {
                string arguments = call.Groups["arguments"].Value;
                calls.Add(new SystemCall(begin, number, call.Groups["name"].Value, PathsOf(arguments), arguments));
            }
        }

        return calls;
    }

    // AT_FDCWD</folder> stands before a path, 5</file> for a file.
    private static string[] PathsOf(string arguments) =>
    [
        .. PathArgument().Matches(arguments).Select(static match =>
            match.Groups["path"] is { Success: true } path
                ? System.IO.Path.GetFullPath(System.IO.Path.Combine(match.Groups["folder"] is { Success: true } folder ? folder.Value : "/", path.Value))
                : match.Groups["file"].Value.Replace(" (deleted)", "", StringComparison.Ordinal)),
    ];

    private static bool CannotTrace(ProgramUser user, string[] strace)
    {
        try
        {
            return user.RunOther([.. strace, "true"]).Code != 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return true;
        }
    }

    [GeneratedRegex(@"^(?<name>\w+)\((?<arguments>.*)\)\s*=\s*(?<result>-?\d+)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Line();

    [GeneratedRegex("""((AT_FDCWD|\d+)<(?<folder>[^>]*)>, )?"(?<path>[^"]+)"(?!\.\.\.)|\d+<(?<file>/[^>]*)>""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex PathArgument();
}
