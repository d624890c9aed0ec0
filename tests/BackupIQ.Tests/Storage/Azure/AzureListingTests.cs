using System.Text;
using System.Xml;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.Azure;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Azure;

/// <summary>Listings as the Blob service gives them, and as somebody who means harm would.</summary>
public sealed class AzureListingTests
{
    /// <summary>A page of List Blobs, after the reference's example.</summary>
    public const string Page = """
        <?xml version="1.0" encoding="utf-8"?>
        <EnumerationResults ServiceEndpoint="https://myaccount.blob.core.windows.net/" ContainerName="c"><Prefix>p/</Prefix><MaxResults>5000</MaxResults>
        <Blobs><Blob><Name>p/d/00/a</Name><Deleted>false</Deleted><Properties><Creation-Time>Thu, 26 Nov 2026 01:00:00 GMT</Creation-Time><Last-Modified>Thu, 26 Nov 2026 01:00:01 GMT</Last-Modified>
        <Etag>0x8CBFF45D8A29A19</Etag><Content-Length>100</Content-Length><Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier></Properties><OrMetadata /></Blob>
        <Blob><Name>p/Not A Key</Name><Properties><Last-Modified>Thu, 26 Nov 2026 01:00:02 GMT</Last-Modified><Content-Length>5</Content-Length></Properties></Blob>
        <Blob><Name>p/s/1</Name><Properties><Last-Modified>Thu, 26 Nov 2026 01:00:03 GMT</Last-Modified><Content-Length>0</Content-Length></Properties></Blob></Blobs>
        <NextMarker>2!80!MDAw</NextMarker></EnumerationResults>
        """;

    [Fact]
    public void KeysUnderThePrefixAreReadAndOtherNamesLeftAlone()
    {
        ListingPage page = Read(Page);
        page.Objects.Select(static o => $"{o.Key} {o.Size} {o.StoredAt:ss}").ShouldBe(["d/00/a 100 01", "s/1 0 03"]);
        page.Next.ShouldBe("2!80!MDAw");
        ListingPage last = Read("<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>");
        last.Objects.ShouldBeEmpty();
        last.Next.ShouldBeNull();
    }

    [Theory]
    [InlineData("")]
    [InlineData("<html><body>Sign in</body></html>")]
    [InlineData("<EnumerationResults><Blobs><Blob>")]
    [InlineData("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><EnumerationResults>&a;</EnumerationResults>")]
    public void WhatIsNoListingIsRefused(string text) => Should.Throw<XmlException>(() => Read(text));

    private static ListingPage Read(string text) => AzureListing.Read(Encoding.UTF8.GetBytes(text), "p/");
}
