using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>What rclone is told about a storage: a remote that its configuration names, or one that is told by variables alone.</summary>
/// <param name="Location">The storage for messages, without secrets.</param>
/// <param name="Path">rclone's way to say where it is: <c>remote:path</c>.</param>
/// <param name="Variables">What defines it beside rclone's configuration; values may be secrets.</param>
/// <param name="Password">A password that rclone has to be given in its own spelling, with the variable for it; or null.</param>
/// <param name="Provider">The kind of storage that rclone must know for it; or null for what every rclone knows.</param>
/// <param name="ListingLag">As the URL says; null where it does not.</param>
internal sealed record RcloneRemote(
    string Location,
    string Path,
    IReadOnlyDictionary<string, string> Variables,
    (string Variable, string Value)? Password,
    string? Provider,
    TimeSpan? ListingLag)
{
    /// <summary>The scheme of a remote that rclone's configuration names; no <c>//</c> follows it.</summary>
    public const string Scheme = "rclone:";

    private const string LagOption = "listing-lag";
    private const string Target = "backupiqtarget";
    private const int LongestLag = 3600;

    /// <summary>Whether a URL is one of rclone's: <c>rclone:remote:path</c>, <c>sftp://…</c>, <c>icloud://…</c></summary>
    public static bool Is(string text) =>
        text.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase) || text.StartsWith("sftp://", StringComparison.OrdinalIgnoreCase) || text.StartsWith("icloud://", StringComparison.OrdinalIgnoreCase);

    /// <summary>Takes a URL apart.</summary>
    /// <param name="text">The URL.</param>
    /// <param name="password">What <see cref="FindPasswordAsync"/> found for it.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is wrong.</exception>
    public static RcloneRemote Parse(string text, string? password = null)
    {
        if (text.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return Configured(text[Scheme.Length..]);
        }

        StorageUrl url = StorageUrl.Parse(text);
        return url.Scheme == "icloud" ? ICloud(url) : Sftp(url, password);
    }

    /// <summary>The password that an <c>sftp:</c> URL or the environment names; null where there is none, or where rclone keeps its secrets itself.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL is wrong. <c>SecretUnavailable</c>: the password cannot be had.</exception>
    public static async Task<string?> FindPasswordAsync(string text, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!text.StartsWith("sftp://", StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        StorageUrl url = StorageUrl.Parse(text);
        RequireSftpOptions(url);
        return await StoragePassword.FindAsync(url, "BACKUPIQ_SFTP_PASSWORD", time, cancellationToken).ConfigureAwait(false);
    }

    private static RcloneRemote Configured(string rest)
    {
        const string How = "Write it as rclone:remote:path, with a name that 'rclone listremotes' shows.";
        int query = rest.IndexOf('?');
        string path = query < 0 ? rest : rest[..query];
        int colon = path.IndexOf(':');
        if (path.StartsWith("//", StringComparison.Ordinal) || colon < 0 || (colon == 0 && path.IndexOf(':', 1) < 2) || path.Any(char.IsControl))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The URL names no remote of rclone's", How);
        }

        if (path[..colon].Contains(',') || (colon == 0 && path[..path.IndexOf(':', 1)].Contains(',')))
        {
            // Parameters of a remote may be passwords, and URLs are shown and logged.
            throw new BackupIQException(ErrorCodes.Usage, "The URL gives parameters of an rclone remote", "Set the remote up with 'rclone config' and name it; for a server with SSH there is sftp://user@host/path.");
        }

        StorageUrl options = StorageUrl.Parse($"rclone://remote?{(query < 0 ? "" : rest[(query + 1)..])}");
        options.RequireOptions([LagOption], "rclone keeps its secrets in its configuration: rclone config.");
        return new RcloneRemote(Scheme + path, path, new Dictionary<string, string>(StringComparer.Ordinal), null, null, LagOf(options));
    }

    private static void RequireSftpOptions(StorageUrl url) => url.RequireOptions(
        [.. StoragePassword.Options, LagOption, "key", "known-hosts", "insecure"], "Set BACKUPIQ_SFTP_PASSWORD, or name a key, a password-file, password-command or password-from in the URL.");

    private static RcloneRemote Sftp(StorageUrl url, string? password)
    {
        RequireSftpOptions(url);
        if (!Uri.TryCreate($"ssh://{url.Place}/", UriKind.Absolute, out Uri? server) || server.UserInfo.Length > 0 || server.PathAndQuery != "/")
        {
            throw new BackupIQException(ErrorCodes.Usage, "The storage's URL names no host that can be one", "Write it as sftp://user@host:port/path.");
        }

        string prefix = $"RCLONE_CONFIG_{Target.ToUpperInvariant()}_";
        Dictionary<string, string> variables = new(StringComparer.Ordinal)
        {
            [prefix + "TYPE"] = "sftp",
            [prefix + "HOST"] = server.IdnHost,
            [prefix + "PORT"] = (server.Port > 0 ? server.Port : 22).ToString(CultureInfo.InvariantCulture),
            [prefix + "USER"] = url.User ?? Environment.UserName,

            // Nothing is run on the server: an account that may do SFTP and no more is enough. Times are the server's own.
            [prefix + "SHELL_TYPE"] = "none",
            [prefix + "DISABLE_HASHCHECK"] = "true",
            [prefix + "SET_MODTIME"] = "false",
        };
        if (url.Text("key") is { } key)
        {
            variables[prefix + "KEY_FILE"] = Existing(key, "The private key that the URL names");
        }
        else if (password is null)
        {
            variables[prefix + "KEY_USE_AGENT"] = "true";
        }

        if (!url.Flag("insecure"))
        {
            // Without this rclone takes any host for the right one.
            string known = url.Text("known-hosts") ?? System.IO.Path.Join(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".ssh", "known_hosts");
            variables[prefix + "KNOWN_HOSTS_FILE"] = Existing(known, "The file of known hosts, by which the server is recognised,");
        }

        string path = url.Path is "~" ? "" : url.Path.StartsWith("~/", StringComparison.Ordinal) ? url.Path[2..] : "/" + url.Path;
        return new RcloneRemote(
            url.ToString(), $"{Target}:{path}", variables, password is null ? null : (prefix + "PASS", password), null, LagOf(url) ?? TimeSpan.Zero);
    }

    private static RcloneRemote ICloud(StorageUrl url)
    {
        url.RequireOptions([LagOption, "remote"], "rclone keeps them in its configuration: rclone config.");
        if (url.User is not null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "An iCloud URL names a folder, not an account", "Write it as icloud://folder; the account is that of rclone's remote 'icloud', or of remote=NAME.");
        }

        string remote = url.Text("remote") ?? "icloud";
        if (remote.AsSpan().ContainsAny(",:/ ") || remote.Length == 0)
        {
            throw new BackupIQException(ErrorCodes.Usage, "The option remote names no remote of rclone's", "Give a name that 'rclone listremotes' shows, without the colon.");
        }

        string folder = url.Path.Length == 0 ? url.Place : $"{url.Place}/{url.Path}";
        return new RcloneRemote(url.Show("remote"), $"{remote}:{folder}", new Dictionary<string, string>(StringComparer.Ordinal), null, "iclouddrive", LagOf(url));
    }

    private static TimeSpan? LagOf(StorageUrl url) => url.Number(LagOption, 0, LongestLag) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;

    private static string Existing(string file, string what) => File.Exists(file)
        ? System.IO.Path.GetFullPath(file)
        : throw new BackupIQException(
            ErrorCodes.Configuration, $"{what} is not there", "Connect once with 'sftp user@host' and compare the host's key, or name another file with key=FILE or known-hosts=FILE.").With("file", file);
}
