using System.Runtime.InteropServices;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>version</c></summary>
internal sealed class VersionCommand() : Verb("version", "Prints the version.")
{
    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string platform = RuntimeInformation.RuntimeIdentifier;
        if (run.WantsJson)
        {
            run.Json.Line("version", writer =>
            {
                writer.WriteString("version", BackupIqRepository.Version);
                writer.WriteString("runtime", RuntimeInformation.FrameworkDescription);
                writer.WriteString("platform", platform);
            });
        }
        else
        {
            run.Print($"backupiq {BackupIqRepository.Version} ({RuntimeInformation.FrameworkDescription}, {platform})\n");
        }

        return Task.FromResult(ExitCodes.Done);
    }
}
