using System.Diagnostics;
using System.Runtime.InteropServices;
using BackupIQ.Testing.Files;

namespace BackupIQ.IntegrationTests.Processes;

/// <summary>
/// Somebody with an empty home who runs the program as it was built beside the tests, in an environment in which nothing of the machine's
/// own configuration takes part.
/// </summary>
internal sealed partial class ProgramUser : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly ScratchFolder _scratch = new();

    public ProgramUser()
    {
        Home = MakeFolder("home");
        Repository = At("repository");
        PasswordFile = Write("password", "correct horse battery staple\n");
        Secret = ["--key-file", At("repository.key")];
        Environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["HOME"] = Home,
            ["PATH"] = System.Environment.GetEnvironmentVariable("PATH") ?? "/usr/bin:/bin",
            ["LC_ALL"] = "C.UTF-8",
        };
        foreach (string name in (string[])["DOTNET_ROOT", "DOTNET_ROOT_X64", "DOTNET_ROOT_ARM64", "TMPDIR"])
        {
            if (System.Environment.GetEnvironmentVariable(name) is { Length: > 0 } value)
            {
                Environment[name] = value;
            }
        }
    }

    /// <summary>The executable: what the tests were built with, so always today's code.</summary>
    public string Program { get; set; } = Path.Combine(AppContext.BaseDirectory, "backupiq");

    public string Home { get; }

    /// <summary>Where <see cref="Run"/> expects the repository, unless the arguments name another.</summary>
    public string Repository { get; set; }

    public string PasswordFile { get; }

    /// <summary>What opens <see cref="Repository"/>: a key file, because a password's derivation takes its time.</summary>
    public string[] Secret { get; private set; }

    public Dictionary<string, string> Environment { get; }

    /// <summary>Program and arguments that are put before the executable, such as <c>setpriv</c>.</summary>
    public IReadOnlyList<string> Prefix { get; set; } = [];

    /// <summary>The arguments that name <see cref="Repository"/> and open it.</summary>
    public string[] Access => ["--repo", Repository, .. Secret, "--no-input"];

    /// <summary>A path in the user's scratch folder.</summary>
    public string At(params string[] names) => Path.Combine([_scratch.Path, .. names]);

    public string MakeFolder(params string[] names) => Directory.CreateDirectory(At(names)).FullName;

    /// <summary>Writes a file and returns its path.</summary>
    public string Write(string name, string content)
    {
        string path = At(name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        return path;
    }

    /// <summary>Makes a folder with a few small files and one of <paramref name="large"/> random bytes; all long at rest.</summary>
    public string MakeTree(string name = "source", int large = 3 << 20, int seed = 1)
    {
        string root = MakeFolder(name);
        MakeFolder(name, "docs", "inner");
        byte[] bytes = new byte[large];
        new Random(seed).NextBytes(bytes);
        File.WriteAllText(Path.Combine(root, "readme.txt"), $"read me {seed}\n");
        File.WriteAllText(Path.Combine(root, "docs", "letter.txt"), string.Concat(Enumerable.Repeat($"Dear {seed}, ", 100)));
        File.WriteAllText(Path.Combine(root, "docs", "inner", "note.tmp"), "a note\n");
        File.WriteAllBytes(Path.Combine(root, "large.bin"), bytes);
        foreach (string file in Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories))
        {
            File.SetLastWriteTimeUtc(file, new DateTime(2026, 11, 20, 12, 0, 0, DateTimeKind.Utc));
        }

        return root;
    }

    /// <summary>Runs the program on <see cref="Repository"/>; arguments behind <c>--</c> stay behind it.</summary>
    public ProgramRun Run(params string[] arguments) => RunPlain(WithRepository(arguments));

    /// <summary>Runs the program with just these arguments.</summary>
    public ProgramRun RunPlain(params string[] arguments) => Launch([.. Prefix, Program, .. arguments], input: null).Wait(Patience);

    /// <summary>Runs any other program as this user.</summary>
    public ProgramRun RunOther(params string[] words) => Launch(words, input: null).Wait(Patience);

    /// <summary>Runs the program on <see cref="Repository"/> and feeds it.</summary>
    public ProgramRun RunWithInput(byte[] input, params string[] arguments) => Launch([.. Prefix, Program, .. WithRepository(arguments)], input).Wait(Patience);

    /// <summary>Starts the program on <see cref="Repository"/>.</summary>
    public RunningProgram Start(params string[] arguments) => Launch([.. Prefix, Program, .. WithRepository(arguments)], input: null);

    /// <summary>Starts any other program as this user.</summary>
    public RunningProgram StartOther(params string[] words) => Launch(words, input: null);

    /// <summary>Makes the repository, which then opens with a key file or with the password.</summary>
    public ProgramUser WithNewRepository(bool withPassword = false)
    {
        Secret = withPassword ? ["--password-file", PasswordFile] : Secret;
        Run("init").ShouldEndWith(0);
        return this;
    }

    /// <summary>Backs <paramref name="source"/> up and returns the summary.</summary>
    public System.Text.Json.JsonElement Backup(string source, params string[] flags) =>
        Run(["backup", source, "--json", "--quiet", .. flags]).ShouldEndWith(0).Summary();

    /// <summary>The files below a folder of the repository.</summary>
    public string[] Objects(string folder) =>
        Directory.Exists(Path.Combine(Repository, folder))
            ? [.. Directory.EnumerateFiles(Path.Combine(Repository, folder), "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)]
            : [];

    /// <summary>
    /// From now on the program runs without any right, and owns what lies in the scratch folder. It runs from a copy, because the folder in
    /// which it was built may be closed to others. Needs root.
    /// </summary>
    public void BecomeNobody()
    {
        CopyProgram();
        ScratchFolder.Run("chown", "-hR", "65534:65534", _scratch.Path);
        Prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    }

    /// <summary>The same as another user of the machine, such as a database server's own.</summary>
    public void Become(string user)
    {
        CopyProgram();
        ScratchFolder.Run("chown", "-hR", $"{user}:", _scratch.Path);
        Prefix = ["runuser", "-u", user, "--"];
    }

    private void CopyProgram()
    {
        string program = MakeFolder("program");
        foreach (string file in Directory.EnumerateFiles(AppContext.BaseDirectory, "*.dll").Concat(Directory.EnumerateFiles(AppContext.BaseDirectory, "backupiq*")))
        {
            File.Copy(file, Path.Combine(program, Path.GetFileName(file)), overwrite: true);
        }

        Program = Path.Combine(program, "backupiq");
    }

    public void Dispose() => _scratch.Dispose();

    private string[] WithRepository(string[] arguments)
    {
        int behind = Array.IndexOf(arguments, "--");
        return behind < 0 ? [.. arguments, .. Access] : [.. arguments[..behind], .. Access, .. arguments[behind..]];
    }

    private RunningProgram Launch(string[] words, byte[]? input)
    {
        // Whoever runs the tests in the background ignores SIGINT, and what is ignored stays so in every process below.
        ProcessStartInfo start = new("env", ["--default-signal=INT,TERM", .. words])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = Home,
        };
        start.Environment.Clear();
        foreach ((string name, string value) in Environment)
        {
            start.Environment[name] = value;
        }

        return new RunningProgram(Process.Start(start)!, input);
    }

    /// <summary>The program while it runs.</summary>
    internal sealed class RunningProgram
    {
        private readonly Process _process;
        private readonly List<byte> _soFar = [];
        private readonly Task<byte[]> _output;
        private readonly Task<byte[]> _error;
        private readonly Task _input;

        public RunningProgram(Process process, byte[]? input)
        {
            _process = process;
            _output = ReadAsync(process.StandardOutput.BaseStream, _soFar);
            _error = ReadAsync(process.StandardError.BaseStream, []);
            _input = WriteAsync(process.StandardInput.BaseStream, input ?? []);
        }

        public bool HasEnded => _process.HasExited;

        /// <summary>Presses Ctrl-C, or sends another signal.</summary>
        public void Interrupt(int signal = 2) => Kill(_process.Id, signal);

        /// <summary>The first line on standard output, waited for; fails when the program ends without one.</summary>
        public string FirstLine()
        {
            while (true)
            {
                bool hasEnded = _output.IsCompleted;
                lock (_soFar)
                {
                    string text = System.Text.Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(_soFar));
                    if (text.Contains('\n', StringComparison.Ordinal))
                    {
                        return text[..text.IndexOf('\n', StringComparison.Ordinal)];
                    }
                }

                if (hasEnded)
                {
                    throw new InvalidOperationException($"The program ended before it said anything: {Wait().Error}");
                }

                Thread.Sleep(10);
            }
        }

        /// <summary>Waits for its end.</summary>
        public ProgramRun Wait(TimeSpan? patience = null)
        {
            using (_process)
            {
                if (!_process.WaitForExit(patience ?? Patience))
                {
                    _process.Kill(entireProcessTree: true);
                    throw new TimeoutException($"The program did not end within {patience ?? Patience}.");
                }

                _input.Wait();
                return new ProgramRun(_process.ExitCode, _output.Result, _error.Result);
            }
        }

        private static async Task<byte[]> ReadAsync(Stream stream, List<byte> all)
        {
            byte[] buffer = new byte[16 << 10];
            while (await stream.ReadAsync(buffer) is > 0 and int read)
            {
                lock (all)
                {
                    all.AddRange(buffer.AsSpan(0, read));
                }
            }

            return [.. all];
        }

        private static async Task WriteAsync(Stream stream, byte[] input)
        {
            try
            {
                await using (stream)
                {
                    await stream.WriteAsync(input);
                }
            }
            catch (IOException)
            {
                // The program ended, or closed its input, without reading it all.
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
