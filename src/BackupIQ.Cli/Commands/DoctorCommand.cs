using System.Runtime.InteropServices;
using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>doctor</c>: what could go wrong here, before it does.</summary>
internal sealed class DoctorCommand : Verb
{
    private static readonly (string Program, string Purpose)[] Programs =
    [
        ("pg_dump", "logical PostgreSQL backups"),
        ("mariadb-dump", "logical MySQL and MariaDB backups"),
        ("rclone", "sftp://, icloud:// and rclone: storage"),
        ("redis-cli", "Redis backups"),
    ];

    public DoctorCommand()
        : base("doctor", "Looks for what could go wrong: libraries, permissions, keys, clock.") =>
        Flag("--confirm-kit", "say that key and recovery kit of the default repository lie elsewhere, too");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        List<Finding> findings = [];
        Libraries(findings);
        OptionalPrograms(run, findings);
        await ICloudAsync(run, findings, cancellationToken).ConfigureAwait(false);
        Configuration(run, findings);
        DefaultRepository(run, findings);
        Permissions(run, findings);
        Cache(run, findings, cancellationToken);
        Clock(run, findings);
        await RepositoryAsync(run, findings, cancellationToken).ConfigureAwait(false);

        if (run.WantsJson)
        {
            WriteJson(run, findings);
        }
        else
        {
            Show(run, findings);
        }

        return findings.Any(static finding => finding.Level == FindingLevel.Failed) ? ExitCodes.Usage
            : findings.Any(static finding => finding.Level == FindingLevel.Warning) ? ExitCodes.Warnings
            : ExitCodes.Done;
    }

    private static void Libraries(List<Finding> findings)
    {
        foreach (SystemLibrary library in SystemLibraries.Inspect())
        {
            findings.Add(library.Version is { } version
                ? new Finding(FindingLevel.Good, library.Purpose, $"{library.FileName ?? "built in"} {version}")
                : new Finding(FindingLevel.Warning, library.Purpose, $"{library.FileName} is missing", $"Install it: apt install {library.DebianPackage}"));
        }
    }

    private static void OptionalPrograms(Invocation run, List<Finding> findings)
    {
        string[] folders = (run.Settings.Environment("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        foreach ((string program, string purpose) in Programs)
        {
            string? found = folders.Select(folder => System.IO.Path.Join(folder, program)).FirstOrDefault(File.Exists);
            findings.Add(new Finding(FindingLevel.Good, program, found ?? $"not installed; only needed for {purpose}"));
        }
    }

    private static async Task ICloudAsync(Invocation run, List<Finding> findings, CancellationToken cancellationToken)
    {
        bool isUsed = run.Settings.Text("repo")?.StartsWith("icloud://", StringComparison.OrdinalIgnoreCase) == true;
        if (await BackupIqPrograms.KnowsICloudAsync(cancellationToken).ConfigureAwait(false) is { } knows)
        {
            findings.Add(knows ? new Finding(FindingLevel.Good, "iCloud Drive", "rclone knows it")
                : new Finding(isUsed ? FindingLevel.Warning : FindingLevel.Good, "iCloud Drive", "this rclone does not know it; icloud:// needs rclone 1.69 or later", isUsed ? "Install it from https://rclone.org/downloads; Debian's does not have it." : null));
        }
    }

    private static void Configuration(Invocation run, List<Finding> findings)
    {
        foreach (ConfigFinding finding in run.Settings.File.Findings)
        {
            findings.Add(new Finding(FindingLevel.Failed, "configuration", finding.ToString(), "Correct the line."));
        }

        if (run.Settings.File.Findings.Count == 0)
        {
            findings.Add(new Finding(
                FindingLevel.Good, "configuration", run.Settings.File.Files.Count == 0 ? "none; defaults are in force" : string.Join(", ", run.Settings.File.Files)));
        }

        SettingValue repo = run.Settings.Get("repo");
        string? url = repo.Text ?? (BackupIqRepository.ExistsAt(run.Settings.Folders.DefaultRepository) ? run.Settings.Folders.DefaultRepository : null);
        findings.Add(url is null
            ? new Finding(FindingLevel.Note, "repository", "none yet", "'backupiq backup DIR' makes one on this disk, 'backupiq init --repo PATH' elsewhere.")
            : BackupIqRepository.LocalPath(url) is { } path && !BackupIqRepository.ExistsAt(path)
                ? new Finding(FindingLevel.Warning, "repository", $"{url} ({repo.Place}) is not there", "Mount its disk, or correct the setting.")
                : new Finding(FindingLevel.Good, "repository", url));
        if (url is not null && MountFindings.Of(url) is { } mount)
        {
            findings.Add(mount);
        }
    }

    private static void DefaultRepository(Invocation run, List<Finding> findings)
    {
        UserFolders folders = run.Settings.Folders;
        if (!BackupIqRepository.ExistsAt(folders.DefaultRepository) || !File.Exists(folders.DefaultKeyFile))
        {
            return;
        }

        if (run.Arguments.Has("--confirm-kit") && !File.Exists(folders.ConfirmedKits))
        {
            PrivateFile.Write(folders.ConfirmedKits, System.Text.Encoding.UTF8.GetBytes(folders.DefaultRepository + "\n"));
        }

        findings.Add(File.Exists(folders.ConfirmedKits)
            ? new Finding(FindingLevel.Good, "recovery kit", "you said that key and kit lie elsewhere, too")
            : new Finding(
                FindingLevel.Note,
                "recovery kit",
                $"the repository {folders.DefaultRepository}, its key {folders.DefaultKeyFile} and recovery kit {folders.DefaultRecoveryKit} are all on this disk: when it fails, all are lost",
                "Copy key and kit elsewhere, then say so with 'backupiq doctor --confirm-kit'."));
    }

    private static void Permissions(Invocation run, List<Finding> findings)
    {
        UserFolders folders = run.Settings.Folders;
        string?[] privateFolders =
        [
            run.Settings.Text("repo") is { } url ? BackupIqRepository.LocalPath(url) : folders.DefaultRepository,
            run.CacheFolder,
            folders.Config,
        ];
        string? keystore = run.Settings.Text("kms") is { } kms ? BackupIqKeystore.LocalPath(kms) : null;
        string?[] privateFiles =
            [run.Settings.Text("key-file"), run.Settings.Text("password-file"), keystore, run.Settings.Text("keystore-password-file"), folders.DefaultKeyFile, folders.DefaultRecoveryKit];
        int wide = 0;
        foreach (string path in privateFolders.Concat(privateFiles).OfType<string>().Distinct())
        {
            bool isFolder = Directory.Exists(path);
            if (!isFolder && !File.Exists(path))
            {
                continue;
            }

            UnixFileMode mode = File.GetUnixFileMode(path);
            const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
                | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;
            if ((mode & others) != 0)
            {
                wide++;
                string right = isFolder ? "0700" : "0600";
                findings.Add(new Finding(
                    FindingLevel.Warning, "permissions", $"{path} is open to others ({Convert.ToString((int)mode, 8).PadLeft(4, '0')})", $"chmod {right} {path}"));
            }
        }

        if (wide == 0)
        {
            findings.Add(new Finding(FindingLevel.Good, "permissions", "repository, keys and caches are yours alone"));
        }
    }

    private static void Cache(Invocation run, List<Finding> findings, CancellationToken cancellationToken)
    {
        string cache = run.CacheFolder;
        long size = 0;
        if (Directory.Exists(cache))
        {
            foreach (FileInfo file in new DirectoryInfo(cache).EnumerateFiles("*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint }))
            {
                cancellationToken.ThrowIfCancellationRequested();
                size += file.Length;
            }
        }

        findings.Add(new Finding(FindingLevel.Good, "cache", $"{cache}, {Words.Size(size)} of at most {Words.Size(run.Settings.Size("cache-limit"))}; can be deleted at any time"));
    }

    private static void Clock(Invocation run, List<Finding> findings)
    {
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        DateTimeOffset built = File.Exists(Environment.ProcessPath) ? new DateTimeOffset(File.GetLastWriteTimeUtc(Environment.ProcessPath)) : now;
        findings.Add(now < built.AddDays(-1)
            ? new Finding(FindingLevel.Warning, "clock", $"it says {now:u}, before this program was installed", "Set the clock: retention goes by it.")
            : new Finding(FindingLevel.Good, "clock", $"{now:u}"));
    }

    // Only where a secret is at hand: a doctor who asks for the password first is not asked often.
    private static async Task RepositoryAsync(Invocation run, List<Finding> findings, CancellationToken cancellationToken)
    {
        if (run.Settings.File.Findings.Count > 0 || run.RepositoryUrl is not { } url || !run.Secrets.IsAtHand(url))
        {
            return;
        }

        try
        {
            if (!await BackupIqRepository.ExistsAsync(url, run.Host.Time, cancellationToken).ConfigureAwait(false))
            {
                return;
            }

            await using BackupIqRepository repository = await run.OpenRepositoryAsync(url, cancellationToken).ConfigureAwait(false);
            findings.Add(await RepositoryFindings.VerificationAsync(run, repository, cancellationToken).ConfigureAwait(false));
            findings.AddRange(await RepositoryFindings.KeysAsync(run, repository, cancellationToken).ConfigureAwait(false));
        }
        catch (BackupIQException failure)
        {
            findings.Add(new Finding(FindingLevel.Warning, "repository", failure.Message, failure.Guidance));
        }
    }

    private static void Show(Invocation run, List<Finding> findings) => run.Print(output =>
    {
        output.WriteLine($"BackupIQ {BackupIqRepository.Version}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}, {Words.Count(Environment.ProcessorCount, "core")}");
        Finding.Show(output, findings);
    });

    private static void WriteJson(Invocation run, List<Finding> findings) => run.Json.Document(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("version", BackupIqRepository.Version);
        writer.WriteString("runtime", RuntimeInformation.FrameworkDescription);
        writer.WriteString("os", RuntimeInformation.OSDescription);
        writer.WriteBoolean("ok", findings.TrueForAll(static finding => finding.Level <= FindingLevel.Note));
        Finding.Write(writer, findings);
        writer.WriteEndObject();
    });
}
