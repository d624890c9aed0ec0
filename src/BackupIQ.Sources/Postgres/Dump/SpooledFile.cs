namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>A file that a program writes while it is read here. What says how far it is belongs to <see cref="SpoolPipeline"/>.</summary>
/// <param name="folder">Where it is.</param>
/// <param name="name">Its name there.</param>
internal sealed class SpooledFile(string folder, string name)
{
    private long _lines;

    public string Name { get; } = name;

    public string Path { get; } = System.IO.Path.Combine(folder, name);

    /// <summary>As long as it was when it was looked at last.</summary>
    public long Size { get; set; }

    /// <summary>Nobody writes it any more, and <see cref="Size"/> is final.</summary>
    public bool IsWhole { get; set; }

    /// <summary>Line ends in what was read.</summary>
    public long Lines => Interlocked.Read(ref _lines);

    public void Count(long lines) => Interlocked.Add(ref _lines, lines);
}
