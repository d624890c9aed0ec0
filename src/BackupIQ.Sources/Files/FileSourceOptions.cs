using BackupIQ.Primitives;

namespace BackupIQ.Sources.Files;

/// <summary>
/// What to back up and what to leave out. The meaning of each exclusion is that of restic 0.14's option of the same name. All texts are
/// bytes; lists in files are read by <see cref="Patterns.ListFiles"/>.
/// </summary>
public sealed record FileSourceOptions
{
    /// <summary>The paths to back up; relative ones lie below <see cref="WorkingFolder"/>. One that does not exist is an error of the walk.</summary>
    public required IReadOnlyList<byte[]> Paths { get; init; }

    /// <summary>Where relative paths begin; null means the working folder of this process.</summary>
    public byte[]? WorkingFolder { get; init; }

    /// <summary>Patterns of <c>--exclude</c> and then those of <c>--exclude-file</c>.</summary>
    public IReadOnlyList<byte[]> Excludes { get; init; } = [];

    /// <summary>Patterns of <c>--iexclude</c> and then those of <c>--iexclude-file</c>: case does not count.</summary>
    public IReadOnlyList<byte[]> ExcludesIgnoringCase { get; init; } = [];

    /// <summary>When there are any, only what matches one of them is kept, and the folders above it. Exclusions count as well.</summary>
    public IReadOnlyList<byte[]> Includes { get; init; } = [];

    /// <summary>What is no folder and longer than this many bytes is left out; null means no limit.</summary>
    public long? ExcludeLargerThan { get; init; }

    /// <summary>Leaves out what lies in folders with a CACHEDIR.TAG that has the signature of bford.info/cachedir (the tag stays).</summary>
    public bool ExcludeCaches { get; init; }

    /// <summary>Leaves out what lies in folders that have such a file (the file stays).</summary>
    public IReadOnlyList<FolderTag> ExcludeIfPresent { get; init; } = [];

    /// <summary>Stays on the file system of each given path: a mount point is kept as an empty folder.</summary>
    public bool OneFileSystem { get; init; }

    /// <summary>
    /// Folders of our own that must not be backed up: the repository, spool and cache. Found by device and inode, whatever way leads
    /// there; leaving one out is told in <see cref="FileSource.Notices"/>.
    /// </summary>
    public IReadOnlyList<OwnFolder> OwnFolders { get; init; } = [];
}

/// <summary>A file that marks its folder as one to leave out.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Header">What it begins with; empty when its presence is enough.</param>
public sealed record FolderTag(byte[] Name, byte[] Header)
{
    /// <summary>The tag of the Cache Directory Tagging Specification.</summary>
    public static FolderTag Cache { get; } = new("CACHEDIR.TAG"u8.ToArray(), "Signature: 8a477f597d28d172789f06886806bc55"u8.ToArray());

    /// <summary>Reads <c>NAME[:HEADER]</c>.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: the name is empty.</exception>
    public static FolderTag Parse(ReadOnlySpan<byte> text)
    {
        int colon = text.IndexOf((byte)':');
        ReadOnlySpan<byte> name = colon < 0 ? text : text[..colon];
        return name.IsEmpty
            ? throw new BackupIQException(ErrorCodes.Usage, "--exclude-if-present: the name of the file is missing", "Write NAME or NAME:HEADER.")
            : new FolderTag(name.ToArray(), colon < 0 ? [] : text[(colon + 1)..].ToArray());
    }
}

/// <summary>A folder that BackupIQ itself works in.</summary>
/// <param name="Path">Where it is; it need not exist.</param>
/// <param name="Role">What it is, for the notice: "the repository".</param>
public sealed record OwnFolder(byte[] Path, string Role);

/// <summary>Something about a walk that a person should know and that is no error.</summary>
/// <param name="Path">The path that it is about.</param>
/// <param name="Message">What it is, without the path.</param>
public sealed record SourceNotice(byte[] Path, string Message);
