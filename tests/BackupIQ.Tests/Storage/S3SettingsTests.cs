using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>What an s3: URL may say.</summary>
public sealed class S3SettingsTests
{
    private static readonly RemoteLayout Layout = new(["d/"], ["d/", "s/"]);

    [Fact]
    public void AUrlSaysWhereTheBucketIsAndHowItIsUsed()
    {
        S3Settings settings = Parse("s3://bucket/a/b?endpoint=minio.example:9000&region=eu-west-1&requester-pays=true&storage-class=STANDARD_IA&lock=compliance&lock-days=30&profile=backup");
        settings.Bucket.ShouldBe("bucket");
        settings.Prefix.ShouldBe("a/b/");
        settings.Endpoint.ShouldBe(new Uri("https://minio.example:9000"));
        settings.UsesPathStyle.ShouldBeTrue();
        settings.RequesterPays.ShouldBeTrue();
        settings.ColdClass!.Value.ShouldBe("STANDARD_IA");
        settings.LockMode!.Value.ShouldBe("COMPLIANCE");
        settings.LockFor.ShouldBe(TimeSpan.FromDays(30));
        settings.Profile.ShouldBe("backup");
        settings.Location.ShouldBe("s3://bucket/a/b?endpoint=minio.example:9000&region=eu-west-1");
        Layout.IsCold(new StorageKey("d/00/x")).ShouldBeTrue();
        Layout.IsCold(new StorageKey("m/00/x")).ShouldBeFalse();
        Layout.IsLocked(new StorageKey("l/x.open")).ShouldBeFalse();
    }

    [Fact]
    public void AmazonsOwnBucketsAreHostsAndOthersArePathsUnlessTheUrlSaysOtherwise()
    {
        Parse("s3://bucket?region=eu-west-1").UsesPathStyle.ShouldBeFalse();
        Parse("s3://bucket?region=eu-west-1&style=path").UsesPathStyle.ShouldBeTrue();
        Parse("s3://bucket?endpoint=https://h&style=virtual").UsesPathStyle.ShouldBeFalse();
        Parse("s3://bucket").Prefix.ShouldBeEmpty();
    }

    [Theory]
    [InlineData("s3://user@bucket", "credentials")]
    [InlineData("s3://bucket?secret-access-key=abc", "AWS_SECRET_ACCESS_KEY")]
    [InlineData("s3://bucket?endpoint=ftp://host", "https://host")]
    [InlineData("s3://bucket?endpoint=https://user@host", "https://host")]
    [InlineData("s3://bucket?endpoint=https://host/path", "https://host")]
    [InlineData("s3://bucket?lock=governance", "lock-days")]
    [InlineData("s3://bucket?lock-days=30", "lock=governance")]
    [InlineData("s3://bucket?lock=forever&lock-days=30", "governance, compliance")]
    [InlineData("s3://bucket?lock=governance&lock-days=0", "from 1 to 3650")]
    [InlineData("s3://bucket?sse=customer", "sse-customer-file")]
    [InlineData("s3://bucket?sse=AES256&sse-kms-id=x", "sse=aws:kms")]
    [InlineData("s3://bucket?sse=aes256", "AES256")]
    [InlineData("s3://bucket?storage-class=cold", "STANDARD_IA")]
    [InlineData("s3://bucket?style=host", "path, virtual")]
    public void WhatDoesNotFitIsRefusedWithWhatToDo(string url, string told)
    {
        BackupIQException refusal = Should.Throw<BackupIQException>(() => Parse(url));
        refusal.Code.ShouldBe(ErrorCodes.Usage);
        (refusal.Message + refusal.Guidance).ShouldContain(told);
    }

    [Fact]
    public void ClassesFromWhichObjectsHaveToBeRestoredSayHowLongThatTakes()
    {
        Parse("s3://bucket?storage-class=GLACIER_IR").Archive.ShouldBeNull();
        Parse("s3://bucket?storage-class=GLACIER").Archive.ShouldNotBeNull().Takes[RecallPriority.Expedited].ShouldBe(TimeSpan.FromMinutes(5));
        Parse("s3://bucket?storage-class=DEEP_ARCHIVE").Archive.ShouldNotBeNull().Takes.Keys.ShouldBe([RecallPriority.Standard, RecallPriority.Bulk]);
    }

    [Fact]
    public void ACustomersKeyIsAFileOf32BytesOrTheirBase64()
    {
        using ScratchFolder scratch = new();
        string file = Path.Combine(scratch.Path, "key");
        byte[] key = RandomNumberGenerator.GetBytes(32);
        File.WriteAllBytes(file, key);
        Parse($"s3://bucket?sse=customer&sse-customer-file={file}").Encryption.Name.ShouldBe("customer");
        File.WriteAllText(file, Convert.ToBase64String(key) + "\n");
        Parse($"s3://bucket?sse=customer&sse-customer-file={file}").Encryption.IsAsked.ShouldBeTrue();
        foreach (string other in new[] { "", "short", Convert.ToBase64String(key[..31]), Convert.ToBase64String([.. key, 1]), new string('!', 44) })
        {
            File.WriteAllText(file, other);
            Should.Throw<BackupIQException>(() => Parse($"s3://bucket?sse=customer&sse-customer-file={file}")).Code.ShouldBe(ErrorCodes.SecretUnavailable, other);
        }

        Should.Throw<BackupIQException>(() => Parse($"s3://bucket?sse=customer&sse-customer-file={file}.absent")).Code.ShouldBe(ErrorCodes.SecretUnavailable);
    }

    private static S3Settings Parse(string url) => S3Settings.Parse(StorageUrl.Parse(url), Layout);
}
