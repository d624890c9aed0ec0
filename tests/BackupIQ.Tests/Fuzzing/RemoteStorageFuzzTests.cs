using System.Text;
using System.Text.Json;
using System.Xml;
using BackupIQ.Keys.Remote.Azure;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Aws;
using BackupIQ.Storage.Remote.Azure;
using BackupIQ.Storage.Remote.Gcs;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.GoogleDrive;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Storage.Remote.Rclone;
using BackupIQ.Storage.Remote.Secrets;
using BackupIQ.Storage.Remote.WebDav;
using BackupIQ.Tests.Storage.Azure;
using BackupIQ.Tests.Storage.Google;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>What servers answer, and what rclone repeats of it.</summary>
[Trait("kind", "fuzz")]
public sealed class RemoteStorageFuzzTests
{
    [Fact]
    public void AnswersToPropfind() => Fuzz.Run(
        [
            Encoding.UTF8.GetBytes("""<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>/r%C3%A4/d/1</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype><D:getcontentlength>17</D:getcontentlength><D:getlastmodified>Thu, 26 Nov 2026 01:19:44 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"""),
            Encoding.UTF8.GetBytes("""<multistatus xmlns="DAV:"><response><href>http://h/x</href><status>HTTP/1.1 404 gone</status></response><response><href><![CDATA[/y?z#]]></href><propstat><prop><quota-used-bytes>5</quota-used-bytes></prop><status>HTTP/1.1 404 no</status></propstat></response></multistatus>"""),
            Encoding.Unicode.GetBytes("""<?xml version="1.0" encoding="utf-16"?><multistatus xmlns="DAV:"/>"""),
        ],
        static bytes =>
        {
            foreach (DavResource resource in MultiStatus.Parse(bytes) ?? [])
            {
                resource.Path.ShouldStartWith("/");
                (resource.Size ?? 0).ShouldBeGreaterThanOrEqualTo(0);
            }
        },
        perByte: 2048,
        allocates: 4 << 20);

    [Fact]
    public void ListingsOfAzure() => Fuzz.Run(
        [Encoding.UTF8.GetBytes(AzureListingTests.Page), Encoding.UTF8.GetBytes("<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker>x</NextMarker></EnumerationResults>")],
        static bytes =>
        {
            try
            {
                AzureListing.Read(bytes, "p/");
            }
            catch (XmlException)
            {
                // Refused.
            }
        },
        perByte: 2048);

    [Fact]
    public void KeysThatAzureGivesIdentities() => Fuzz.Run(
        [
            """
            <?xml version="1.0" encoding="utf-8"?><UserDelegationKey><SignedOid>11059fcc</SignedOid><SignedTid>ab1f708d</SignedTid><SignedStart>2026-01-01T00:00:00Z</SignedStart><SignedExpiry>2026-01-02T00:00:00Z</SignedExpiry><SignedService>b</SignedService><SignedVersion>2021-12-02</SignedVersion><Value>c2VjcmV0</Value></UserDelegationKey>
            """u8.ToArray(),
        ],
        static bytes =>
        {
            try
            {
                UserDelegationKey.Read(bytes).SignRead("account", "container", "name", DateTimeOffset.UnixEpoch, "2021-12-02").ShouldAllBe(static c => c > ' ' && c <= '~');
            }
            catch (XmlException)
            {
                // Refused.
            }
        },
        perByte: 2048);

    [Fact]
    public void AnswersOfGoogle() => Fuzz.Run(
        [
            Encoding.UTF8.GetBytes(GoogleAnswersTests.Page), Encoding.UTF8.GetBytes(GoogleAnswersTests.Files), """{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"""u8.ToArray(),
            """{"error":{"code":403,"message":"You may not.","errors":[{"reason":"forbidden","message":"\ud83d"}]}}"""u8.ToArray(),
        ],
        static bytes =>
        {
            GoogleError error = GoogleError.Read(bytes);
            error.Reason.ShouldAllBe(static c => char.IsAsciiLetterOrDigit(c) || c == '_');
            error.Message.ShouldAllBe(static c => !char.IsControl(c));
            AccessToken.Read(bytes, DateTimeOffset.UnixEpoch)?.Value.ShouldAllBe(static c => c > ' ' && c <= '~');
            try
            {
                using JsonDocument json = JsonDocument.Parse(bytes);
                if (json.RootElement.ValueKind == JsonValueKind.Object)
                {
                    foreach (var stored in GcsListing.Read(json.RootElement, "p/")?.Objects ?? [])
                    {
                        stored.Size.ShouldBeGreaterThanOrEqualTo(0);
                    }

                    foreach (DriveFile file in DriveFile.ReadPage(json.RootElement)?.Files ?? [])
                    {
                        DriveFile.IsId(file.Id).ShouldBeTrue();
                        (file.AsObject()?.Size ?? 0).ShouldBeGreaterThanOrEqualTo(0);
                    }
                }
            }
            catch (JsonException)
            {
                // Refused.
            }
        },
        perByte: 2048,
        allocates: 4 << 20);

    [Fact]
    public void AnswersToBatchesOfGoogle() => Fuzz.Run(
        [Encoding.UTF8.GetBytes(GoogleAnswersTests.Batch)],
        static bytes =>
        {
            foreach ((int number, GoogleBatchAnswer answer) in GoogleBatch.Read(bytes, "x_y"))
            {
                number.ShouldBeGreaterThanOrEqualTo(0);
                answer.Error.Message.ShouldAllBe(static c => !char.IsControl(c));
            }
        },
        perByte: 2048,
        allocates: 4 << 20);

    [Fact]
    public void FilesWithCredentialsOfGoogle() => Fuzz.Run(
        [Encoding.UTF8.GetBytes(GoogleAnswersTests.ServiceAccount), Encoding.UTF8.GetBytes(GoogleAnswersTests.Person)],
        static bytes => GoogleCredentialFile.Parse(bytes)?.TokenServer.IsAbsoluteUri.ShouldBeTrue(),
        perByte: 2048,
        allocates: 4 << 20);

    [Fact]
    public void AnswersOfRclone() => Fuzz.Run(
        [
            """{"list":[{"Path":"d/ab/x1","Name":"x1","Size":3000000,"ModTime":"2026-11-26T01:21:34.369676167Z","IsDir":false},{"Path":"d","Size":-1,"IsDir":true}]}"""u8.ToArray(),
            """{"item":{"Path":"tmp/x","Size":5,"ModTime":"2026-11-26T01:21:34Z","IsDir":false},"error":"\ud83d","total":5,"Features":{"Move":true},"providers":[{"Name":"sftp"}]}"""u8.ToArray(),
        ],
        static bytes =>
        {
            foreach (RcloneEntry entry in RcloneAnswers.Listing(bytes) ?? [])
            {
                entry.Path.ShouldNotBeNull();
            }

            _ = RcloneAnswers.Item(bytes);
            _ = RcloneAnswers.Text(bytes, "error");
            (RcloneAnswers.Number(bytes, "total") ?? 0).ShouldBeGreaterThanOrEqualTo(0);
            _ = RcloneAnswers.HasFeature(bytes, "Move");
            _ = RcloneAnswers.HasProvider(bytes, "sftp");
        },
        perByte: 2048,
        allocates: 4 << 20);

    [Fact]
    public void WordsAndUrlsOfRclone() => Fuzz.Run(
        [
            "2026/11/26 ERROR : Get \"https://h/?access_token=abc&x=1\": token expired"u8.ToArray(), "Authorization: Bearer abc.def, password: \"x\""u8.ToArray(), "rclone:remote:path?listing-lag=5"u8.ToArray(),
            "icloud://Backups/x?remote=mine"u8.ToArray(),
        ],
        static bytes =>
        {
            string text = Encoding.UTF8.GetString(bytes);
            RcloneLog.Clean(text).ShouldAllBe(static c => !char.IsControl(c));
            RcloneFailure.Of(text, "It failed").Message.ShouldStartWith("It failed");
            if (RcloneRemote.Is(text))
            {
                try
                {
                    RcloneRemote.Parse(text).Path.ShouldContain(":");
                }
                catch (BackupIQException e)
                {
                    e.Code.ShouldBeOneOf(ErrorCodes.Usage, ErrorCodes.Configuration, ErrorCodes.SecretUnavailable);
                }
            }
        },
        perByte: 4096,
        allocates: 4 << 20);

    [Fact]
    public void AnswersOfKeyServices() => Fuzz.Run(
        [
            """{"data":{"ciphertext":"vault:v1:AAAA","keys":{"1":1780000001},"latest_version":1},"errors":["permission denied"]}"""u8.ToArray(),
            """{"__type":"com.amazonaws.kms#DisabledException","message":"x","CiphertextBlob":"AQID"}"""u8.ToArray(),
            """{"error":{"code":403,"status":"PERMISSION_DENIED","innererror":{"code":"KeyDisabled"}},"value":"AQID"}"""u8.ToArray(),
            """{"version":"0698c2156c1a4e1da5b6bab6f6422fd6","algorithm":"RSA-OAEP-256","value":"ovQIlbB0DgWhZA7sgkPxbg9H"}"""u8.ToArray(),
        ],
        static bytes =>
        {
            using JsonAnswer answer = new(System.Net.HttpStatusCode.OK, bytes.ToArray());
            answer.Text("data", "ciphertext");
            answer.Bytes("CiphertextBlob");
            answer.Find("error", "innererror", "code");
            AwsJsonService.ErrorOf(answer).Length.ShouldBeLessThanOrEqualTo(80);
            VaultClient.ErrorOf(answer).ShouldNotBeNull();
            AzureKeyVaultKey.Read(bytes);
        },
        perByte: 1024);
}
