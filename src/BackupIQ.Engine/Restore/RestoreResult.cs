using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Restore;

/// <summary>Something that was not restored, or not wholly, with the path inside the snapshot as bytes.</summary>
public sealed record RestoreIssue(ErrorCode Code, byte[] Path, string Message)
{
    /// <summary>The path as text for people; bytes that are not UTF-8 are replaced.</summary>
    public string PathText => Encoding.UTF8.GetString(Path);
}

/// <summary>A kind of warning, how many entries it met and the first of them.</summary>
public sealed record RestoreWarning(string Message, long Count, IReadOnlyList<byte[]> Examples);

/// <summary>What a restore ended with. Entries are files, directories, links and devices alike, as restic counts them.</summary>
public sealed record RestoreResult
{
    /// <summary>Issues beyond this number are counted and told through <see cref="RestoreProgress.OnIssue"/>, not kept.</summary>
    public const int MaxIssues = 10_000;

    public long TotalFiles { get; init; }

    /// <summary>Entries that were made or changed.</summary>
    public long FilesRestored { get; init; }

    public long TotalBytes { get; init; }

    /// <summary>Bytes of content that were brought in: fetched and written.</summary>
    public long BytesRestored { get; init; }

    /// <summary>Entries whose content was right already.</summary>
    public long FilesUnchanged { get; init; }

    /// <summary>Entries left as they are because of the overwrite rule.</summary>
    public long FilesSkipped { get; init; }

    public long FilesDeleted { get; init; }

    /// <summary>Files that were read back and are what the snapshot says; 0 without <see cref="RestoreOptions.Verify"/>.</summary>
    public long FilesVerified { get; init; }

    public IReadOnlyList<RestoreWarning> Warnings { get; init; } = [];

    /// <summary>What was not restored; the first <see cref="MaxIssues"/> of <see cref="ErrorCount"/>.</summary>
    public IReadOnlyList<RestoreIssue> Errors { get; init; } = [];

    public long ErrorCount { get; init; }

    /// <summary>Whether damage of the repository was met, also where it cost nothing because another pack had what was lost.</summary>
    public bool DamageFound { get; init; }

    public TimeSpan Duration { get; init; }

    /// <summary>0 done, 3 done with warnings, 1 some entries failed, 14 the repository is damaged.</summary>
    public int ExitCode => DamageFound ? ErrorCodes.DamageFound.ExitCode : ErrorCount > 0 ? ErrorCodes.Restore.ExitCode : Warnings.Count > 0 ? 3 : 0;
}
