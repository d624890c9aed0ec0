using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.Gcs;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.GoogleDrive;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Google;

/// <summary>What Google's interfaces answer, and the files that say who asks; and the same from somebody who means harm.</summary>
public sealed class GoogleAnswersTests
{
    /// <summary>A page of a listing, after the reference's example.</summary>
    public const string Page = """
        {"kind":"storage#objects","nextPageToken":"CgEx","items":[
        {"name":"p/d/00/a","size":"100","timeCreated":"2026-11-26T01:00:01.250Z"},{"name":"p/Not A Key","size":"5","timeCreated":"2026-11-26T01:00:02Z"},
        {"name":"p/s/1","size":"0","timeCreated":"2026-11-26T01:00:03Z","md5Hash":"1B2M2Y8AsgTpgAmY7PhCfg==","retention":{"mode":"Locked","retainUntilTime":"2027-01-01T00:00:00Z"}}]}
        """;

    /// <summary>A page of Drive's files.</summary>
    public const string Files = """
        {"nextPageToken":"~!x","files":[{"id":"1b","name":"d/00/a","size":"100","md5Checksum":"d41d8cd98f00b204e9800998ecf8427e","createdTime":"2026-11-26T01:00:01.250Z","mimeType":"application/octet-stream","trashed":false},
        {"id":"1a","name":"d","createdTime":"2026-11-26T01:00:00Z","mimeType":"application/vnd.google-apps.folder","trashed":false},
        {"id":"1c","name":"Letter","createdTime":"2026-11-26T01:00:02Z","mimeType":"application/vnd.google-apps.document"}]}
        """;

    /// <summary>The answer to a batch of three deletions, after the documentation's example.</summary>
    public const string Batch =
        "--x_y\r\nContent-Type: application/http\r\nContent-ID: <response-0>\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n\r\n" +
        "--x_y\r\nContent-Type: application/http\r\nContent-ID: <response-2>\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\r\n" +
        "{\"error\":{\"code\":403,\"message\":\"Locked.\",\"errors\":[{\"reason\":\"retentionPolicyNotMet\"}]}}\r\n" +
        "--x_y\r\nContent-Type: application/http\r\nContent-ID: <response-1>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n--x_y--\r\n";

    /// <summary>The key of a service account, without a key.</summary>
    public const string ServiceAccount = """{"type":"service_account","project_id":"p","private_key_id":"k","private_key":"SECRET","client_email":"a@p.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token"}""";

    /// <summary>What gcloud leaves for a person.</summary>
    public const string Person = """{"type":"authorized_user","client_id":"c","client_secret":"SECRET","refresh_token":"SECRET","quota_project_id":"p"}""";

    [Fact]
    public void KeysUnderThePrefixAreReadAndOtherNamesLeftAlone()
    {
        ListingPage page = Read(Page).ShouldNotBeNull();
        page.Objects.Select(static o => $"{o.Key} {o.Size} {o.StoredAt:ss.fff}").ShouldBe(["d/00/a 100 01.250", "s/1 0 03.000"]);
        page.Next.ShouldBe("CgEx");
        Read("{}")!.Objects.ShouldBeEmpty();
        Read("{}")!.Next.ShouldBeNull();
    }

    [Fact]
    public void ANameThatIsNoTextIsNoFault()
    {
        Read("""{"\ud800":1,"\udc00nextPageToken":"x","nextPageToken":"y"}""");
        using JsonDocument json = JsonDocument.Parse("""{"\ud800":1,"id":"1","name":"a","createdTime":"2026-11-26T01:00:00Z","\udc00":2,"parents":["\ud800"],"trashed":false}""");
        DriveFile.Read(json.RootElement)?.Parent.ShouldBeNull();
    }

    [Theory]
    [InlineData("""{"items":{}}""")]
    [InlineData("""{"items":[{"name":"p/a"}]}""")]
    [InlineData("""{"items":[{"name":"p/a","size":"-1","timeCreated":"2026-11-26T01:00:02Z"}]}""")]
    [InlineData("""{"items":[{"name":"\ud800","size":"1","timeCreated":"2026-11-26T01:00:02Z"}]}""")]
    [InlineData("""{"items":[7]}""")]
    public void WhatIsNoListingIsRefused(string text) => Read(text).ShouldBeNull();

    [Fact]
    public void FilesOfDriveAreToldFromFoldersAndDocuments()
    {
        using JsonDocument json = JsonDocument.Parse(Files);
        (IReadOnlyList<DriveFile> files, string? next) = DriveFile.ReadPage(json.RootElement).ShouldNotBeNull();
        next.ShouldBe("~!x");
        files.Select(static file => $"{file.Id} {file.IsFolder} {file.AsObject()?.Key}").ShouldBe(["1b False d/00/a", "1a True ", "1c False "]);
        files.Order().Select(static file => file.Id).ShouldBe(["1a", "1b", "1c"], "the first is that which was made first");
    }

    [Theory]
    [InlineData("""{"files":{}}""")]
    [InlineData("""{"items":[]}""")]
    [InlineData("""{"files":[{"id":"../../about","name":"x","createdTime":"2026-11-26T01:00:00Z"}]}""")]
    [InlineData("""{"files":[{"id":"1","name":"\ud800","createdTime":"2026-11-26T01:00:00Z"}]}""")]
    public void WhatIsNoPageOfFilesIsRefused(string text)
    {
        using JsonDocument json = JsonDocument.Parse(text);
        DriveFile.ReadPage(json.RootElement).ShouldBeNull();
    }

    [Fact]
    public void ATextInAQueryStaysOne() => DriveClient.Quote("it's a \\ name").ShouldBe("'it\\'s a \\\\ name'");

    [Theory]
    [InlineData("""{"error":{"code":403,"message":"You may not.","errors":[{"reason":"forbidden","message":"You may not."}]}}""", "forbidden", "You may not.")]
    [InlineData("""{"error":{"code":403,"message":"Off.","status":"PERMISSION_DENIED"}}""", "PERMISSION_DENIED", "Off.")]
    [InlineData("""{"error":{"errors":[{"reason":"\u001b[31m"}]}}""", "", "")]
    [InlineData("""{"error":"invalid_grant"}""", "", "")]
    [InlineData("No such object: b/o", "", "No such object: b/o")]
    [InlineData("", "", "")]
    public void ARefusalIsAWordAndASentence(string body, string reason, string message) =>
        GoogleError.Read(Encoding.UTF8.GetBytes(body)).ShouldBe(new GoogleError(reason, message));

    [Fact]
    public void TheAnswerToABatchIsReadPartByPart()
    {
        IReadOnlyDictionary<int, GoogleBatchAnswer> answers = GoogleBatch.Read(Encoding.UTF8.GetBytes(Batch), "x_y");
        answers.OrderBy(static one => one.Key).Select(static one => $"{one.Key} {(int)one.Value.Status} {one.Value.Error.Reason}").ShouldBe(["0 204 ", "1 204 ", "2 403 retentionPolicyNotMet"]);
        GoogleBatch.Read(Encoding.UTF8.GetBytes(Batch)[..^20], "x_y").Count.ShouldBe(2, "what is cut off is no answer");
        GoogleBatch.Read(Encoding.UTF8.GetBytes(Batch), null).ShouldBeEmpty();
    }

    [Fact]
    public void AFileSaysWhoAsksAndIsNeverPrinted()
    {
        GoogleCredentialFile account = GoogleCredentialFile.Parse(Encoding.UTF8.GetBytes(ServiceAccount)).ShouldNotBeNull();
        account.Account.ShouldBe("a@p.iam.gserviceaccount.com");
        account.ToString().ShouldNotContain("SECRET");
        GoogleCredentialFile person = GoogleCredentialFile.Parse(Encoding.UTF8.GetBytes(Person)).ShouldNotBeNull();
        person.TokenServer.ShouldBe(new Uri("https://oauth2.googleapis.com/token"));
        person.ToString().ShouldNotContain("SECRET");
    }

    [Theory]
    [InlineData("""{"type":"service_account","client_email":"a"}""")]
    [InlineData("""{"type":"external_account","audience":"//iam"}""")]
    [InlineData("""{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r","token_uri":"http://elsewhere.example.org/token"}""")]
    [InlineData("""{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r","token_uri":"ftp://x"}""")]
    [InlineData("""{"type":"authorized_user","client_id":"\udc00"}""")]
    [InlineData("[")]
    public void WhatIsNoSuchFileIsNone(string text) => GoogleCredentialFile.Parse(Encoding.UTF8.GetBytes(text)).ShouldBeNull();

    [Theory]
    [InlineData("gs://b/p?lock=locked", "lock=unlocked&lock-days=30")]
    [InlineData("gs://b?storage-class=glacier", "standard, nearline, coldline, archive")]
    [InlineData("gs://me@b", "GOOGLE_APPLICATION_CREDENTIALS")]
    [InlineData("gs://b?private-key-secret=x", "GOOGLE_APPLICATION_CREDENTIALS")]
    [InlineData("gs://b?kms-key=projects/p/locations/l/keyRings//cryptoKeys/k", "cryptoKeys/K")]
    public void AUrlThatIsWrongIsRefusedWithWhatToDo(string url, string guidance) =>
        Should.Throw<BackupIQException>(() => GcsOptions.Read(StorageUrl.Parse(url), static _ => null)).Guidance.ShouldContain(guidance);

    private static ListingPage? Read(string text)
    {
        using JsonDocument json = JsonDocument.Parse(text);
        return GcsListing.Read(json.RootElement, "p/");
    }
}
