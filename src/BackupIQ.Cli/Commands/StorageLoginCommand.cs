using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage login [URL]</c>: lets this machine use somebody's Google Drive.</summary>
internal sealed class StorageLoginCommand : Verb
{
    public StorageLoginCommand()
        : base("login", "Signs in to a storage that asks for a person (gdrive:), from a machine without a browser.") =>
        Positional("URL", "the storage, as for --repo (default: the repository's)", 0, 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq storage login gdrive://Backups", "backupiq storage login 'gdrive://Backups?account=work'"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = await BackupIqStorage.SignInAsync(
            StorageCommand.UrlOf(run),
            consent => run.Screen.Note(DisplayText.Of($"Open {consent.Address} on any machine and type {consent.Code} before {Words.Moment(consent.Until, run.Zone)}. Waiting …"), Verbosity.Quiet),
            run.Host.Time,
            cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("file", file);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print(output => output.WriteLine($"Signed in; kept in {DisplayText.Of(file)}"));
        }

        return ExitCodes.Done;
    }
}
