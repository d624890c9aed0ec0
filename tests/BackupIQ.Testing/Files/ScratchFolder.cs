using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Testing.Files;

/// <summary>A temporary folder of a test, removed with whatever is in it, however deep and whatever its names.</summary>
public sealed class ScratchFolder : IDisposable
{
    /// <summary>Makes an empty folder below the system's temporary folder.</summary>
    public ScratchFolder()
    {
        Path = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "backupiq-" + Convert.ToHexString(RandomNumberGenerator.GetBytes(6)));
        _ = Directory.CreateDirectory(Path);
    }

    /// <summary>Its absolute path, ASCII.</summary>
    public string Path { get; }

    /// <summary>Its absolute path as bytes.</summary>
    public byte[] PathBytes => Encoding.UTF8.GetBytes(Path);

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
