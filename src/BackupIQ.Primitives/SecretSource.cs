using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;

namespace BackupIQ.Primitives;

/// <summary>Where secrets come from that are named by reference: a file, or what a command prints.</summary>
public static class SecretSource
{
    private const int Largest = 256 << 10;

    // A group of one's own may read it: that is how services share secrets.
    private const UnixFileMode OthersRights = UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.GroupWrite;

    /// <summary>The bytes of a file; the caller wipes them.</summary>
    /// <param name="path">The file.</param>
    /// <param name="what">What it is, for messages: <c>key file</c>.</param>
    /// <param name="mustBePrivate">Whether a file that everybody may read, or others may write, is refused.</param>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.SecretUnavailable"/>: it cannot be read, or is too large to be one.</exception>
    public static byte[] ReadFile(string path, string what, bool mustBePrivate = false)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            if (mustBePrivate && !OperatingSystem.IsWindows() && (File.GetUnixFileMode(file.SafeFileHandle) & OthersRights) != 0)
            {
                throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The {what} may be read or written by others", $"chmod 600 {path}").With("file", path);
            }

            using MemoryStream content = new();
            byte[] buffer = new byte[4096];
            for (int read = file.Read(buffer); read > 0; read = file.Read(buffer))
            {
                content.Write(buffer, 0, read);
                if (content.Length > Largest)
                {
                    throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The {what} is too large to be one").With("file", path);
                }
            }

            return content.ToArray();
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            string why = fault is FileNotFoundException or DirectoryNotFoundException ? "does not exist" : "cannot be read";
            throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The {what} {why}", null, fault).With("file", path);
        }
    }

    /// <summary>
    /// The first line that a command prints. As restic does: through no shell, arguments split at blanks, quotes keep them together
    /// (<see cref="CommandWords"/>).
    /// </summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.SecretUnavailable"/>: it cannot be run, fails, or prints nothing.</exception>
    public static Secret RunCommand(string command)
    {
        string[] words = CommandWords.Split(command);
        if (words.Length == 0)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The password command is empty");
        }

        ProcessStartInfo start = new(words[0], words.Skip(1)) { RedirectStandardOutput = true, UseShellExecute = false };
        try
        {
            using Process process = Process.Start(start) ?? throw new Win32Exception("it did not start");
            using MemoryStream output = new();
            process.StandardOutput.BaseStream.CopyTo(output);
            process.WaitForExit();
            return process.ExitCode == 0
                ? FirstLine(output.ToArray(), command)
                : throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The password command ended with exit code {process.ExitCode}").With("command", words[0]);
        }
        catch (Win32Exception fault)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, $"The password command cannot be run: {fault.Message}", null, fault).With("command", words[0]);
        }
    }

    /// <summary>The first line, without its end; the bytes given are wiped.</summary>
    /// <param name="bytes">What the place holds.</param>
    /// <param name="place">Where they come from, for messages.</param>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.SecretUnavailable"/>: it is empty.</exception>
    public static Secret FirstLine(byte[] bytes, string place)
    {
        ReadOnlySpan<byte> line = bytes.AsSpan();
        int end = line.IndexOf((byte)'\n');
        line = end < 0 ? line : line[..end];
        line = line is [.., (byte)'\r'] ? line[..^1] : line;
        bool isEmpty = line.IsEmpty;
        Secret secret = new(line);
        CryptographicOperations.ZeroMemory(bytes);
        return isEmpty ? throw new BackupIQException(ErrorCodes.SecretUnavailable, "The password is empty").With("from", place) : secret;
    }
}
