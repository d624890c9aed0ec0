using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.GoogleDrive;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers.Google;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Google Drive, against a FAKE of it (nobody here has an account to test with): every guarantee of a storage that it declares, and what only this one has.</summary>
public sealed class GoogleDriveConformanceTests(GoogleDriveFixture google) : StorageConformance
{
    private readonly string _folder = $"Backups of {Guid.NewGuid():n}/it's";

    /// <inheritdoc/>
    protected override int BigObjectSize => 21 << 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OfTwelveWritersOfOneNameEverybodySeesTheSame()
    {
        IStorageBackend[] clients = [await ClientAsync(), await ClientAsync(), await ClientAsync()];
        clients[0].Capabilities.ConditionalPut.ShouldBeFalse();
        clients[0].Capabilities.ListingLag.ShouldBeGreaterThan(TimeSpan.Zero);
        byte[][] contents = [.. Enumerable.Range(0, 12).Select(static seed => Bytes(1000 + seed, seed))];
        await Task.WhenAll(contents.Select((content, i) => Task.Run(() => PutAsync(clients[i % 3], "s/raced", content), Token)));
        await Task.Delay(TimeSpan.FromSeconds(2.5), Token);
        IStorageBackend[] readers = [await ClientAsync(), await ClientAsync(), clients[0]];
        StoredObject seen = (await ListAsync(readers[0], "")).ShouldHaveSingleItem();
        foreach (IStorageBackend reader in readers)
        {
            (await ListAsync(reader, "s/")).ShouldBe([seen]);
            await ShouldHoldAsync(reader, "s/raced", contents.Single(content => content.Length == seen.Size));
        }

        await readers[0].DeleteAsync(new StorageKey("s/raced"), Token);
        (await google.GetAsync()).IdsOf("s/raced").Count(id => id.Length > 0).ShouldBe(0, "all of the name are deleted");
    }

    [Fact]
    public async Task FoldersThatWereMadeTwiceCountAsOne()
    {
        // Each client finds nothing and makes the folders.
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        server.FoldersLag = TimeSpan.FromSeconds(1.5);
        server.NamesLag = TimeSpan.FromSeconds(1.5);
        using ScratchFolder scratch = new();
        string url = Url(server, scratch, "twice");
        await using IStorageBackend one = await google.ConnectAsync(url);
        await using IStorageBackend other = await google.ConnectAsync(url);
        await PutAsync(one, "d/1", Bytes(10));
        await PutAsync(other, "d/2", Bytes(20));
        await PutAsync(other, "config", Bytes(30));
        server.IdsOf("twice").Count.ShouldBe(2);
        server.IdsOf("d").Count.ShouldBe(2);
        await ShouldHoldAsync(one, "d/1", Bytes(10));
        await Task.Delay(TimeSpan.FromSeconds(2), Token);
        await using IStorageBackend third = await google.ConnectAsync(url);
        foreach (IStorageBackend client in (IStorageBackend[])[one, other, third])
        {
            (await ListAsync(client, "")).Select(static o => o.Key.Value).Order(StringComparer.Ordinal).ShouldBe(["config", "d/1", "d/2"]);
            await ShouldHoldAsync(client, "d/2", Bytes(20));
            await ShouldHoldAsync(client, "config", Bytes(30));
        }

        await third.DeleteAsync(new StorageKey("d/1"), Token);
        (await third.StatAsync(new StorageKey("d/1"), Token)).ShouldBeNull();
    }

    [Fact]
    public async Task WhatWasMadeAMomentAgoIsFoundByItsClientBeforeAnyQueryKnowsOfIt()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        server.FoldersLag = TimeSpan.FromMinutes(1);
        server.NamesLag = TimeSpan.FromMinutes(1);
        using ScratchFolder scratch = new();
        await using IStorageBackend storage = await google.ConnectAsync(Url(server, scratch, "f"));
        (await PutAsync(storage, "d/1", Bytes(100))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/1", Bytes(100));
        (await storage.StatAsync(new StorageKey("d/1"), Token)).ShouldNotBeNull();
        (await PutAsync(storage, "d/1", Bytes(101))).ShouldBe(PutOutcome.AlreadyThere);
        (await PutAsync(storage, "d/2", Bytes(100))).ShouldBe(PutOutcome.Stored);
        await storage.DeleteAsync(new StorageKey("d/1"), Token);
        (await storage.StatAsync(new StorageKey("d/1"), Token)).ShouldBeNull();
        server.IdsOf("d").ShouldHaveSingleItem();
    }

    [Fact]
    public async Task AnUploadThatBrokeGoesOnWhereItBrokeAndMakesOneFile()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        await using IStorageBackend storage = await google.ConnectAsync(Url(server, scratch, "f"));
        byte[] bytes = Bytes(20 << 20);
        await ResumedUpload.ShouldGoOnAsync(storage, "d/1", bytes, () => server.OpenUploads, Token);
        server.IdsOf("d/1").ShouldHaveSingleItem();
        await ShouldHoldAsync(storage, "d/1", bytes);
    }

    [Fact]
    public async Task AFullDriveAFullFolderAndTooManyRequestsAreSaid()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        await using IStorageBackend storage = await google.ConnectAsync(Url(server, scratch, "f"));
        (await storage.GetSpaceAsync(Token)).ShouldBe(new StorageSpace(null, 0, null), "a Drive without a limit");
        server.Quota = 10_000;
        await PutAsync(storage, "d/1", Bytes(4000));
        (await storage.GetSpaceAsync(Token)).ShouldBe(new StorageSpace(10_000, 4000, 6000));
        StorageException full = await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "d/2", Bytes(7000)));
        full.Code.ShouldBe(ErrorCodes.StorageFull);
        full.IsTransient.ShouldBeFalse();
        server.Quota = null;
        server.MostChildren = 1;
        (await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "d/2", Bytes(10)))).Code.ShouldBe(ErrorCodes.StorageFull);
        server.MostChildren = int.MaxValue;
        server.TooManyEvery = 1;
        StorageException slower = await Should.ThrowAsync<StorageException>(async () => await ListAsync(storage, ""));
        slower.Code.ShouldBe(ErrorCodes.StorageConnection);
        slower.IsTransient.ShouldBeTrue();
    }

    [Fact]
    public async Task AFolderInTheTrashIsToldFromAnEmptyStorage()
    {
        FakeGoogleDrive server = await google.GetAsync();
        string folder = $"trashed-{Guid.NewGuid():n}";
        await using IStorageBackend storage = await google.ConnectAsync(await google.UrlAsync(folder));
        (await ListAsync(storage, "")).ShouldBeEmpty();
        await PutAsync(storage, "s/1", Bytes(10));
        server.Trash(server.IdsOf(folder).Single());
        (await Should.ThrowAsync<StorageException>(async () => await ListAsync(storage, ""))).Message.ShouldContain("not there any more");
        (await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("s/1"), Token))).Message.ShouldContain("not there any more");
    }

    [Fact]
    public async Task WhatOthersPutThereIsLeftAlone()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        await using IStorageBackend storage = await google.ConnectAsync(Url(server, scratch, "f"));
        await PutAsync(storage, "s/1", Bytes(10));

        // Drive tells of milliseconds.
        await Task.Delay(TimeSpan.FromMilliseconds(20), Token);
        server.AddBeside(server.IdsOf("s/1")[0], "S/1", Bytes(5));
        server.AddBeside(server.IdsOf("s/1")[0], "Holiday.jpg", Bytes(5));
        server.AddBeside(server.IdsOf("s/1")[0], "s/1", Bytes(5));
        (await ListAsync(storage, "")).ShouldHaveSingleItem().Size.ShouldBe(10, "of one name the first counts");
        await storage.DeleteAsync(new StorageKey("s/1"), Token);
        server.IdsOf("s/1").ShouldBeEmpty();
        server.IdsOf("S/1").ShouldHaveSingleItem();
        server.IdsOf("Holiday.jpg").ShouldHaveSingleItem();
    }

    [Fact]
    public async Task ASharedDriveIsUsedByAServiceAccount()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        File.WriteAllText(Path.Combine(scratch.Path, "c.json"), server.Accounts.ServiceAccount("backups"));
        string drive = server.MakeSharedDrive();
        await using IStorageBackend storage = await google.ConnectAsync(
            $"gdrive://f?endpoint=http://{server.Address.Authority}&shared-drive={drive}&credentials={Uri.EscapeDataString(Path.Combine(scratch.Path, "c.json"))}");
        (await PutAsync(storage, "s/1", Bytes(10))).ShouldBe(PutOutcome.Stored);
        (await ListAsync(storage, "s/")).ShouldHaveSingleItem();
        (await storage.GetSpaceAsync(Token)).ShouldBe(new StorageSpace(null, null, null));
        server.Served.Keys.ShouldNotContain("drive.about.get");
    }

    [Fact]
    public async Task WhoSignsInOnAnotherMachineIsKeptInAFileOfTheirOwn()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        Dictionary<string, string> environment = new(StringComparer.Ordinal) { ["XDG_CONFIG_HOME"] = scratch.Path };
        string url = $"gdrive://f?endpoint=http://{server.Address.Authority}&accounts-endpoint=http://{server.Address.Authority}&listing-lag=0";
        StorageException nobody = await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(url, environment: environment));
        nobody.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        nobody.Guidance.ShouldContain("backupiq storage login 'gdrive://f");

        (await Should.ThrowAsync<BackupIQException>(SignInAsync)).Guidance.ShouldContain("docs/storage/google-drive.md");
        environment[DriveSignIn.ClientIdVariable] = "another";
        environment[DriveSignIn.ClientSecretVariable] = FakeGoogleAccounts.ClientSecret;
        (await Should.ThrowAsync<StorageException>(SignInAsync)).Message.ShouldContain("does not know the OAuth client");
        environment[DriveSignIn.ClientIdVariable] = FakeGoogleAccounts.ClientId;
        server.Accounts.Consent = false;
        StorageException refused = await Should.ThrowAsync<StorageException>(SignInAsync);
        refused.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        refused.Message.ShouldContain("refused");

        server.Accounts.Consent = null;
        Task<string> waiting = SignInAsync();
        await Task.Delay(TimeSpan.FromSeconds(2.5), Token);
        waiting.IsCompleted.ShouldBeFalse("the person has not answered");
        server.Accounts.Consent = true;
        string file = await waiting;
        file.ShouldBe(Path.Combine(scratch.Path, "backupiq", "google-drive", "default.json"));
        File.GetUnixFileMode(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await using (IStorageBackend storage = await google.ConnectAsync(url, environment: environment))
        {
            (await PutAsync(storage, "s/1", Bytes(10))).ShouldBe(PutOutcome.Stored);
        }

        server.Accounts.RevokeAll();
        StorageException revoked = await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(url, environment: environment));
        revoked.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        revoked.Guidance.ShouldContain("Sign in again: backupiq storage login");
        await SignInAsync();
        await using IStorageBackend again = await google.ConnectAsync(url, environment: environment);
        await ShouldHoldAsync(again, "s/1", Bytes(10));

        Task<string> SignInAsync() => DriveSignIn.RunAsync(
            StorageUrl.Parse(url),
            static consent =>
            {
                consent.Address.ShouldBe("https://www.google.com/device");
                consent.Code.ShouldBe("GQVQ-JKEC");
            },
            environment.GetValueOrDefault,
            TimeProvider.System,
            Token);
    }

    [Fact]
    public async Task WhatIsWrongIsSaidAndWhatToDo()
    {
        await using FakeGoogleDrive server = await FakeGoogleDrive.StartAsync();
        using ScratchFolder scratch = new();
        string url = Url(server, scratch, "f");
        await using (IStorageBackend storage = await google.ConnectAsync(url))
        {
            server.Accounts.SetRole("me", GoogleRole.Viewer);
            StorageException forbidden = await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/1", Bytes(1)));
            forbidden.Code.ShouldBe(ErrorCodes.StorageAuthentication);
            forbidden.Guidance.ShouldContain("backupiq storage login");
        }

        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url + "&acount=x"))).Message.ShouldContain("did you mean 'account'");
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync("gdrive://f?account=../x"))).Code.ShouldBe(ErrorCodes.Usage);
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync("gdrive://f?shared-drive=a/b"))).Code.ShouldBe(ErrorCodes.Usage);
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync("gdrive://f?endpoint=http://drive.example.org&credentials=" + Uri.EscapeDataString(google.CredentialFile)))).Message.ShouldContain("Plain HTTP");
    }

    /// <inheritdoc/>
    protected override async ValueTask<IStorageBackend> ConnectAsync() => await google.ConnectAsync(await google.UrlAsync(Uri.EscapeDataString(_folder).Replace("%2F", "/", StringComparison.Ordinal)));

    // A server of the test's own, and somebody who has signed in.
    private static string Url(FakeGoogleDrive server, ScratchFolder scratch, string folder)
    {
        string file = Path.Combine(scratch.Path, "me.json");
        File.WriteAllText(file, server.Accounts.Person("me"));
        return $"gdrive://{folder}?endpoint=http://{server.Address.Authority}&listing-lag=2&credentials={Uri.EscapeDataString(file)}";
    }
}
