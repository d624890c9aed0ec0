using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>Where a folder of Drive is and how it is used: the URL <c>gdrive://folder/path?…</c>, and what the environment says.</summary>
internal sealed record DriveOptions
{
    /// <summary>
    /// Files that BackupIQ made itself, and no others: the least that will do, and one of the few that a device without a browser may ask for.
    /// </summary>
    public const string Scope = "https://www.googleapis.com/auth/drive.file";

    // A service account has no files but those it made and those that were shared with it.
    private const string AccountScope = "https://www.googleapis.com/auth/drive";

    private const string Secrets = "Sign in once with 'backupiq storage login URL'; or name the key file of a service account with credentials=FILE.";

    /// <summary>Some seconds are common, minutes were seen; who knows better says so.</summary>
    private static readonly TimeSpan DefaultListingLag = TimeSpan.FromMinutes(1);

    private static readonly Uri Google = new("https://www.googleapis.com");
    private static readonly Uri Accounts = new("https://oauth2.googleapis.com");

    private static readonly string[] Own = ["account", "credentials", "shared-drive", "listing-lag", "endpoint", "accounts-endpoint"];

    public required Uri Endpoint { get; init; }

    /// <summary>The folders from the uppermost one down.</summary>
    public required IReadOnlyList<string> Path { get; init; }

    /// <summary>The id of a shared drive; null: the account's own.</summary>
    public string? SharedDrive { get; init; }

    public required TimeSpan ListingLag { get; init; }

    /// <summary>For messages.</summary>
    public required string Location { get; init; }

    /// <summary>The file that says who asks.</summary>
    public required string CredentialFile { get; init; }

    /// <summary>Whether the file is one that signing in writes.</summary>
    public required bool IsSignIn { get; init; }

    /// <summary>Where signing in takes place.</summary>
    public required Uri AccountsEndpoint { get; init; }

    /// <summary>Reads the URL and the environment.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: an option is wrong.</exception>
    public static DriveOptions Read(StorageUrl url, Func<string, string?> environment)
    {
        url.RequireOptions([.. Own, .. HttpTransport.Options], Secrets);
        if (url.User is not null)
        {
            throw new BackupIQException(ErrorCodes.Usage, "A gdrive: URL takes no user", "With several sign-ins tell them apart with account=NAME.");
        }

        string account = url.Text("account") ?? "default";
        if (account.Length is 0 or > 64 || !account.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '@') || account[0] == '.')
        {
            throw new BackupIQException(ErrorCodes.Usage, "account in the gdrive: URL is no name", "Letters, digits and any of - _ . @");
        }

        string? drive = url.Text("shared-drive");
        if (drive is not null && !DriveFile.IsId(drive))
        {
            throw new BackupIQException(ErrorCodes.Usage, "shared-drive in the gdrive: URL is no drive's id", "It is the last part of the drive's address in a browser.");
        }

        return new DriveOptions
        {
            Endpoint = url.Text("endpoint") is { } text ? HttpTransport.ParseEndpoint(text) : Google,
            Path = [url.Place, .. url.Path.Split('/', StringSplitOptions.RemoveEmptyEntries)],
            SharedDrive = drive,
            ListingLag = url.Number("listing-lag", 0, 3600) is { } seconds ? TimeSpan.FromSeconds(seconds) : DefaultListingLag,
            Location = url.Show("account", "shared-drive", "endpoint"),
            CredentialFile = url.Text("credentials") ?? System.IO.Path.Combine(ConfigFolder(environment), "google-drive", account + ".json"),
            IsSignIn = url.Text("credentials") is null,
            AccountsEndpoint = url.Text("accounts-endpoint") is { } accounts ? HttpTransport.ParseEndpoint(accounts) : Accounts,
        };
    }

    /// <summary>Who asks.</summary>
    /// <exception cref="BackupIQException"><c>StorageAuthentication</c>: nobody has signed in; <c>SecretUnavailable</c>: the file is none.</exception>
    public GoogleTokens ReadTokens()
    {
        string cure = $"Sign in again: backupiq storage login '{Location}'";
        if (IsSignIn && !File.Exists(CredentialFile))
        {
            throw new StorageException(ErrorCodes.StorageAuthentication, "Nobody has signed in to this Drive", $"Sign in once: backupiq storage login '{Location}'").With("file", CredentialFile);
        }

        return GoogleTokens.FromFile(GoogleCredentialFile.Read(CredentialFile), AccountScope, IsSignIn ? cure : "Make a new key: gcloud iam service-accounts keys create FILE --iam-account ACCOUNT");
    }

    // As the XDG base directory specification says: a path that is not absolute counts for nothing.
    private static string ConfigFolder(Func<string, string?> environment) =>
        System.IO.Path.Combine(
            environment("XDG_CONFIG_HOME") is { } set && set.StartsWith('/') ? set : System.IO.Path.Combine(environment("HOME") is { Length: > 0 } home ? home : "/root", ".config"),
            "backupiq");
}
