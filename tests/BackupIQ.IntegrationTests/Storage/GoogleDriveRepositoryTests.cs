using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers.Google;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>A repository in a folder of Google Drive, by the program, against a FAKE of the service.</summary>
public sealed class GoogleDriveRepositoryTests(GoogleDriveFixture google) : RepositoryOnStorageTests
{
    [Fact]
    public async Task SomebodySignsInOnceAndEndsWithACodeAndOneLineWhenThatIsOver()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        Somebody.Repository = $"gdrive://Backups?endpoint=http://{server.Address.Authority}&accounts-endpoint=http://{server.Address.Authority}&listing-lag=0";
        ProgramRun nobody = Somebody.RunPlain(["storage", "info", Somebody.Repository]).ShouldEndWith(13);
        nobody.Error.ShouldContain("Nobody has signed in");
        nobody.Error.ShouldContain("backupiq storage login");

        Somebody.Environment["BACKUPIQ_GOOGLE_CLIENT_ID"] = FakeGoogleAccounts.ClientId;
        Somebody.Environment["BACKUPIQ_GOOGLE_CLIENT_SECRET"] = FakeGoogleAccounts.ClientSecret;
        server.Accounts.Consent = false;
        Somebody.RunPlain(["storage", "login", Somebody.Repository]).ShouldEndWith(13).Error.ShouldContain("refused");
        server.Accounts.Consent = true;
        ProgramRun login = Somebody.RunPlain(["storage", "login", Somebody.Repository]).ShouldEndWith(0);
        login.Error.ShouldContain("https://www.google.com/device");
        login.Error.ShouldContain("GQVQ-JKEC");
        string file = Somebody.At("home", ".config", "backupiq", "google-drive", "default.json");
        File.GetUnixFileMode(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        string refresh = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(file)).RootElement.GetProperty("refresh_token").GetString()!;
        (login.Text + login.Error).ShouldNotContain(refresh);

        // Once signed in, the client's id and secret are in the file.
        Somebody.Environment.Remove("BACKUPIQ_GOOGLE_CLIENT_ID");
        Somebody.Environment.Remove("BACKUPIQ_GOOGLE_CLIENT_SECRET");
        Somebody.WithNewRepository();
        Run("snapshots").ShouldEndWith(0);
        server.Accounts.RevokeAll();
        ProgramRun revoked = Run("snapshots", "-vv");
        revoked.Code.ShouldBe(13, revoked.Error);
        revoked.Error.ShouldContain("Sign in again: backupiq storage login");
        (revoked.Text + revoked.Error).ShouldNotContain(refresh);
        (revoked.Text + revoked.Error).ShouldNotContain("ya29.");
        (revoked.Text + revoked.Error).ShouldNotContain(FakeGoogleAccounts.ClientSecret);
    }

    /// <inheritdoc/>
    protected override async ValueTask<(string Url, IReadOnlyDictionary<string, string> Environment)> NewPlaceAsync() =>
        (await google.UrlAsync($"backups-{Guid.NewGuid():n}", lag: 0), new Dictionary<string, string>());
}
