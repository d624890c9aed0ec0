using System.Text;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Jobs;
using BackupIQ.Primitives;
using BackupIQ.Testing;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>One screen and one exit code for those who watch: the repository's snapshots are made at times of the tests' choosing.</summary>
public sealed class StatusVerbTests : IDisposable
{
    private readonly ProgramUser _user = new();
    private readonly ManualTime _time = new(TimeProvider.System.GetUtcNow().AddDays(-100));
    private readonly string _key;

    public StatusVerbTests()
    {
        _user.WithNewRepository();
        _key = _user.Secret[1];
    }

    public void Dispose() => _user.Dispose();

    [Fact]
    public void WithoutASnapshotThePromiseIsBroken()
    {
        _user.Run("status").ShouldEndWith(0).Text.ShouldContain("no snapshot yet");
        _user.Run("status", "--fail-on", "overdue").ShouldEndWith(16);
        _user.Run("status", "--fail-on", "sometimes").ShouldEndWith(2).Error.ShouldContain("overdue, warning");
        _user.Run("status", "--max-age", "soon").ShouldEndWith(2).Error.ShouldContain("26h");
    }

    [Fact]
    public async Task ASeriesIsOverdueWhenItsNewestSnapshotIsOlderThanTwiceTheUsualGap()
    {
        string daily = _user.MakeTree("daily");
        string weekly = _user.MakeTree("weekly", seed: 2);
        for (int day = 28; day >= 5; day--)
        {
            await BackUpAsync(daily, day);
            if (day % 7 == 0)
            {
                await BackUpAsync(weekly, day);
            }
        }

        // Daily: five days ago. Weekly: a week ago, but too few to tell.
        JsonElement status = _user.Run("status", "--json").ShouldEndWith(0).Json();
        status.GetProperty("overdue").GetBoolean().ShouldBeTrue();
        Of(status, daily).GetProperty("overdue").GetBoolean().ShouldBeTrue();
        Of(status, daily).GetProperty("due_within_seconds").GetInt64().ShouldBe(2 * 86_400);
        Of(status, daily).GetProperty("snapshots_count").GetInt32().ShouldBe(24);
        Of(status, weekly).GetProperty("overdue").GetBoolean().ShouldBeFalse();
        ProgramRun told = _user.Run("status", "--fail-on", "overdue").ShouldEndWith(16);
        told.Text.ShouldContain("WARN  backups");
        told.Text.ShouldContain(daily);
        _user.Run("status", "--max-age", "8d", "--fail-on", "overdue").ShouldEndWith(0);
        _user.Run("status", "--max-age", "6d", "--fail-on", "overdue").ShouldEndWith(16).Text.ShouldContain(weekly);

        await BackUpAsync(daily, 0);
        _user.Run("status", "--fail-on", "overdue").ShouldEndWith(0);
    }

    [Fact]
    public async Task KeysOlderThanNinetyDaysAreSpokenOf()
    {
        string second = _user.At("second");
        (BackupIqRepository made, _) = await BackupIqRepository.CreateAsync(
            second, Secrets(), recoveryKit: false, time: _time, cancellationToken: TestContext.Current.CancellationToken);
        await made.DisposeAsync();

        string[] access = ["--repo", second, "--key-file", _key];
        _user.RunPlain(["backup", _user.MakeTree(), .. access]).ShouldEndWith(0);
        _user.RunPlain(["check", "--read-data", .. access]).ShouldEndWith(0);
        _user.RunPlain(["status", .. access]).ShouldEndWith(0).Text.ShouldContain("older than 90 days");
        _user.RunPlain(["status", "--fail-on", "overdue", .. access]).ShouldEndWith(0);
        _user.RunPlain(["status", "--fail-on", "warning", .. access]).ShouldEndWith(16);
    }

    private static JsonElement Of(JsonElement status, string path) =>
        status.GetProperty("series").EnumerateArray().Single(one => one.GetProperty("paths")[0].GetString() == path);

    private RepositorySecrets Secrets() => new() { KeyFile = new Secret(File.ReadAllBytes(_key)) };

    private async Task BackUpAsync(string source, int daysAgo)
    {
        _time.Now = TimeProvider.System.GetUtcNow().AddDays(-daysAgo);
        await using BackupIqRepository repository = await BackupIqRepository.OpenAsync(
            _user.Repository, Secrets(), time: _time, cancellationToken: TestContext.Current.CancellationToken);
        await repository.BackupAsync(new BackupRequest { Paths = [Encoding.UTF8.GetBytes(source)] }, cancellationToken: TestContext.Current.CancellationToken);
    }
}
