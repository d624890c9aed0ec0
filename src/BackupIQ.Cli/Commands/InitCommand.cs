using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>init</c></summary>
internal sealed class InitCommand : Verb
{
    public InitCommand()
        : base("init", "Makes a repository. --recovery-kit FILE also writes its recovery kit.")
    {
        Value("--chunker-from", "REPO", "cut files as REPO does, so that copies deduplicate alike");
        Value("--from-password-file", "FILE", "password of that REPO");
        Value("--from-password-command", "CMD", "command that prints the password of that REPO");
        Value("--from-password-from", "REF", "reference to the password of that REPO, as --password-from");
        Value("--from-key-file", "FILE", "key file of that REPO");
        Value("--from-kms", "URL", "key of a key service that opens that REPO");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq init --repo /mnt/disk/backup --recovery-kit ~/kit.txt",
        "backupiq init --repo /mnt/disk/backup --key-file ~/backup.key",
        "backupiq init --repo 's3://bucket/prefix?region=eu-central-1' --recovery-kit ~/kit.txt",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        run.Settings.RequireValid();
        string url = run.Settings.Text("repo") ?? throw Misuse("--repo says where the repository is to be", "For example: backupiq init --repo /mnt/disk/backup");
        if (await BackupIqRepository.ExistsAsync(url, run.Host.Time, cancellationToken).ConfigureAwait(false))
        {
            throw new BackupIQException(ErrorCodes.RepositoryExists, "A repository, or something else, is already there").With("location", url);
        }

        string? kitFile = run.Arguments.Value("--recovery-kit");
        if (kitFile is not null && File.Exists(kitFile))
        {
            throw new BackupIQException(ErrorCodes.Configuration, "The file for the recovery kit is already there", "Choose another file.").With("file", kitFile);
        }

        run.MakeCacheFolder();
        await using BackupIqRepository? chunkerFrom = await OpenModelAsync(run, cancellationToken).ConfigureAwait(false);
        RepositorySecrets secrets = await run.Secrets.ForCreatingAsync(
            made => run.Screen.Note(DisplayText.Of($"made the key file {made}: without it or a recovery kit nobody can read the repository, so keep copies elsewhere")),
            cancellationToken).ConfigureAwait(false);
        (BackupIqRepository repository, _) = await BackupIqRepository.CreateAsync(
            url, secrets, run.MirroredOptions, recoveryKit: false, chunkerFrom, run.Host.Time, cancellationToken).ConfigureAwait(false);
        await using (repository.ConfigureAwait(false))
        {
            if (kitFile is null && run.MayAsk && run.Screen.Ask("Write a recovery kit, which opens the repository when password and keys are lost?", run.Host.ReadLine))
            {
                kitFile = $"backupiq-recovery-kit-{repository.Id[..8]}.txt";
            }

            if (kitFile is not null)
            {
                string kit = await repository.AddRecoveryKitAsync("recovery kit", KeyCommand.IsPage(kitFile), cancellationToken).ConfigureAwait(false);
                PrivateFile.Write(kitFile, Encoding.UTF8.GetBytes(kit));
            }

            Tell(run, repository, kitFile);
        }

        return ExitCodes.Done;
    }

    private static void Tell(Invocation run, BackupIqRepository repository, string? kitFile)
    {
        if (run.WantsJson)
        {
            run.Json.Line("initialized", writer =>
            {
                writer.WriteString("id", repository.Id);
                writer.WriteString("repository", repository.Location);
                writer.WriteString("recovery_kit", kitFile);
            });
            return;
        }

        run.Print($"Repository {repository.Id} made at {DisplayText.Of(repository.Location)}\n");
        if (MountFindings.Of(run.Settings.Text("repo")!) is { } mount)
        {
            run.Screen.Note(DisplayText.Of($"{mount.Message}. {mount.Guidance}"));
        }

        run.Screen.Note(kitFile is null
            ? "No recovery kit was made; 'backupiq key recovery-kit --output FILE' makes one. A lost password is the commonest way to lose a backup."
            : DisplayText.Of($"The recovery kit is in {kitFile}: print it or copy it to another place."));
    }

    private static async Task<BackupIqRepository?> OpenModelAsync(Invocation run, CancellationToken cancellationToken) =>
        run.Arguments.Value("--chunker-from") is { } url
            ? await run.OpenOtherAsync(url, "from-", cancellationToken).ConfigureAwait(false)
            : null;
}
