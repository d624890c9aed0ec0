using System.Xml.Linq;
using BackupIQ.Testing.Files;

namespace BackupIQ.Tests.Architecture;

/// <summary>The project's own files.</summary>
internal static class SourceTree
{
    /// <summary>The folder that holds BackupIQ.slnx.</summary>
    public static string Root => SourceFolder.Root;

    /// <summary>Each project under src/ with the names of the projects that it references.</summary>
    public static Dictionary<string, string[]> ProjectReferences() =>
        SourceProjects().ToDictionary(
            file => Path.GetFileNameWithoutExtension(file),
            file => XDocument.Load(file).Descendants("ProjectReference")
                .Select(reference => reference.Attribute("Include")?.Value ?? "")
                .Select(path => Path.GetFileNameWithoutExtension(path.Replace('\\', '/')))
                .ToArray(),
            StringComparer.Ordinal);

    /// <summary>The project files under src/.</summary>
    public static string[] SourceProjects() => Directory.GetFiles(Path.Combine(Root, "src"), "*.csproj", SearchOption.AllDirectories);

    /// <summary>Every text file of the project that could be under version control: not built, not fetched, not a benchmark's corpus.</summary>
    public static IEnumerable<string> TextFiles()
    {
        string[] skippedFolders = [".git", "artifacts", "node_modules", ".vs", ".idea", "__pycache__", Path.Combine("bench", "work")];
        Stack<string> folders = new([Root]);
        while (folders.TryPop(out string? folder))
        {
            foreach (string child in Directory.GetDirectories(folder))
            {
                string relative = Path.GetRelativePath(Root, child);
                if (!skippedFolders.Any(name => relative == name || relative.EndsWith("/" + name, StringComparison.Ordinal)))
                {
                    folders.Push(child);
                }
            }

            foreach (string file in Directory.GetFiles(folder))
            {
                if (Path.GetFileName(file) != ".git" && IsText(file))
                {
                    yield return file;
                }
            }
        }
    }

    private static bool IsText(string file)
    {
        using FileStream stream = File.OpenRead(file);
        byte[] head = new byte[4096];
        int read = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        return !head.AsSpan(0, read).Contains((byte)0);
    }
}
