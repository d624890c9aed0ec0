using System.Text;
using Amazon.KeyManagementService;
using Amazon.KeyManagementService.Model;
using Amazon.Runtime;
using BackupIQ.Storage.Remote.Aws;
using BackupIQ.Testing.KeyServices;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.KeyServices;

/// <summary>Signatures by the examples of AWS's own test suite for Signature Version 4; and that the fake of KMS answers Amazon's own client.</summary>
public sealed class AwsSignatureTests
{
    private static readonly DateTimeOffset Moment = new(2015, 8, 30, 12, 36, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("GET", "https://example.amazonaws.com/", "service", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")] // get-vanilla
    [InlineData("POST", "https://example.amazonaws.com/", "service", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b")] // post-vanilla
    [InlineData("GET", "https://example.amazonaws.com/?Param1=value1&Param2=value2", "service", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")] // get-vanilla-query-order-key-case
    public void ASignatureIsThatOfThePublishedExample(string method, string address, string service, string signature)
    {
        using HttpRequestMessage request = new(new HttpMethod(method), address);
        AwsSignature.Sign(request, [], ("us-east-1", service), "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", null, Moment);
        request.Headers.GetValues("Authorization").Single().ShouldBe(
            $"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}");
    }

    [Fact]
    public void ABodyAndItsTypeAreSigned()
    {
        // post-x-www-form-urlencoded
        byte[] body = "Param1=value1"u8.ToArray();
        using HttpRequestMessage request = new(HttpMethod.Post, "https://example.amazonaws.com/") { Content = new ByteArrayContent(body) { Headers = { ContentType = new("application/x-www-form-urlencoded") } } };
        AwsSignature.Sign(request, body, ("us-east-1", "service"), "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", null, Moment);
        request.Headers.GetValues("Authorization").Single().ShouldEndWith(
            "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
    }

    [Fact]
    public async Task TheFakeAnswersAmazonsOwnClientAsKmsDoes()
    {
        CancellationToken stop = TestContext.Current.CancellationToken;
        await using FakeAws fake = new();
        fake.Keys["alias/backup"] = new FakeKey();
        fake.Accounts["AKIDEXAMPLE"] = "a secret";
        using AmazonKeyManagementServiceClient client = new(
            new BasicAWSCredentials("AKIDEXAMPLE", "a secret"), new AmazonKeyManagementServiceConfig { ServiceURL = fake.Address.ToString(), AuthenticationRegion = "eu-central-1", MaxErrorRetry = 0 });
        Dictionary<string, string> context = new(StringComparer.Ordinal) { ["purpose"] = "slot", ["repository"] = "a" };
        using MemoryStream plain = new("a plain text"u8.ToArray());
        EncryptResponse wrapped = await client.EncryptAsync(new EncryptRequest { KeyId = "alias/backup", Plaintext = plain, EncryptionContext = context }, stop);
        DecryptResponse unwrapped = await client.DecryptAsync(new DecryptRequest { KeyId = "alias/backup", CiphertextBlob = wrapped.CiphertextBlob, EncryptionContext = context }, stop);
        Encoding.UTF8.GetString(unwrapped.Plaintext.ToArray()).ShouldBe("a plain text");
        (await client.DescribeKeyAsync("alias/backup", stop)).KeyMetadata.KeyState.ShouldBe(Amazon.KeyManagementService.KeyState.Enabled);

        context["repository"] = "b";
        wrapped.CiphertextBlob.Position = 0;
        await Should.ThrowAsync<InvalidCiphertextException>(() => client.DecryptAsync(new DecryptRequest { KeyId = "alias/backup", CiphertextBlob = wrapped.CiphertextBlob, EncryptionContext = context }, stop));
        await Should.ThrowAsync<NotFoundException>(() => client.DescribeKeyAsync("alias/other", stop));
        fake.Keys["alias/backup"].IsEnabled = false;
        plain.Position = 0;
        await Should.ThrowAsync<DisabledException>(() => client.EncryptAsync(new EncryptRequest { KeyId = "alias/backup", Plaintext = plain }, stop));
        fake.Violations.ShouldBeEmpty();
    }
}
