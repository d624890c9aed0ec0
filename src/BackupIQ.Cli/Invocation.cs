using System.Globalization;
using System.Text;
using BackupIQ.Cli.Commands;
using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli;

/// <summary>What a verb works with: the arguments, the settings, the screen, and the repository when it asks for it.</summary>
internal sealed class Invocation
{
    private static readonly TimeSpan IndexPatience = TimeSpan.FromSeconds(3);

    private readonly Dictionary<string, string> _mirrorsBehind = new(StringComparer.Ordinal);

    public Invocation(CliHost host, Arguments arguments, Settings settings, Screen screen)
    {
        Host = host;
        Arguments = arguments;
        Settings = settings;
        Screen = screen;
        Json = new JsonLines(host.Output);
        Secrets = new SecretReader(host, arguments, settings);
    }

    public CliHost Host { get; }

    public Arguments Arguments { get; }

    public Settings Settings { get; }

    public Screen Screen { get; }

    public JsonLines Json { get; }

    public SecretReader Secrets { get; }

    public bool WantsJson => Arguments.Has("--json");

    /// <summary>Whether a question may be asked.</summary>
    public bool MayAsk => Host.IsInteractive && !Arguments.Has("--no-input");

    /// <summary>The zone in which moments are shown.</summary>
    public TimeZoneInfo Zone => Host.Time.LocalTimeZone;

    /// <summary>
    /// The repository that is configured, or the user's own default one; null where none is configured and there is none.
    /// </summary>
    public string? RepositoryUrl
    {
        get
        {
            Settings.RequireValid();
            string? url = Settings.Text("repo");
            return url ?? (BackupIqRepository.ExistsAt(Settings.Folders.DefaultRepository) ? Settings.Folders.DefaultRepository : null);
        }
    }

    /// <summary>Where the caches are.</summary>
    public string CacheFolder => Settings.Text("cache-dir") ?? Settings.Folders.Cache;

    /// <summary>The mirrors of the repository that is configured.</summary>
    public IReadOnlyList<string> Mirrors => Settings.List("mirrors");

    /// <summary>How this process uses the repository that is configured, with its mirrors.</summary>
    public RepositoryOptions MirroredOptions => RepositoryOptions with { Mirrors = Mirrors };

    /// <summary>How this process uses a repository.</summary>
    public RepositoryOptions RepositoryOptions => new()
    {
        CacheFolder = Directory.Exists(CacheFolder) ? CacheFolder : null,
        MemoryBudget = Settings.Size("memory"),
        Jobs = Settings.Number("jobs"),
        AppendOnly = Settings.Text("append-only") is { } onlyAdds ? onlyAdds == "true" : null,
        UploadLimit = Settings.Rate("limit-upload"),
        DownloadLimit = Settings.Rate("limit-download"),
        RequestLimit = Settings.Number("limit-requests"),
        CacheLimit = Settings.Size("cache-limit"),
        OnIndexRead = TellOfIndex(),
        RequestsAtOnce = Settings.Number("limit-connections"),
        StorageTimeout = Settings.Text("storage-timeout") is null ? null : Settings.Duration("storage-timeout"),
        ListingLag = Settings.Text("listing-lag") is null ? null : Settings.Duration("listing-lag"),
        TlsMinimum = Settings.Text("tls.minimum")!,
        RetryProfile = Settings.Text("retry-profile")!,
        OnStorageNotice = notice =>
        {
            KeepInMind(notice);
            if (notice.IsWarning)
            {
                Screen.Warn(DisplayText.Of(notice.Message));
            }
            else
            {
                Screen.Note(DisplayText.Of(notice.Message), Verbosity.Detailed);
            }
        },
        At = Arguments.Value("--at") is { } text ? Moment(text) : null,
        OnDamage = damage =>
        {
            HasMetDamage = true;
            Screen.Warn(DisplayText.Of(damage), ErrorCodes.CorruptData);
        },
    };

    /// <summary>What was to be done was done, but a mirror lacks it: exit code 3 unless something worse happened.</summary>
    public bool HasMirrorBehind
    {
        get
        {
            lock (_mirrorsBehind)
            {
                return _mirrorsBehind.Count > 0;
            }
        }
    }

    /// <summary>How the mirrors stand, as far as this process knows: after something was put that each of them has to have.</summary>
    public IReadOnlyList<MirrorState> MirrorStates
    {
        get
        {
            lock (_mirrorsBehind)
            {
                return [.. Mirrors.Select(BackupDestinations.PlaceOf).Select(mirror => new MirrorState(mirror, _mirrorsBehind.GetValueOrDefault(mirror)))];
            }
        }
    }

    private void KeepInMind(StorageNotice notice)
    {
        lock (_mirrorsBehind)
        {
            if (notice is { Mirror: { } mirror, IsBehind: { } isBehind })
            {
                if (isBehind)
                {
                    _mirrorsBehind[mirror] = notice.Message;
                }
                else
                {
                    _mirrorsBehind.Remove(mirror);
                }
            }
        }
    }

    // Who waits is told for what; what is quick is no news.
    private Action<int, int> TellOfIndex()
    {
        long since = 0;
        return (read, all) =>
        {
            if (read == 0)
            {
                since = Host.Time.GetTimestamp();
            }
            else if (Host.Time.GetElapsedTime(since) > IndexPatience)
            {
                since = Host.Time.GetTimestamp();
                Screen.Note($"reading the index: {Words.Number(read)} of {Words.Number(all)} segments");
            }
        };
    }

    /// <summary>Damage of a repository was told that did not keep the verb from its work: exit code 14 unless something worse happened.</summary>
    public bool HasMetDamage { get; private set; }

    /// <summary>All damage that was told is mended: it decides the exit code no more.</summary>
    public void DamageIsMended() => HasMetDamage = false;

    // What has no zone is meant in this machine's own.
    private static DateTimeOffset Moment(string text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeLocal, out DateTimeOffset moment)
            ? moment
            : throw new BackupIQException(
                ErrorCodes.Usage, $"--at: '{text}' is no moment", "Write it as 2026-11-22T10:00, with a zone (Z or +01:00) if it is not this machine's.");

    /// <summary>Opens the repository that is configured.</summary>
    /// <exception cref="BackupIQException">There is none, nothing opens it, or it cannot be reached.</exception>
    public async Task<BackupIqRepository> OpenRepositoryAsync(CancellationToken cancellationToken)
    {
        string url = RepositoryUrl ?? throw new BackupIQException(
            ErrorCodes.RepositoryNotFound,
            "No repository is configured",
            "Run 'backupiq backup DIR' to make one on this disk, or name one with --repo or BACKUPIQ_REPO.");
        return await OpenRepositoryAsync(url, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Opens a repository with the secrets of this run.</summary>
    public Task<BackupIqRepository> OpenRepositoryAsync(string url, CancellationToken cancellationToken) =>
        OpenAsync(url, Mirrors, () => Secrets.ForOpeningAsync(url, cancellationToken), cancellationToken);

    /// <summary>Opens a repository beside the one of this run, or an export, with the secrets whose flags begin with <paramref name="prefix"/>.</summary>
    public Task<BackupIqRepository> OpenOtherAsync(string url, string prefix, CancellationToken cancellationToken) =>
        OpenAsync(url, [], () => Secrets.ForOtherAsync(prefix, $"password of {DisplayText.Of(url)}: ", cancellationToken, url: url), cancellationToken);

    /// <summary>Opens a repository beside the one of this run with secrets that are at hand; they are wiped.</summary>
    public Task<BackupIqRepository> OpenOtherAsync(string url, RepositorySecrets secrets, CancellationToken cancellationToken) =>
        OpenAsync(url, [], () => Task.FromResult(secrets), cancellationToken);

    private async Task<BackupIqRepository> OpenAsync(string url, IReadOnlyList<string> mirrors, Func<Task<RepositorySecrets>> find, CancellationToken cancellationToken)
    {
        RequireThere(url, mirrors);
        RepositorySecrets secrets = await find().ConfigureAwait(false);
        try
        {
            MakeCacheFolder();
            return await BackupIqRepository.OpenAsync(url, secrets, RepositoryOptions with { Mirrors = mirrors }, Host.Time, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            SecretReader.Wipe(secrets);
        }
    }

    /// <summary>Begins to look at what is to be backed up into the repository at <paramref name="url"/>, which is opened next.</summary>
    /// <exception cref="BackupIQException">There is no repository, or nothing to back up.</exception>
    public BackupBeginning Begin(BackupRequest request, string url, CancellationToken cancellationToken)
    {
        RequireThere(url, Mirrors);
        MakeCacheFolder();
        return BackupBeginning.Begin(request, url, MirroredOptions, Host.Time, cancellationToken);
    }

    // No secret is asked for, and no password derived, for a repository that is not there. A folder that is away may have a mirror that is read in its place.
    private static void RequireThere(string url, IReadOnlyList<string> mirrors)
    {
        if (BackupIqRepository.LocalPath(url) is { } path && !BackupIqRepository.ExistsAt(path) && (mirrors.Count == 0 || Directory.Exists(path)))
        {
            throw new BackupIQException(ErrorCodes.RepositoryNotFound, "There is no repository").With("location", url);
        }
    }

    /// <summary>Makes the cache's folder, for its owner alone. Where that cannot be, the run goes on: a cache is a convenience.</summary>
    public void MakeCacheFolder()
    {
        try
        {
            PrivateFile.MakeFolder(CacheFolder);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            Screen.Note(DisplayText.Of($"The cache folder {CacheFolder} cannot be made: {fault.Message}"), Verbosity.Detailed);
        }
    }

    /// <summary>Writes text to standard output.</summary>
    public void Print(string text)
    {
        Host.Output.Write(Encoding.UTF8.GetBytes(text));
        Host.Output.Flush();
    }

    /// <summary>Lets <paramref name="write"/> write lines to standard output, buffered.</summary>
    public void Print(Action<TextWriter> write)
    {
        using StreamWriter writer = OpenText();
        write(writer);
    }

    /// <summary>A writer of lines to standard output, buffered until it is disposed.</summary>
    public StreamWriter OpenText() => new(Host.Output, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false), 1 << 16, leaveOpen: true);

    /// <summary>Asks before something is lost; <c>--yes</c> answers.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.NotConfirmed"/>: the answer was no, or nobody can be asked.</exception>
    public void Confirm(string question)
    {
        if (Arguments.Has("--yes"))
        {
            return;
        }

        if (!MayAsk)
        {
            throw new BackupIQException(ErrorCodes.NotConfirmed, $"{question} needs an answer, and nobody can be asked", "Give --yes.");
        }

        if (!Screen.Ask(question, Host.ReadLine))
        {
            throw new BackupIQException(ErrorCodes.NotConfirmed, "Nothing was changed", "");
        }
    }
}
