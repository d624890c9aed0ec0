using System.ComponentModel;
using System.Diagnostics;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Sources.Command;

/// <summary>What a <see cref="CommandSource"/> reads, and what the file is called.</summary>
public sealed record CommandSourceOptions
{
    /// <summary>The file's path in the snapshot, as bytes. Folders in it are made.</summary>
    public byte[] FileName { get; init; } = "stdin"u8.ToArray();

    /// <summary>The program and its arguments, run without a shell; null to read <see cref="Input"/> instead.</summary>
    public IReadOnlyList<string>? Command { get; init; }

    /// <summary>Read when there is no command; the standard input when null. The source disposes it.</summary>
    public Stream? Input { get; init; }

    /// <summary>Permission bits of the file. Only its owner may read what a command told.</summary>
    public uint Mode { get; init; } = 0x180;

    public uint UserId { get; init; }

    public uint GroupId { get; init; }
}

/// <summary>
/// A single file whose content is what a command prints, or the standard input. It can be opened once and read once, from the start
/// (<see cref="ISourceFile.IsSequential"/>). A command that fails makes the read that meets the end throw, so that nothing is committed.
/// Its error output goes where ours goes.
/// </summary>
public sealed class CommandSource : IBackupSource
{
    private readonly CommandSourceOptions _options;
    private readonly FileTime _now;
    private readonly IReadOnlyList<byte[]> _names;
    private CommandOutput? _output;

    /// <summary>Starts nothing yet: the command runs when the file is opened.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: the file's name or the command is empty.</exception>
    public CommandSource(CommandSourceOptions options, TimeProvider time)
    {
        _options = options;
        byte[] path = BytePath.MakeAbsolute(options.FileName, "/"u8);
        _names = BytePath.Names(path);
        if (_names.Count == 0 || options.FileName.AsSpan().Contains((byte)0))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The name of the file to store is empty or not a name.", "Give --stdin-filename NAME.");
        }

        if (options.Command is { Count: 0 })
        {
            throw new BackupIQException(ErrorCodes.Usage, "The command to run is empty.");
        }

        Paths = [path];
        TimeSpan since = time.GetUtcNow() - DateTimeOffset.UnixEpoch;
        long seconds = (long)Math.Floor(since.TotalSeconds);
        _now = new FileTime(seconds, (uint)(since.Ticks - (seconds * TimeSpan.TicksPerSecond)) * 100);
    }

    /// <inheritdoc/>
    public string Kind => "command";

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths { get; }

    /// <inheritdoc/>
    public bool IsRepeatable => false;

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        SourceEntry? parent = null;
        Stack<SourceEntry> folders = [];
        for (int i = 0; i < _names.Count - 1; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            parent = new SourceEntry { Name = _names[i], Stat = StatOf(NodeType.Directory, 0x1c0, 0), Parent = parent };
            folders.Push(parent);
            yield return new SourceEvent(SourceEventKind.Enter, parent, null);
        }

        SourceEntry file = new() { Name = _names[^1], Stat = StatOf(NodeType.File, _options.Mode, 0), Parent = parent };
        yield return new SourceEvent(SourceEventKind.Leaf, file, null);
        while (folders.TryPop(out SourceEntry? folder))
        {
            yield return new SourceEvent(SourceEventKind.Leave, folder, null);
        }
    }

    /// <inheritdoc/>
    /// <remarks>The size is what was read so far.</remarks>
    public NodeMetadata Describe(SourceEntry entry) => Describe(entry, entry.Stat.Type == NodeType.File ? (ulong)(_output?.Position ?? 0) : 0);

    /// <inheritdoc/>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.SourceCommand"/>: the command cannot be started.</exception>
    /// <exception cref="InvalidOperationException">It was opened before: what a command printed cannot be had twice.</exception>
    public ISourceFile Open(SourceEntry entry)
    {
        if (_output is not null)
        {
            throw new InvalidOperationException("The output of a command can be opened only once.");
        }

        Process? process = _options.Command is null ? null : Start(_options.Command);
        Stream stream = process?.StandardOutput.BaseStream ?? _options.Input ?? Console.OpenStandardInput();
        return _output = new CommandOutput(this, entry, Paths[0], process, stream);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _output?.Dispose();
        _options.Input?.Dispose();
    }

    internal SourceStat StatOf(NodeType type, uint mode, ulong size) => new()
    {
        Type = type,
        Mode = mode,
        UserId = _options.UserId,
        GroupId = _options.GroupId,
        Size = size,
        Modified = _now,
        Changed = _now,
        LinkCount = 1,
        Blocks = (size + 511) / 512,
    };

    /// <summary>The file's state with as many bytes as were read.</summary>
    internal SourceStat FileStat(ulong size) => StatOf(NodeType.File, _options.Mode, size);

    internal static NodeMetadata Describe(SourceEntry entry, ulong size) => new()
    {
        Name = entry.Name,
        Type = entry.Stat.Type,
        Mode = entry.Stat.Mode,
        UserId = entry.Stat.UserId,
        GroupId = entry.Stat.GroupId,
        Modified = entry.Stat.Modified,
        Size = size,
    };

    private static Process Start(IReadOnlyList<string> command)
    {
        ProcessStartInfo start = new(command[0])
        {
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        for (int i = 1; i < command.Count; i++)
        {
            start.ArgumentList.Add(command[i]);
        }

        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new BackupIQException(ErrorCodes.SourceCommand, "The command cannot be started.", "Check that it is installed and may be run.", e)
                .With("command", command[0])
                .With("reason", e.Message);
        }
    }
}
