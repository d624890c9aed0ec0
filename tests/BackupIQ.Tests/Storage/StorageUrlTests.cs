using BackupIQ.Primitives;
using BackupIQ.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>Where a storage is, as people write it.</summary>
public sealed class StorageUrlTests
{
    private static readonly string[] Options = ["endpoint", "region", "lock-days"];

    [Fact]
    public void AUrlIsTakenApart()
    {
        StorageUrl url = StorageUrl.Parse("S3://bucket/some/prefix/?endpoint=http://127.0.0.1:9000&region=eu-central-1&Virtual");
        url.Scheme.ShouldBe("s3");
        url.Place.ShouldBe("bucket");
        url.Path.ShouldBe("some/prefix");
        url.Text("endpoint").ShouldBe("http://127.0.0.1:9000");
        url.Flag("virtual").ShouldBeTrue();
        url.Flag("region2").ShouldBeFalse();
        url.Show("region", "absent").ShouldBe("s3://bucket/some/prefix?region=eu-central-1");
        StorageUrl.Parse("s3://bucket").Path.ShouldBeEmpty();
        StorageUrl.Parse("s3://bucket/?region=x").Path.ShouldBeEmpty();
        StorageUrl.Parse("s3://b/gr%C3%B6%C3%9Fe").Path.ShouldBe("größe");
        StorageUrl.Parse("sftp://ann@host:22/srv").User.ShouldBe("ann");
        StorageUrl.Parse("sftp://ann@host:22/srv").ToString().ShouldBe("sftp://ann@host:22/srv");
    }

    [Theory]
    [InlineData("bucket/prefix")]
    [InlineData("://bucket")]
    [InlineData("1s3://bucket")]
    [InlineData("s3://")]
    [InlineData("s3:///prefix")]
    [InlineData("s3://bucket/a//b")]
    [InlineData("s3://bucket/a/../b")]
    [InlineData("s3://bucket/%0a")]
    [InlineData("s3://buc%00ket/a")]
    [InlineData("s3://bucket?a=1&a=2")]
    public void WhatIsNoUrlIsRefused(string text) =>
        Should.Throw<BackupIQException>(() => StorageUrl.Parse(text)).Code.ShouldBe(ErrorCodes.Usage);

    [Fact]
    public void AnUnknownOptionIsRefusedWithTheNearestThatThereIs()
    {
        BackupIQException refusal = Should.Throw<BackupIQException>(() => StorageUrl.Parse("s3://b?endpiont=x").RequireOptions(Options, "Set X."));
        refusal.Code.ShouldBe(ErrorCodes.Usage);
        refusal.Message.ShouldContain("did you mean 'endpoint'?");
        refusal.Guidance.ShouldContain("endpoint, lock-days, region");
        StorageUrl.Parse("s3://b?region=x&lock-days=3").RequireOptions(Options, "Set X.");
    }

    [Theory]
    [InlineData("s3://AKIAEXAMPLE:abc123verysecret@bucket/p")]
    [InlineData("s3://b?secret=abc123verysecret")]
    [InlineData("s3://b?secret_access_key=abc123verysecret")]
    [InlineData("s3://b?AccessKey=abc123verysecret")]
    [InlineData("s3://b?session-token=abc123verysecret")]
    [InlineData("azblob://b?sig=abc123verysecret")]
    public void ASecretInAUrlIsRefusedAndNotShown(string text)
    {
        BackupIQException refusal = Should.Throw<BackupIQException>(() => StorageUrl.Parse(text).RequireOptions(Options, "Set AWS_ACCESS_KEY_ID."));
        refusal.Code.ShouldBe(ErrorCodes.Usage);
        (refusal.Message + refusal.Guidance + string.Concat(refusal.Details.Values)).ShouldNotContain("abc123");
        if (text.Contains('?', StringComparison.Ordinal))
        {
            refusal.Guidance.ShouldContain("AWS_ACCESS_KEY_ID");
        }
    }

    [Fact]
    public void ValuesAreOfTheirKind()
    {
        StorageUrl url = StorageUrl.Parse("s3://b?n=7&flag=yes&word=standart");
        url.Number("n", 1, 10).ShouldBe(7);
        url.Number("absent", 1, 10).ShouldBeNull();
        Should.Throw<BackupIQException>(() => url.Number("n", 8, 10)).Guidance.ShouldContain("from 8 to 10");
        Should.Throw<BackupIQException>(() => url.Number("flag", 1, 10)).Code.ShouldBe(ErrorCodes.Usage);
        Should.Throw<BackupIQException>(() => url.Flag("flag")).Guidance.ShouldContain("true, false");
        Should.Throw<BackupIQException>(() => url.Choice("word", ["standard", "cold"])).Message.ShouldContain("did you mean 'standard'?");
    }
}
