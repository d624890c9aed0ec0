using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Files.Patterns;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources;

/// <summary>
/// Acceptance point A11: for random sets of patterns and flags, what we walk is what restic 0.14 backs up. As many sets as
/// BACKUPIQ_A11_RUNS says, 30 otherwise; the first seed is BACKUPIQ_A11_SEED or 1.
/// </summary>
public sealed class ExcludesEqualResticTests : IDisposable
{
    private static readonly string[] s_names =
    [
        "a", "b", "c", "foo", "Foo", "bar", "baz.txt", "x.TXT", "y.txt", "z.o", "main.c", ".hidden", "a b", "[x]", "$d", "**", "ü", "Ü.txt",
        "日本", "!not", "#c", "back\\slash", "tmp", "cache", "star*", "q?", "ÅNGSTRÖM.c",
    ];

    private readonly ScratchFolder _scratch = new();
    private readonly List<byte[]> _entries = [];
    private bool _isMounted;

    public void Dispose()
    {
        if (_isMounted)
        {
            ScratchFolder.Run("umount", At("tree/mount"));
        }

        _scratch.Dispose();
    }

    [Fact]
    public async Task RandomPatternsAndFlagsSelectWhatResticSelects()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/restic"), "restic is not installed: apt-get install restic.");
        Assert.SkipUnless(
            ScratchFolder.Run("/usr/bin/restic", "version").StartsWith("restic 0.14.", StringComparison.Ordinal),
            "The rules compared are those of restic 0.14.");
        int runs = Number("BACKUPIQ_A11_RUNS", 30);
        int seed = Number("BACKUPIQ_A11_SEED", 1);
        MakeTree();
        _ = Restic("init");

        using SemaphoreSlim two = new(2);
        List<Task<(Case Case, string? Snapshot, string Error)>> backups = [];
        for (int i = 0; i < runs; i++)
        {
            Case random = MakeCase(seed + i);
            backups.Add(Task.Run(async () =>
            {
                await two.WaitAsync();
                try
                {
                    return Backup(random);
                }
                finally
                {
                    two.Release();
                }
            }));
        }

        (Case Case, string? Snapshot, string Error)[] results = await Task.WhenAll(backups);
        Dictionary<string, SortedSet<string>> found = Found();
        List<string> differences = [];
        int selected = 0;
        foreach ((Case random, string? snapshot, string error) in results)
        {
            SortedSet<string>? ours = Walk(random.Options);
            if (ours is null || snapshot is null)
            {
                if (ours is not null || snapshot is not null)
                {
                    differences.Add($"seed {random.Seed}: {(ours is null ? "only we refuse" : "only restic refuses")} {random.Command}: {error}");
                }

                continue;
            }

            SortedSet<string> theirs = found.GetValueOrDefault(snapshot, []);
            selected += theirs.Count;
            if (!ours.SetEquals(theirs))
            {
                differences.Add(
                    $"seed {random.Seed}: {random.Command}\n  only ours: {string.Join(" | ", ours.Except(theirs).Take(5))}\n"
                    + $"  only restic's: {string.Join(" | ", theirs.Except(ours).Take(5))}");
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{runs} sets, {results.Count(static r => r.Snapshot is not null)} backed up, {selected} entries, {differences.Count} differences");
        differences.ShouldBeEmpty(string.Join('\n', differences));
        selected.ShouldBeGreaterThan(0);
    }

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out int number) ? number : otherwise;

    private static byte[] U(string text) => Encoding.UTF8.GetBytes(text);

    private static T Pick<T>(Random random, IReadOnlyList<T> list) => list[random.Next(list.Count)];

    private string At(string path) => Path.Combine(_scratch.Path, path);

    /// <summary>Some hundred entries of every type, with tags of several sorts and a mount point where that is permitted.</summary>
    private void MakeTree()
    {
        Random random = new(7);
        string top = At("tree");
        Directory.CreateDirectory(top);
        void Make(string folder, int depth)
        {
            foreach (string name in s_names)
            {
                int kind = random.Next(100);
                string path = Path.Combine(folder, name);
                if (kind < (depth < 4 ? 16 : 0))
                {
                    Directory.CreateDirectory(path);
                    Make(path, depth + 1);
                }
                else if (kind < 45)
                {
                    File.WriteAllText(path, new string('x', Pick(random, [0, 1, 10, 1023, 1024, 1025, 3000])));
                }
                else if (kind < 50)
                {
                    File.CreateSymbolicLink(path, Pick(random, s_names));
                }
                else if (kind < 52)
                {
                    // restic 0.14 waits for ever for the header of a tag that is a fifo.
                    bool isFifo = kind == 50 && name != "baz.txt";
                    _ = Syscalls.MakeNode(AtFlags.WorkingFolder, U(path), (isFifo ? FileModes.Fifo : FileModes.Socket) | 0x180u);
                }
                else
                {
                    continue;
                }

                _entries.Add(U(path));
            }

            if (random.Next(5) == 0)
            {
                File.WriteAllText(Path.Combine(folder, "CACHEDIR.TAG"), random.Next(3) == 0 ? "Signature: wrong" : "Signature: 8a477f597d28d172789f06886806bc55\nmore");
            }

            if (random.Next(5) == 0)
            {
                File.WriteAllText(Path.Combine(folder, ".nobackup"), Pick(random, ["", "yes", "no"]));
            }

            if (random.Next(3) == 0)
            {
                byte[] name = [.. U(folder), (byte)'/', (byte)'n', 0xe9, (byte)'.', (byte)'o'];
                _ = Syscalls.MakeNode(AtFlags.WorkingFolder, name, FileModes.Regular | 0x1a4u);
                _entries.Add(name);
            }
        }

        Make(top, 0);
        Directory.CreateDirectory(Path.Combine(top, "mount"));
        if (ScratchFolder.IsRoot)
        {
            try
            {
                ScratchFolder.Run("mount", "-t", "tmpfs", "none", Path.Combine(top, "mount"));
                _isMounted = true;
                Directory.CreateDirectory(Path.Combine(top, "mount/in"));
                File.WriteAllText(Path.Combine(top, "mount/in/y.txt"), "y");
                _entries.Add(U(Path.Combine(top, "mount/in")));
            }
            catch (InvalidOperationException)
            {
                // Where mounting is not permitted, the flag is compared without a mount point.
                _isMounted = false;
            }
        }
    }

    private byte[] RandomPattern(Random random)
    {
        List<byte[]> parts = [];
        if (random.Next(3) == 0)
        {
            // Part of a path that exists, with something in it replaced.
            byte[] path = Pick(random, _entries);
            IReadOnlyList<byte[]> names = BytePath.Names(path);
            bool anchored = random.Next(2) == 0;
            int start = anchored ? 0 : random.Next(names.Count);
            int count = anchored && random.Next(3) > 0 ? names.Count : random.Next(1, names.Count - start + 1);
            for (int i = start; i < start + count; i++)
            {
                parts.Add(random.Next(4) == 0 ? RandomName(random) : names[i]);
            }

            if (anchored)
            {
                parts.Insert(0, []);
            }
        }
        else
        {
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                parts.Add(RandomName(random));
            }

            if (random.Next(5) == 0)
            {
                parts.Insert(0, []);
            }
        }

        List<byte> pattern = [.. random.Next(6) == 0 ? "!"u8 : default];
        for (int i = 0; i < parts.Count; i++)
        {
            pattern.AddRange(i > 0 ? "/"u8 : default);
            pattern.AddRange(parts[i]);
        }

        pattern.AddRange(random.Next(8) == 0 ? "/"u8 : default);

        // An argument of a process can hold no zero and is given here as text.
        return U(Encoding.UTF8.GetString([.. pattern]).Replace("\uFFFD", "?", StringComparison.Ordinal));
    }

    private byte[] RandomName(Random random) => random.Next(12) switch
    {
        0 => "**"u8.ToArray(),
        1 => "*"u8.ToArray(),
        2 => U(Pick(random, ["*.txt", "*.TXT", "*.o", "*.?", "*o*", "?", "??", "f*o", "*a*", "ü*", "?o?", "n?.o", "n*", "*\\*"])),
        3 => U(Pick(random, ["[a-c]", "[^a-c]", "[fF]oo", "[^a]*", "\\[x\\]", "[\\[]x]", "[à-ÿ]", "[日]本", "*.[ct]*", "\\*\\*", "\\$d", "[z", "a\\"])),
        4 => U(Pick(random, [".", "..", "tree", "mount", "CACHEDIR.TAG", ".nobackup", "***", "FOO", "Bar", "ångström.c", "Ü"])),
        _ => U(Pick(random, s_names).Replace("*", "\\*", StringComparison.Ordinal)),
    };

    private Case MakeCase(int seed)
    {
        Random random = new(seed);
        string folder = At($"case{seed}");
        Directory.CreateDirectory(folder);
        List<string> arguments = [];
        List<byte[]> excludes = [];
        List<byte[]> ignoringCase = [];
        List<byte[]> paths = [];
        string Write(string name, byte[] content)
        {
            File.WriteAllBytes(Path.Combine(folder, name), content);
            return Path.Combine(folder, name);
        }

        byte[] Lines(List<byte[]> lines) => [.. lines.SelectMany(static line => line.Append((byte)'\n'))];

        void Patterns(string option, List<byte[]> into)
        {
            for (int i = random.Next(4); i > 0; i--)
            {
                byte[] pattern = RandomPattern(random);
                arguments.Add($"--{option}={Encoding.UTF8.GetString(pattern)}");
                into.Add(pattern);
            }

            if (random.Next(3) == 0)
            {
                List<byte[]> lines = ["# a comment"u8.ToArray(), []];
                for (int i = random.Next(1, 5); i > 0; i--)
                {
                    lines.Add(random.Next(6) == 0 ? U(Pick(random, ["$A11_VARIABLE", "  ${A11_VARIABLE}.txt ", "$$d", "${A11_MISSING}c", "#$x", "$"])) : RandomPattern(random));
                }

                byte[] content = Lines(lines);
                arguments.Add($"--{option}-file={Write(option, content)}");
                into.AddRange(ListFiles.Patterns(content, static name => name == "A11_VARIABLE" ? "foo" : null));
            }
        }

        if (random.Next(3) > 0)
        {
            Patterns("exclude", excludes);
        }

        if (random.Next(3) == 0)
        {
            Patterns("iexclude", ignoringCase);
        }

        FileSourceOptions options = new() { Paths = paths, Excludes = excludes, ExcludesIgnoringCase = ignoringCase };
        if (random.Next(4) == 0)
        {
            arguments.Add("--exclude-caches");
            options = options with { ExcludeCaches = true };
        }

        if (random.Next(4) == 0)
        {
            string tag = Pick(random, [".nobackup", ".nobackup:yes", "foo", "baz.txt:x", "a/b", "CACHEDIR.TAG:Signature"]);
            arguments.Add($"--exclude-if-present={tag}");
            options = options with { ExcludeIfPresent = [FolderTag.Parse(U(tag))] };
        }

        if (random.Next(4) == 0)
        {
            (string text, long size) = Pick(random, [("1k", 1024L), ("1023", 1023L), ("0", 0L), ("1024B", 1024L), ("1M", 1L << 20)]);
            arguments.Add($"--exclude-larger-than={text}");
            options = options with { ExcludeLargerThan = size };
        }

        if (random.Next(4) == 0)
        {
            arguments.Add("--one-file-system");
            options = options with { OneFileSystem = true };
        }

        List<byte[]> Some() => [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Pick(random, _entries))];
        if (random.Next(6) == 0)
        {
            List<byte[]> some = Some();
            paths.AddRange(some);
            arguments.Add($"--files-from-verbatim={Write("verbatim", Lines(some))}");
        }

        if (random.Next(6) == 0)
        {
            List<byte[]> some = Some();
            paths.AddRange(some);
            arguments.Add($"--files-from-raw={Write("raw", [.. some.SelectMany(static path => path.Append((byte)0))])}");
        }

        if (random.Next(6) == 0)
        {
            List<byte[]> lines = [U("#comment"), U($"  {At("tree")}/{Pick(random, ["*", "[a-f]*", "?", "*/*.txt", "*/b", ".*", "missing"])} ")];
            arguments.Add($"--files-from={Write("globs", Lines(lines))}");
            paths.AddRange(ListFiles.Globs(Lines(lines)).SelectMany(static glob => PathGlob.Expand(glob)));
        }

        if (paths.Count == 0 || random.Next(2) == 0)
        {
            string path = random.Next(4) > 0 ? At("tree") : Encoding.UTF8.GetString(Pick(random, _entries));
            path = path.Contains('\uFFFD', StringComparison.Ordinal) ? At("tree") : path;
            paths.Add(U(path));
            arguments.Add(path);
        }

        return new Case(seed, arguments, options);
    }

    private (Case Case, string? Snapshot, string Error) Backup(Case random)
    {
        (int status, string output, string error) = Restic(["backup", "--json", "--no-cache", .. random.Arguments]);
        if (status is not (0 or 3))
        {
            return (random, null, error);
        }

        foreach (string line in output.Split('\n').Where(static line => line.Contains("snapshot_id", StringComparison.Ordinal)))
        {
            using JsonDocument summary = JsonDocument.Parse(line);
            return (random, summary.RootElement.GetProperty("snapshot_id").GetString()!, error);
        }

        throw new InvalidOperationException($"restic told no snapshot: {output} {error}");
    }

    /// <summary>The paths of every snapshot, folders with a slash at the end, by the id's first digits as the summary of a backup has them.</summary>
    private Dictionary<string, SortedSet<string>> Found()
    {
        (int status, string output, string error) = Restic("find", "--json", "--no-cache", "*");
        status.ShouldBe(0, error);
        Dictionary<string, SortedSet<string>> found = new(StringComparer.Ordinal);
        using JsonDocument document = JsonDocument.Parse(output);
        foreach (JsonElement snapshot in document.RootElement.EnumerateArray())
        {
            SortedSet<string> paths = new(StringComparer.Ordinal);
            foreach (JsonElement match in snapshot.GetProperty("matches").EnumerateArray())
            {
                paths.Add(match.GetProperty("path").GetString() + (match.GetProperty("type").GetString() == "dir" ? "/" : ""));
            }

            found[snapshot.GetProperty("snapshot").GetString()![..8]] = paths;
        }

        return found;
    }

    /// <summary>What we walk; null when we refuse.</summary>
    private static SortedSet<string>? Walk(FileSourceOptions options)
    {
        SortedSet<string> paths = new(StringComparer.Ordinal);
        try
        {
            using FileSource source = new(options);
            foreach (SourceEvent e in source.Walk(default))
            {
                e.Error.ShouldBeNull();
                // restic 0.14 does not store sockets; we do, so that nothing is missing after a restore.
                if (e.Kind != SourceEventKind.Leave && e.Entry?.Stat.Type != NodeType.Socket)
                {
                    paths.Add(Encoding.UTF8.GetString(e.Entry!.FullPath()) + (e.Kind == SourceEventKind.Enter ? "/" : ""));
                }
            }
        }
        catch (BackupIQException)
        {
            return null;
        }

        return paths;
    }

    private (int Status, string Output, string Error) Restic(params string[] arguments)
    {
        ProcessStartInfo start = new("/usr/bin/restic", arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["RESTIC_REPOSITORY"] = At("repo");
        start.Environment["RESTIC_PASSWORD"] = "a11";
        start.Environment["A11_VARIABLE"] = "foo";
        start.Environment.Remove("A11_MISSING");
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        using Timer limit = new(_ => process.Kill(), null, TimeSpan.FromMinutes(10), Timeout.InfiniteTimeSpan);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    private sealed record Case(int Seed, List<string> Arguments, FileSourceOptions Options)
    {
        internal string Command => string.Join(' ', Arguments.Select(static argument => $"'{argument}'"));
    }
}
