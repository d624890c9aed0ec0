using BackupIQ.Engine.Restore;

namespace BackupIQ.Jobs;

/// <summary>What is written to a stream.</summary>
/// <example>
/// <code>
/// await using FileStream archive = File.Create("/tmp/docs.tar");
/// DumpRequest request = new() { Snapshot = "latest", Path = "/home/ann/docs"u8.ToArray() };
/// await repository.DumpAsync(request, archive, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed record DumpRequest
{
    /// <summary>The snapshot, in any form that names one.</summary>
    public required string Snapshot { get; init; }

    /// <summary>The file, or the folder whose content is wanted, as bytes; <c>/</c> is all.</summary>
    public byte[] Path { get; init; } = [(byte)'/'];

    /// <summary>A folder as a zip archive in place of tar: only files, folders and symbolic links, with permissions and times to two seconds.</summary>
    public bool Zip { get; init; }

    /// <summary>Keep holes in a tar archive as GNU tar and bsdtar do, which other programs do not know; otherwise they are zeros.</summary>
    public bool KeepHoles { get; init; }

    /// <summary>Refuse a folder: where the output goes is no place for an archive.</summary>
    public bool FilesOnly { get; init; }

    /// <summary>Whether what lies in an archive of the storage is brought back first. It is not asked for unless it is waited for.</summary>
    public RecallOptions Recall { get; init; } = new();
}

/// <summary>Watches a dump: counters to poll at any time, and a call for each entry that is left out.</summary>
public sealed class DumpMonitor
{
    /// <summary>Makes a watcher; <paramref name="onFailure"/> may be null.</summary>
    public DumpMonitor(Action<ItemFailure>? onFailure = null) => Progress = new DumpProgress
    {
        OnIssue = onFailure is null ? null : issue => onFailure(new ItemFailure(issue.Code, issue.Path, issue.Message)),
    };

    /// <summary>Entries that were written.</summary>
    public long Entries => Progress.Entries;

    /// <summary>Bytes of content that were written.</summary>
    public long Bytes => Progress.Bytes;

    /// <summary>Entries, or parts of folders, that were left out; each was told.</summary>
    public long Errors => Progress.Errors;

    /// <summary>Some of them because the repository is damaged.</summary>
    public bool HasDamage => Progress.HasDamage;

    /// <summary>A path that is being written, as bytes.</summary>
    public byte[]? CurrentPath => Progress.CurrentPath;

    internal DumpProgress Progress { get; }
}
