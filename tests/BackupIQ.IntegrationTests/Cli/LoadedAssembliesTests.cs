using BackupIQ.IntegrationTests.Durability;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Who works on a local repository pays neither for remote storage nor for key services.</summary>
public sealed class LoadedAssembliesTests
{
    [Fact]
    public void ALocalRepositoryLoadsNoRemoteStorageAndNoKeyService()
    {
        using ProgramUser user = new();
        user.WithNewRepository();
        string tree = user.MakeTree();
        (ProgramRun run, IReadOnlyList<SystemCall> calls) = SystemCall.Trace(user, () => user.Run("backup", tree));
        run.ShouldEndWith(0);
        string[] loaded = [.. calls.Where(static call => call.Name == "openat" && call.Paths.Count > 0).Select(static call => Path.GetFileName(call.Path)).Distinct()];

        loaded.ShouldContain("BackupIQ.Storage.dll");
        loaded.Where(static name => name.StartsWith("AWSSDK", StringComparison.Ordinal) || name.StartsWith("Polly", StringComparison.Ordinal) || name.StartsWith("BackupIQ.Storage.Remote", StringComparison.Ordinal)
            || name.StartsWith("BackupIQ.Keys.Remote", StringComparison.Ordinal)).ShouldBeEmpty();
    }
}
