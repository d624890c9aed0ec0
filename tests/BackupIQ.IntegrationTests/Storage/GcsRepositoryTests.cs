using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers.Google;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>A repository in a bucket of Google Cloud Storage, by the program, against a FAKE of the service.</summary>
public sealed class GcsRepositoryTests(GoogleStorageFixture google) : RepositoryOnStorageTests
{
    [Fact]
    public async Task WhatIsWrongEndsWithACodeAndOneLineAndNoSecretIsShown()
    {
        FakeGoogleStorage server = await google.GetAsync();
        Run("init").ShouldEndWith(0);
        string key = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(google.KeyFile)).RootElement.GetProperty("private_key").GetString()!.Split('\n')[3];

        Expect(13, server.Accounts.ServiceAccount("nobody", GoogleRole.None), "may not do this", "roles/storage.objectUser");
        Expect(13, server.Accounts.ServiceAccount("backups").Replace("backups@", "deleted@", StringComparison.Ordinal), "deleted@", "gcloud iam service-accounts keys create");
        Expect(2, "{}", "none that BackupIQ understands", "gcloud auth application-default login");
        string person = server.Accounts.Person("somebody@example.org");
        Expect(0, person, "", "");
        Expect(13, person.Replace("1//", "1//x", StringComparison.Ordinal), "the person who signed in", "gcloud auth application-default login");

        Somebody.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = google.KeyFile;
        Somebody.Repository = await google.UrlAsync("not-there");
        Run("snapshots").ShouldEndWith(15).Error.ShouldContain("gcloud storage buckets create");

        Somebody.Environment.Remove("GOOGLE_APPLICATION_CREDENTIALS");
        Run("snapshots").ShouldEndWith(13).Error.ShouldContain("GOOGLE_APPLICATION_CREDENTIALS");

        void Expect(int code, string keyFile, string message, string guidance)
        {
            Somebody.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = Somebody.Write($"{Guid.NewGuid():n}.json", keyFile);
            ProgramRun run = Run("snapshots", "-vv");
            run.Code.ShouldBe(code, run.Error);
            run.Error.ShouldContain(message);
            run.Error.ShouldContain(guidance);
            (run.Text + run.Error).ShouldNotContain(key);
            (run.Text + run.Error).ShouldNotContain("ya29.");
            (run.Text + run.Error).ShouldNotContain("1//");
        }
    }

    [Fact]
    public async Task WhatKeptSnapshotsNeedStaysLocked()
    {
        string bucket = await google.NewBucketAsync(objectRetention: true);
        Somebody.Repository = await google.UrlAsync(bucket, "p", "&lock=unlocked&lock-days=1");
        Somebody.WithNewRepository();
        Somebody.Backup(Somebody.MakeTree());
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0, "half of a day is not over yet");
        Somebody.Repository = await google.UrlAsync(bucket, "p", "&lock=unlocked&lock-days=30");
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBeGreaterThan(3);
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0);
    }

    /// <inheritdoc/>
    protected override async ValueTask<(string Url, IReadOnlyDictionary<string, string> Environment)> NewPlaceAsync() =>
        (await google.UrlAsync(await google.NewBucketAsync(), "backups"), google.Environment);
}
