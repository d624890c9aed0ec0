using System.Runtime.CompilerServices;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Server.Mount;

namespace BackupIQ.Cli.Commands;

/// <summary><c>mount DIR [SNAP[:PATH]]</c></summary>
internal sealed class MountCommand : ViewVerb
{
    public MountCommand()
        : base("mount", "Shows snapshots as folders below DIR, read-only, until it is interrupted or unmounted.")
    {
        Positional("DIR", "a folder to mount on; then, if wanted, one snapshot, or a folder of it: SNAP[:PATH]", 1, 2);
        Flag("--allow-other", "let other users in, to what the permissions allow");
        ChoosingFlags();
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq mount /mnt/backups", "backupiq mount /mnt/yesterday latest:/home/ann"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        await using RepositoryView view = await repository.ViewAsync(ReadView(run, run.Arguments.Positional.ElementAtOrDefault(1)), cancellationToken).ConfigureAwait(false);
        return await MountAsync(run, view, cancellationToken).ConfigureAwait(false);
    }

    // Apart, so that libfuse is looked for when it is needed and not before.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<int> MountAsync(Invocation run, RepositoryView view, CancellationToken cancellationToken)
    {
        MountOptions options = new() { Folder = run.Arguments.Positional[0], AllowOther = run.Arguments.Has("--allow-other") };
        await using MountPipeline mount = MountPipeline.Start(view, options, (_, failure) => run.Screen.Warn(DisplayText.Of(failure.Message), failure.Code));
        if (run.WantsJson)
        {
            run.Json.Line("mounted", writer => writer.WriteString("path", System.IO.Path.GetFullPath(options.Folder)));
        }
        else
        {
            run.Screen.Note($"Mounted on {DisplayText.Of(options.Folder)}. Ctrl-C or 'umount' ends it.");
        }

        await Task.WhenAny(mount.Ended, Task.Delay(Timeout.Infinite, cancellationToken)).ConfigureAwait(false);
        return ExitCodes.Done;
    }
}
