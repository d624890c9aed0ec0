namespace BackupIQ.Testing.Files;

/// <summary>Where the project's own files lie, found from where the tests were built.</summary>
public static class SourceFolder
{
    /// <summary>The folder that holds BackupIQ.slnx.</summary>
    public static string Root { get; } = FindRoot();

    private static string FindRoot()
    {
        for (string? folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "BackupIQ.slnx")))
            {
                return folder;
            }
        }

        throw new InvalidOperationException("BackupIQ.slnx is in no folder above " + AppContext.BaseDirectory);
    }
}
