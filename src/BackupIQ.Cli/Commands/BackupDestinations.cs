using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary>
/// Further repositories into which a backup is copied once it is saved. What opens them is asked for before the backup begins, so that nobody is asked when it is over;
/// they are opened after it, so that one that is away keeps nothing from being saved.
/// </summary>
internal sealed class BackupDestinations : IDisposable
{
    private readonly Invocation _run;
    private readonly List<(string Name, string Url, RepositorySecrets Secrets)> _all = [];

    private BackupDestinations(Invocation run) => _run = run;

    /// <summary>Where they are.</summary>
    public IReadOnlyList<string> Urls => [.. _all.Select(static one => one.Url)];

    /// <summary>Declares the flags.</summary>
    public static void Declare(Verb verb)
    {
        verb.List("--also", "REPO", "copy the snapshot into REPO, too: a name under destinations: in the configuration file, a path or a URL (default: all that are named there)");
        verb.Flag("--no-also", "copy it nowhere");
        verb.Value("--also-password-file", "FILE", "password of the REPOs that --also names");
        verb.Value("--also-password-command", "CMD", "command that prints the password of these REPOs");
        verb.Value("--also-password-from", "REF", "reference to the password of these REPOs, as --password-from");
        verb.Value("--also-key-file", "FILE", "key file of these REPOs (default: what opens the repository)");
        verb.Value("--also-kms", "URL", "key of a key service that opens these REPOs");
    }

    /// <summary>Finds the destinations of this run and what opens them.</summary>
    /// <exception cref="BackupIQException">One is named twice or is the repository itself, or a secret cannot be had.</exception>
    public static async Task<BackupDestinations> ReadAsync(Invocation run, CancellationToken cancellationToken)
    {
        BackupDestinations destinations = new(run);
        try
        {
            foreach (ConfigDestination one in Chosen(run))
            {
                if (PlaceOf(one.Repo) == (run.RepositoryUrl is { } own ? PlaceOf(own) : null) || destinations._all.Exists(other => PlaceOf(other.Url) == PlaceOf(one.Repo)))
                {
                    throw new BackupIQException(ErrorCodes.Usage, $"'{DisplayText.Of(one.Name)}' is the repository itself, or a destination that is named twice", "Name each once.");
                }

                RepositorySecrets secrets = await run.Secrets
                    .ForDestinationAsync(one.Repo, one.Secret, $"password of {DisplayText.Of(one.Name)}: ", cancellationToken).ConfigureAwait(false);
                destinations._all.Add((one.Name, one.Repo, secrets));
            }

            return destinations;
        }
        catch
        {
            destinations.Dispose();
            throw;
        }
    }

    /// <summary>Copies a snapshot into each, one after the other, and tells what came of it. What fails keeps none of the others.</summary>
    /// <param name="repository">Where it is.</param>
    /// <param name="snapshot">The snapshot; null: none was made.</param>
    /// <param name="request">How it was made.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public async Task<IReadOnlyList<DestinationOutcome>> CopyAsync(BackupIqRepository repository, SnapshotInfo? snapshot, BackupRequest request, CancellationToken cancellationToken)
    {
        List<DestinationOutcome> outcomes = [];
        foreach ((string name, string url, RepositorySecrets secrets) in snapshot is null ? [] : _all)
        {
            DestinationOutcome outcome;
            try
            {
                outcome = await CopyAsync(repository, snapshot!, name, url, secrets, request, cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e)
            {
                outcome = new DestinationOutcome(name, "failed") { Failure = e };
            }

            Tell(outcome, repository.Location, url);
            outcomes.Add(outcome);
        }

        return outcomes;
    }

    /// <inheritdoc/>
    public void Dispose() => _all.ForEach(static one => SecretReader.Wipe(one.Secrets));

    private static IEnumerable<ConfigDestination> Chosen(Invocation run)
    {
        if (run.Arguments.Has("--no-also"))
        {
            return [];
        }

        IReadOnlyDictionary<string, ConfigDestination> named = run.Settings.File.Destinations;
        IReadOnlyList<string> chosen = run.Settings.List("backup.also");
        return chosen.Count == 0 ? named.Values : chosen.Select(one => named.GetValueOrDefault(one) ?? new ConfigDestination(one, one, null));
    }

    /// <summary>Where a URL leads to, in one spelling.</summary>
    public static string PlaceOf(string url) => BackupIqRepository.LocalPath(url) is { } path ? System.IO.Path.TrimEndingDirectorySeparator(path) : url;

    private async Task<DestinationOutcome> CopyAsync(
        BackupIqRepository repository, SnapshotInfo snapshot, string name, string url, RepositorySecrets secrets, BackupRequest request, CancellationToken cancellationToken)
    {
        await using BackupIqRepository target = await _run.OpenOtherAsync(url, secrets, cancellationToken).ConfigureAwait(false);
        CopyRequest copy = new()
        {
            Snapshots = new SnapshotSelection([snapshot.Id], new SnapshotQuery()),
            Verify = request.Verify,
            Compression = request.Compression,
            CheckpointInterval = request.CheckpointInterval,
            Connections = request.Connections,
        };
        CopyView view = new(_run, dryRun: false, isSingle: true);
        await using (view.Show().ConfigureAwait(false))
        {
            CopiedSnapshotInfo copied = (await target.CopyFromAsync(repository, copy, view.Monitor, cancellationToken).ConfigureAwait(false)).Snapshots[0];
            return new DestinationOutcome(name, copied.Outcome)
            {
                Copied = copied,
                Failure = copied.Outcome == "damaged"
                    ? new BackupIQException(ErrorCodes.DamageFound, $"{Words.Count(copied.Failures, "item")} of the snapshot cannot be read back from {repository.Location}")
                    : null,
            };
        }
    }

    private void Tell(DestinationOutcome outcome, string from, string url)
    {
        string name = DisplayText.Of(outcome.Name);
        if (outcome.Failure is { } failure)
        {
            _run.Screen.Warn(
                DisplayText.Of($"the backup is saved, but not copied to {name}: {Failure.Line(failure)} Later: backupiq copy --from-repo '{from}' --repo '{url}'"), failure.Code);
        }
        else if (!_run.WantsJson && _run.Screen.Verbosity > Verbosity.Quiet)
        {
            CopiedSnapshotInfo copied = outcome.Copied!;
            string what = outcome.Outcome == "copied" ? $"copied to {name} as {copied.Copy!.ShortId}: {Words.Size(copied.BytesPut)} stored" : $"is there already at {name}";
            _run.Print($"Snapshot {copied.Original.ShortId} {what}\n");
        }
    }
}
