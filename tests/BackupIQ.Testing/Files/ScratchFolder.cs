using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Testing.Files;

/// <summary>A temporary folder of a test, removed with whatever is in it, however deep and whatever its names.</summary>
public sealed class ScratchFolder : IDisposable
{
    private const string MemoryFolder = "/dev/shm";

    /// <summary>Makes an empty folder below the system's temporary folder.</summary>
    /// <param name="inMemory">The bytes in memory that it will need; where there is room for them, it lies there, so that who makes a thousand files durable does not wait for a disk.</param>
    public ScratchFolder(long inMemory = 0)
    {
        bool hasRoom = inMemory > 0 && Directory.Exists(MemoryFolder) && new DriveInfo(MemoryFolder).AvailableFreeSpace > 4 * inMemory;
        Path = System.IO.Path.Combine(hasRoom ? MemoryFolder : System.IO.Path.GetTempPath(), "backupiq-" + Convert.ToHexString(RandomNumberGenerator.GetBytes(6)));
        _ = Directory.CreateDirectory(Path);
    }

    /// <summary>Its absolute path, ASCII.</summary>
    public string Path { get; }

    /// <summary>Its absolute path as bytes.</summary>
    public byte[] PathBytes => Encoding.UTF8.GetBytes(Path);

    /// <summary>The path of an entry in it.</summary>
    public string At(params string[] names) => System.IO.Path.Combine([Path, .. names]);

    /// <summary>Writes a file, with the folders that lead to it, and gives it a time that is long past; returns its path.</summary>
    public string Write(string name, ReadOnlySpan<byte> content)
    {
        string path = At(name);
        _ = Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, content);
        File.SetLastWriteTimeUtc(path, new DateTime(2026, 11, 20, 12, 0, 0, DateTimeKind.Utc));
        return path;
    }

    /// <summary>Writes a file of random bytes that depend on the seed alone; returns its path.</summary>
    public string WriteRandom(string name, int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return Write(name, bytes);
    }

    /// <summary>Whether the tests run as root; devices, foreign owners and capabilities need it.</summary>
    public static bool IsRoot => LibC.GetEUid() == 0;

    /// <summary>Runs a program to its end; its standard output. Throws when it fails.</summary>
    public static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: exit status {process.ExitCode}: {error.Result}");
    }

    /// <inheritdoc/>
    public void Dispose() => Run("rm", "-rf", "--", Path);
}
