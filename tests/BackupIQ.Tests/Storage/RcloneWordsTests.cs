using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Rclone;
using BackupIQ.Storage.Remote.WebDav;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>What rclone is told and what its words mean; what a WebDAV server's answer says.</summary>
public sealed class RcloneWordsTests
{
    [Theory]
    [InlineData("Get \"https://h/x?access_token=abcdef&y=1\": EOF", "abcdef")]
    [InlineData("oauth: {\"refresh_token\":\"abcdef\",\"x\":1}", "abcdef")]
    [InlineData("Authorization: Bearer abcdef", "abcdef")]
    [InlineData("authorization: Basic abcdef", "abcdef")]
    [InlineData("dial: password=abcdef failed", "abcdef")]
    [InlineData("X-Amz-Signature=abcdef&Expires=5", "abcdef")]
    public void WhatLooksLikeASecretIsNotShown(string words, string secret)
    {
        RcloneLog.Clean(words).ShouldNotContain(secret);
        RcloneFailure.Of(words, "It failed").Details["rclone"].ShouldNotContain(secret);
    }

    [Fact]
    public void OrdinaryWordsAreShownAsTheyAre()
    {
        const string Words = "sftp: couldn't connect to host 10.0.0.1:22: dial tcp: connection refused";
        RcloneLog.Clean(Words).ShouldBe(Words);
    }

    [Theory]
    [InlineData("NewFs: couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods remain", "StorageAuthentication")]
    [InlineData("couldn't connect SSH: ssh: handshake failed: knownhosts: key mismatch", "Storage")]
    [InlineData("dial tcp 127.0.0.1:22: connect: connection refused", "StorageConnection")]
    [InlineData("couldn't connect SSH: ssh: handshake failed: ssh: invalid packet length, packet too large", "StorageConnection")]
    [InlineData("ssh: disconnect, reason 2: Packet corrupt", "StorageConnection")]
    [InlineData("dial tcp: i/o timeout", "StorageTimeout")]
    [InlineData("googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded", "StorageFull")]
    [InlineData("couldn't fetch token: invalid_grant: maybe token expired?", "StorageAuthentication")]
    [InlineData("didn't find section in config file (\"nobody\")", "Configuration")]
    [InlineData("something that nobody has seen", "Storage")]
    [InlineData("mkdir \"/srv/7f429e0d/tmp\" failed: sftp: \"Failure\" (SSH_FX_FAILURE)", "Storage")]
    [InlineData("mkdir \"/srv/429/503-401/tmp\" failed: sftp: \"Failure\" (SSH_FX_FAILURE)", "Storage")]
    [InlineData("Put: 503: try later", "StorageConnection")]
    public void TheWordsMeanWhatTheyMean(string words, string code) => RcloneFailure.Of(words, "It failed").Code.Name.ShouldBe(code);

    [Fact]
    public void AnICloudFolderIsAFolderOfRclonesRemote()
    {
        RcloneRemote.Parse("icloud://Backups/host one").Path.ShouldBe("icloud:Backups/host one");
        RcloneRemote mine = RcloneRemote.Parse("icloud://Backups?remote=mine&listing-lag=60");
        mine.Path.ShouldBe("mine:Backups");
        mine.ListingLag.ShouldBe(TimeSpan.FromMinutes(1));
        mine.Provider.ShouldBe("iclouddrive");
        mine.Location.ShouldBe("icloud://Backups?remote=mine");
    }

    [Fact]
    public void PropertiesCountOnlyUnderAStatusThatTheyAreThere()
    {
        IReadOnlyList<DavResource> found = MultiStatus.Parse("""
            <?xml version="1.0"?><!-- c --><a:multistatus xmlns:a="DAV:" xmlns:o="other:">
              <a:response><a:href>http://server:80/f/</a:href>
                <a:propstat><a:prop><a:resourcetype><a:collection/></a:resourcetype><o:getcontentlength>5</o:getcontentlength></a:prop><a:status>HTTP/1.1 200 OK</a:status></a:propstat>
                <a:propstat><a:prop><a:getcontentlength>7</a:getcontentlength></a:prop><a:status>HTTP/1.1 404 Not Found</a:status></a:propstat></a:response>
              <a:response><a:href>/f/1</a:href><a:propstat><a:prop><a:resourcetype/><a:getcontentlength> 12 </a:getcontentlength>
                <a:getlastmodified>Thu, 26 Nov 2026 01:19:44 GMT</a:getlastmodified></a:prop><a:status>HTTP/1.1 200 OK</a:status></a:propstat></a:response>
              <a:response><a:href>/f/gone</a:href><a:status>HTTP/1.1 404 Not Found</a:status></a:response>
            </a:multistatus>
            """u8.ToArray())!;
        found.ShouldBe(
        [
            new DavResource("/f/", true, null, null, null, null),
            new DavResource("/f/1", false, 12, new DateTimeOffset(2026, 11, 26, 1, 19, 44, TimeSpan.Zero), null, null),
        ]);
    }

    [Theory]
    [InlineData("<!DOCTYPE m [<!ENTITY x \"y\">]><multistatus xmlns=\"DAV:\"><response><href>/&x;</href></response></multistatus>")]
    [InlineData("<html><body>It works!</body></html>")]
    [InlineData("<multistatus xmlns=\"DAV:\"><response>")]
    [InlineData("")]
    public void WhatIsNoAnswerIsNone(string body) => MultiStatus.Parse(System.Text.Encoding.UTF8.GetBytes(body)).ShouldBeNull();
}
