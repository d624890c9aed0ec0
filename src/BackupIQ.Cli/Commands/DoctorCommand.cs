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
        ("rclone", "storage of other providers"),
        ("redis-cli", "Redis backups"),
    ];

    public DoctorCommand()
        : base("doctor", "Looks for what could go wrong: libraries, permissions, keys, clock.") =>
        Flag("--confirm-kit", "say that key and recovery kit of the default repository lie elsewhere, too");

    // A quarter: longer than a disk that begins to fail is noticed by luck, short enough that older backups have what it lost.
    private static readonly TimeSpan VerifiedWithin = TimeSpan.FromDays(90);

    // Quarterly: who has copied a key reads what is written until it is changed.
    private static readonly TimeSpan KeysWithin = TimeSpan.FromDays(90);

    private enum Level
    {
        Good,
        Note,
        Warning,
        Failed,
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        List<Finding> findings = [];
        Libraries(findings);
        OptionalPrograms(run, findings);
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

        return findings.Any(static finding => finding.Level == Level.Failed) ? ExitCodes.Usage
            : findings.Any(static finding => finding.Level == Level.Warning) ? ExitCodes.Warnings
            : ExitCodes.Done;
    }

    private static void Libraries(List<Finding> findings)
    {
        foreach (SystemLibrary library in SystemLibraries.Inspect())
        {
            findings.Add(library.Version is { } version
                ? new Finding(Level.Good, library.Purpose, $"{library.FileName ?? "built in"} {version}")
                : new Finding(Level.Warning, library.Purpose, $"{library.FileName} is missing", $"Install it: apt install {library.DebianPackage}"));
        }
    }

    private static void OptionalPrograms(Invocation run, List<Finding> findings)
    {
        string[] folders = (run.Settings.Environment("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        foreach ((string program, string purpose) in Programs)
        {
            string? found = folders.Select(folder => System.IO.Path.Join(folder, program)).FirstOrDefault(File.Exists);
            findings.Add(new Finding(Level.Good, program, found ?? $"not installed; only needed for {purpose}"));
        }
    }

    private static void Configuration(Invocation run, List<Finding> findings)
    {
        foreach (ConfigFinding finding in run.Settings.File.Findings)
        {
            findings.Add(new Finding(Level.Failed, "configuration", finding.ToString(), "Correct the line."));
        }

        if (run.Settings.File.Findings.Count == 0)
        {
            findings.Add(new Finding(
                Level.Good, "configuration", run.Settings.File.Files.Count == 0 ? "none; defaults are in force" : string.Join(", ", run.Settings.File.Files)));
        }

        SettingValue repo = run.Settings.Get("repo");
        string? url = repo.Text ?? (BackupIqRepository.ExistsAt(run.Settings.Folders.DefaultRepository) ? run.Settings.Folders.DefaultRepository : null);
        findings.Add(url is null
            ? new Finding(Level.Note, "repository", "none yet", "'backupiq backup DIR' makes one on this disk, 'backupiq init --repo PATH' elsewhere.")
            : BackupIqRepository.LocalPath(url) is { } path && !BackupIqRepository.ExistsAt(path)
                ? new Finding(Level.Warning, "repository", $"{url} ({repo.Place}) is not there", "Mount its disk, or correct the setting.")
                : new Finding(Level.Good, "repository", url));
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
            ? new Finding(Level.Good, "recovery kit", "you said that key and kit lie elsewhere, too")
            : new Finding(
                Level.Note,
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
                    Level.Warning, "permissions", $"{path} is open to others ({Convert.ToString((int)mode, 8).PadLeft(4, '0')})", $"chmod {right} {path}"));
            }
        }

        if (wide == 0)
        {
            findings.Add(new Finding(Level.Good, "permissions", "repository, keys and caches are yours alone"));
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

        findings.Add(new Finding(Level.Good, "cache", $"{cache}, {Words.Size(size)}; can be deleted at any time"));
    }

    private static void Clock(Invocation run, List<Finding> findings)
    {
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        DateTimeOffset built = File.Exists(Environment.ProcessPath) ? new DateTimeOffset(File.GetLastWriteTimeUtc(Environment.ProcessPath)) : now;
        findings.Add(now < built.AddDays(-1)
            ? new Finding(Level.Warning, "clock", $"it says {now:u}, before this program was installed", "Set the clock: retention goes by it.")
            : new Finding(Level.Good, "clock", $"{now:u}"));
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
            VerificationInfo ledger = await repository.ReadVerificationAsync(cancellationToken).ConfigureAwait(false);
            findings.Add(ledger.Packs == 0 ? new Finding(Level.Good, "verification", "nothing is stored yet")
                : Verification(ledger, run.Host.Time.GetUtcNow()));
            await KeysAsync(run, repository, findings, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException failure)
        {
            findings.Add(new Finding(Level.Warning, "repository", failure.Message, failure.Guidance));
        }
    }

    private static async Task KeysAsync(Invocation run, BackupIqRepository repository, List<Finding> findings, CancellationToken cancellationToken)
    {
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        IReadOnlyList<KeyInfo> keys = await repository.ListKeysAsync(cancellationToken).ConfigureAwait(false);
        KeyInfo[] old = [.. keys.Where(key => now - key.Created > KeysWithin)];
        findings.Add(old.Length == 0
            ? new Finding(Level.Good, "keys", $"{Words.Count(keys.Count, "key")}, none older than {KeysWithin.Days} days")
            : new Finding(
                Level.Note,
                "keys",
                $"older than {KeysWithin.Days} days: {string.Join(", ", old.Select(key => $"{key.Id[..8]} ({key.Type}, {key.Label}, {(now - key.Created).Days} days)"))}",
                "'backupiq key passwd' and 'backupiq key rotate' change them; print a new kit for an old one, then 'backupiq key remove'."));
        int newest = keys.Max(static key => key.Epoch) ?? 1;
        KeyInfo[] behind = [.. keys.Where(key => key.Epoch < newest)];
        if (behind.Length > 0)
        {
            findings.Add(new Finding(
                Level.Note,
                "keys",
                $"left behind by key epoch {newest}: {string.Join(", ", behind.Select(static key => $"{key.Id[..8]} ({key.Type}, {key.Label})"))}",
                "They read what is older and nothing else: add them again, or 'backupiq key remove'."));
        }

        if (await repository.ReadKeyEpochAgeAsync(cancellationToken).ConfigureAwait(false) is { } begun && now - begun > KeysWithin)
        {
            findings.Add(new Finding(
                Level.Note, "keys", $"the master key is {(now - begun).Days} days old", "'backupiq key rotate --new-epoch' begins with a new one; what is stored stays readable."));
        }

        if (run.Settings.Text("kms") is { } kms && await repository.ReadServiceKeyAsync(run.Secrets.ForOpening(repository.Location), cancellationToken).ConfigureAwait(false) is { } key
            && key.Rotated is { } rotated && now - rotated > KeysWithin)
        {
            findings.Add(new Finding(
                Level.Note, "keys", $"the key of {kms} is {(now - rotated).Days} days old", "'backupiq keystore rotate' gives it a new version, 'backupiq key rotate' wraps under that."));
        }
    }

    private static Finding Verification(VerificationInfo ledger, DateTimeOffset now)
    {
        const string Cure = "'backupiq check --max-age 30d' reads what is due, with --budget 10m as much as there is time for.";
        if (ledger.Oldest is not { } oldest)
        {
            return new Finding(Level.Note, "verification", "what is stored was never read and verified as a whole", Cure);
        }

        string never = ledger.NeverVerified > 0 ? $"{Words.Number(ledger.NeverVerified)} of {Words.Count(ledger.Packs, "pack")} were never read and verified; " : "";
        string others = $"{never}the oldest verification is {Words.Duration(now - oldest)} old";
        return now - oldest > VerifiedWithin || 2 * ledger.NeverVerified > ledger.Packs
            ? new Finding(Level.Note, "verification", others, Cure)
            : new Finding(Level.Good, "verification", others);
    }

    private static void Show(Invocation run, List<Finding> findings)
    {
        run.Print(output =>
        {
            output.WriteLine($"BackupIQ {BackupIqRepository.Version}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}, {Words.Count(Environment.ProcessorCount, "core")}");
            foreach (Finding finding in findings)
            {
                string mark = finding.Level switch { Level.Good => "ok  ", Level.Note => "note", Level.Warning => "WARN", _ => "FAIL" };
                output.WriteLine($"{mark}  {finding.Check}: {DisplayText.Of(finding.Message)}");
                if (finding.Guidance is { } guidance)
                {
                    output.WriteLine($"      -> {DisplayText.Of(guidance)}");
                }
            }
        });
    }

    private static void WriteJson(Invocation run, List<Finding> findings) => run.Json.Document(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("version", BackupIqRepository.Version);
        writer.WriteString("runtime", RuntimeInformation.FrameworkDescription);
        writer.WriteString("os", RuntimeInformation.OSDescription);
        writer.WriteBoolean("ok", findings.TrueForAll(static finding => finding.Level <= Level.Note));
        writer.WriteStartArray("findings");
        foreach (Finding finding in findings)
        {
            writer.WriteStartObject();
            writer.WriteString("level", finding.Level.ToString().ToLowerInvariant());
            writer.WriteString("check", finding.Check);
            writer.WriteString("message", finding.Message);
            writer.WriteString("guidance", finding.Guidance);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    });

    private sealed record Finding(Level Level, string Check, string Message, string? Guidance = null);
}
