using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage link KEY [URL]</c>: an address by which anybody reads one object for a time.</summary>
internal sealed class StorageLinkCommand : Verb
{
    private static readonly TimeSpan Usual = TimeSpan.FromHours(1);

    public StorageLinkCommand()
        : base("link", "Makes an address by which anybody reads one object for a time (S3, Azure, Google).")
    {
        Positional("KEY", "the object's name, as s/0123…, and the storage's URL (default: the repository's)", 1, 2);
        Value("--for", "TIME", "how long it lasts (default: 1h; at most 7d)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["backupiq storage link config/a.00000001", "backupiq storage link keys/0123456789abcdef 's3://bucket/backup?region=eu-central-1' --for 15m"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        TimeSpan lasts = Usual;
        if (run.Arguments.Value("--for") is { } text && !Quantity.TryParseDuration(text, out lasts))
        {
            throw Misuse($"--for: '{DisplayText.Of(text)}' is no time; write it as 1h");
        }

        StorageLinkInfo link = await BackupIqStorage
            .LinkAsync(StorageCommand.UrlOf(run, before: 1), run.Arguments.Positional[0], lasts, run.RepositoryOptions, run.Host.Time, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("key", run.Arguments.Positional[0]);
                writer.WriteString("url", link.Address);
                writer.WriteString("until", link.Until);
                writer.WriteNumber("size", link.Size);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print(output => output.WriteLine(link.Address));
            run.Screen.Note($"Whoever has this address reads the object until {Words.Moment(link.Until, run.Zone)}.", Verbosity.Normal);
        }

        return ExitCodes.Done;
    }
}
