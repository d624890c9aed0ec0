using System.Security.Cryptography;
using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli;

/// <summary>
/// The first backup of a user who has configured nothing: a repository, a random key and a recovery kit are made on this disk, and it is
/// said that they lie there.
/// </summary>
internal static class FirstUse
{
    private const int KeyLength = 64;

    /// <summary>Makes the default repository and opens it.</summary>
    public static async Task<BackupIqRepository> CreateAsync(Invocation run, bool dryRun, CancellationToken cancellationToken)
    {
        if (dryRun)
        {
            throw new BackupIQException(
                ErrorCodes.RepositoryNotFound, "No repository is configured, and a dry run makes none", "Run without --dry-run once, run 'backupiq init', or give --repo.");
        }

        string url = run.Settings.Folders.DefaultRepository;
        string keyFile = run.Settings.Folders.DefaultKeyFile;
        if (!File.Exists(keyFile))
        {
            PrivateFile.Write(keyFile, RandomNumberGenerator.GetBytes(KeyLength));
        }

        run.MakeCacheFolder();
        RepositorySecrets secrets = await run.Secrets.ForOpeningAsync(url, cancellationToken).ConfigureAwait(false);
        (BackupIqRepository repository, string? kit) = await BackupIqRepository
            .CreateAsync(url, secrets, run.MirroredOptions, time: run.Host.Time, cancellationToken: cancellationToken).ConfigureAwait(false);
        string kitFile = run.Settings.Folders.DefaultRecoveryKit;
        if (File.Exists(kitFile))
        {
            // The kit of an earlier repository: it may be the only way into a copy of it, so it stays.
            kitFile = Path.Combine(run.Settings.Folders.Config, $"recovery-kit-{repository.Id[..8]}.txt");
        }

        PrivateFile.Write(kitFile, Encoding.UTF8.GetBytes(kit ?? ""));
        run.Screen.Warn(DisplayText.Of(
            $"first use: made the repository {url}, its key {keyFile} and recovery kit {kitFile}, all on THIS disk: copy key and kit elsewhere, and use 'backupiq init --repo PATH' to keep backups on another disk"));
        return repository;
    }
}
