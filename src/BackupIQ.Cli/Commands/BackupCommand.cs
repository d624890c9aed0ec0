using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>backup PATH…</c></summary>
internal sealed class BackupCommand : Verb
{
    public BackupCommand()
        : base("backup", "Backs up files and folders as a new snapshot.")
    {
        Aliases.Add("create");
        Positional("PATH", "what to back up; with --stdin-from-command: the command");
        List("--tag", "K[=V]", "a tag for the snapshot");
        Value("--host", "NAME", "host name of the snapshot (default: this machine's)", "-H");
        List("--exclude", "PATTERN", "leave out what matches; !PATTERN takes back", "-e");
        List("--iexclude", "PATTERN", "as --exclude, whatever the case of letters");
        List("--exclude-file", "FILE", "read patterns from FILE");
        List("--iexclude-file", "FILE", "as --exclude-file, whatever the case of letters");
        Value("--exclude-larger-than", "SIZE", "leave out files larger than SIZE");
        Flag("--exclude-caches", "leave out folders with a CACHEDIR.TAG");
        List("--exclude-if-present", "NAME[:HEAD]", "leave out folders that hold a file NAME");
        List("--include", "PATTERN", "keep only what matches");
        List("--files-from", "FILE", "read what to back up from FILE, with wildcards; - is standard input");
        List("--files-from-verbatim", "FILE", "as --files-from, one plain path a line");
        List("--files-from-raw", "FILE", "as --files-from, paths ended by zero bytes");
        Flag("--one-file-system", "stay on the file systems of the given paths", "-x");
        Value("--type", "TYPE", "full, incremental (default) or differential");
        Value("--parent", "SNAP", "compare with SNAP instead of the newest");
        Flag("--ignore-ctime", "do not compare change times");
        Flag("--ignore-inode", "do not compare inode numbers");
        Flag("--stdin", "back up standard input");
        Value("--stdin-filename", "NAME", "name of the file made of it (default: stdin)");
        Flag("--stdin-from-command", "back up what a command prints: -- CMD ARGS…");
        Flag("--skip-if-unchanged", "make no snapshot when nothing changed");
        Flag("--dry-run", "read and count, store nothing", "-n");
        Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
        Value("--checkpoint-interval", "TIME", "how often a running backup is made resumable (5m)");
        Value("--connections", "N", "packs on their way to the storage at once");
        Value("--read-concurrency", "N", "files read at once");
        Value("--batch-size", "SIZE", "small files taken by a worker at once");
        Flag("--verify", "read again what was stored before the snapshot counts");
        List("--report", "FILE", "write a report: FILE.html or FILE.json");
        BackupDestinations.Declare(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq backup ~/Documents --exclude '*.tmp'",
        "backupiq backup --stdin-filename db.sql --stdin-from-command -- pg_dump shop",
        "backupiq backup ~/Documents --also /mnt/second/backup --also-key-file ~/second.key",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        BackupRequest request = ReadRequest(run);
        using BackupDestinations destinations = await BackupDestinations.ReadAsync(run, cancellationToken).ConfigureAwait(false);
        request = request with { OtherRepositories = destinations.Urls };
        IReadOnlyList<BackupReport> reports = [.. run.Arguments.Values("--report").Select(BackupReport.For)];
        using BackupBeginning? beginning = run.RepositoryUrl is { } existing ? run.Begin(request, existing, cancellationToken) : null;
        await using BackupIqRepository repository = run.RepositoryUrl is { } url
            ? await run.OpenRepositoryAsync(url, cancellationToken).ConfigureAwait(false)
            : await FirstUse.CreateAsync(run, request.DryRun, cancellationToken).ConfigureAwait(false);

        BackupView view = new(run, request);
        BackupOutcome outcome;
        await using (view.Show().ConfigureAwait(false))
        {
            outcome = beginning is null
                ? await repository.BackupAsync(request, view.Monitor, cancellationToken).ConfigureAwait(false)
                : await repository.BackupAsync(beginning, view.Monitor, cancellationToken).ConfigureAwait(false);
        }

        // Who waits at a terminal sees at once that the backup is saved; a program gets one summary of all.
        if (!run.WantsJson)
        {
            view.Finish(outcome);
        }

        IReadOnlyList<DestinationOutcome> copies = await destinations.CopyAsync(repository, outcome.Snapshot, request, cancellationToken).ConfigureAwait(false);

        // Where no snapshot was made nothing was put that a mirror has to have: none was asked how it stands.
        OtherPlaces places = new(outcome.Snapshot is null ? [] : run.MirrorStates, copies);
        if (run.WantsJson)
        {
            view.Finish(outcome, places);
        }

        foreach (BackupReport report in reports)
        {
            report.Write(repository, request, outcome, places, view);
        }

        LockOutput.Tell(run, outcome.LocksExtended, outcome.LockProblem);
        return copies.Any(static copy => copy.Outcome == "damaged") ? ExitCodes.Damage
            : outcome.Warnings > 0 || outcome.LockProblem is not null || copies.Any(static copy => copy.Failure is not null) ? ExitCodes.Warnings
            : ExitCodes.Done;
    }

    private BackupRequest ReadRequest(Invocation run)
    {
        Arguments arguments = run.Arguments;
        run.Settings.RequireValid();
        StreamSource? stream = ReadStream(arguments, run);
        return new BackupRequest
        {
            Paths = stream is null ? ReadPaths(run) : [],
            Stdin = stream,
            Excludes = Patterns(run, "backup.exclude", "backup.exclude-file"),
            ExcludesIgnoringCase = Patterns(run, "backup.iexclude", "backup.iexclude-file"),
            Includes = [.. run.Settings.List("backup.include").Select(OsText.Encode)],
            ExcludeIfPresent = [.. run.Settings.List("backup.exclude-if-present").Select(OsText.Encode)],
            ExcludeLargerThan = run.Settings.Size("backup.exclude-larger-than") is > 0 and long limit ? limit : null,
            ExcludeCaches = run.Settings.Switch("backup.exclude-caches"),
            OneFileSystem = run.Settings.Switch("backup.one-file-system"),
            Host = run.Settings.Text("backup.host"),
            Tags = run.Settings.Words("backup.tags"),
            Type = run.Settings.Text("backup.type")!,
            Parent = arguments.Value("--parent"),
            IgnoreCtime = run.Settings.Switch("backup.ignore-ctime"),
            IgnoreInode = run.Settings.Switch("backup.ignore-inode"),
            DryRun = arguments.Has("--dry-run"),
            SkipIfUnchanged = run.Settings.Switch("backup.skip-if-unchanged"),
            Verify = run.Settings.Switch("backup.verify"),
            Compression = run.Settings.Text("backup.compression")!,
            CheckpointInterval = run.Settings.Duration("backup.checkpoint-interval"),
            Connections = run.Settings.Number("backup.connections"),
            ReadConcurrency = run.Settings.Number("backup.read-concurrency"),
            BatchSize = run.Settings.Size("backup.batch-size"),
        };
    }

    private StreamSource? ReadStream(Arguments arguments, Invocation run)
    {
        bool fromCommand = arguments.Has("--stdin-from-command");
        if (!fromCommand && !arguments.Has("--stdin"))
        {
            return arguments.Has("--stdin-filename") ? throw Misuse("--stdin-filename goes with --stdin or --stdin-from-command") : null;
        }

        if (fromCommand && arguments.Positional.Count == 0)
        {
            throw Misuse("--stdin-from-command needs a command behind --", "Write: backupiq backup --stdin-from-command -- CMD ARGS…");
        }

        if (!fromCommand && arguments.Positional.Count > 0)
        {
            throw Misuse("--stdin takes no paths");
        }

        byte[] name = OsText.Encode(arguments.Value("--stdin-filename") ?? "stdin");
        return new StreamSource(name, fromCommand ? [.. arguments.Positional] : null, fromCommand ? null : run.Host.Input());
    }

    private List<byte[]> ReadPaths(Invocation run)
    {
        Arguments arguments = run.Arguments;
        List<byte[]> paths = [.. arguments.Positional.Select(OsText.Encode)];
        foreach (string file in arguments.Values("--files-from"))
        {
            paths.AddRange(PathLists.Globs(ReadList(run, file)));
        }

        foreach (string file in arguments.Values("--files-from-verbatim"))
        {
            paths.AddRange(PathLists.Verbatim(ReadList(run, file)));
        }

        foreach (string file in arguments.Values("--files-from-raw"))
        {
            paths.AddRange(PathLists.Raw(ReadList(run, file)));
        }

        bool listed = arguments.Has("--files-from") || arguments.Has("--files-from-verbatim") || arguments.Has("--files-from-raw");
        if (paths.Count == 0 && !listed)
        {
            paths.AddRange(run.Settings.List("backup.paths").Select(OsText.Encode));
        }

        return paths.Count > 0 ? paths
            : throw Misuse(listed ? "The lists given name nothing to back up" : "Nothing to back up is given", "Name files or folders: backupiq backup DIR");
    }

    private static List<byte[]> Patterns(Invocation run, string key, string fileKey)
    {
        List<byte[]> patterns = [.. run.Settings.List(key).Select(OsText.Encode)];
        foreach (string file in run.Settings.List(fileKey))
        {
            patterns.AddRange(PathLists.Patterns(ReadList(run, file)));
        }

        return patterns;
    }

    private static byte[] ReadList(Invocation run, string file)
    {
        try
        {
            if (file != "-")
            {
                return File.ReadAllBytes(file);
            }

            using Stream input = run.Host.Input();
            using MemoryStream content = new();
            input.CopyTo(content);
            return content.ToArray();
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Usage, "A list cannot be read", "Check the file's name and permissions.", fault).With("file", file);
        }
    }
}
