using System.Text;
using System.Xml;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Server.WebDav;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>What clients of a server send before they have proven anything, and after.</summary>
[Trait("kind", "fuzz")]
public sealed class ServerParserFuzzTests
{
    [Fact]
    public void QuestionsForProperties()
    {
        Fuzz.Run(
            [
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:propfind xmlns:D='DAV:'><D:prop><D:getetag/><x:y xmlns:x='urn:x' a='b'>text</x:y></D:prop></D:propfind>"u8.ToArray(),
                "<propfind xmlns='DAV:'><propname/></propfind>"u8.ToArray(), "<propfind xmlns='DAV:'><allprop/><include><xml:lang/></include></propfind>"u8.ToArray(),
                [0xff, 0xfe, .. Encoding.Unicode.GetBytes("<propfind xmlns='DAV:'><prop><a/></prop></propfind>")], [],
            ],
            static bytes =>
            {
                using MemoryStream body = new(bytes);
                PropfindRequest? request = PropfindRequest.ReadAsync(body, CancellationToken.None).GetAwaiter().GetResult();
                if (request is null)
                {
                    throw new BackupIQException(ErrorCodes.Usage, "Refused");
                }

                // Whatever was asked for can be said to be missing.
                using XmlWriter writer = XmlWriter.Create(Stream.Null);
                writer.WriteStartElement("D", "prop", DavProperties.Namespace);
                foreach (XmlQualifiedName name in request.Names)
                {
                    writer.WriteStartElement(name.Name, name.Namespace);
                    writer.WriteEndElement();
                }

                writer.WriteEndElement();
            },
            perByte: 1024);
    }

    [Fact]
    public async Task ADeclarationOverWhichTheReaderStumblesIsMalformed()
    {
        // Found by mutation: the reader of .NET ends with an ArgumentOutOfRangeException when it changes its encoding.
        using MemoryStream body = new(Convert.FromBase64String("PD94bWwgdmVyc2lvbj0iMS4w////////////////////LTgiPz48RDpwcm9wZmluZCB4bQ=="));
        (await PropfindRequest.ReadAsync(body, CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public void PathsOfRequests() => Fuzz.Run(
        [
            "/documents/caf%25E9/a%20b%3Fc"u8.ToArray(), "http://host:80/a/b?query#fragment"u8.ToArray(), "/a/%2e%2e%2e/.b./%01"u8.ToArray(), "*"u8.ToArray(), "http://host?a/b"u8.ToArray(),
            "/gr%C3%B6%C3%9Fe/%FF%E2%98"u8.ToArray(), "//a///b//"u8.ToArray(),
        ],
        static bytes =>
        {
            DefaultHttpContext context = new();
            context.Features.Get<IHttpRequestFeature>()!.RawTarget = Encoding.Latin1.GetString(bytes);
            _ = RequestTarget.EndsWithSlash(context);
            if (!RequestTarget.TryRead(context, out IReadOnlyList<byte[]> names))
            {
                throw new BackupIQException(ErrorCodes.Usage, "Refused");
            }

            foreach (byte[] name in names)
            {
                name.Length.ShouldBeGreaterThan(0);
                (name is [(byte)'.'] or [(byte)'.', (byte)'.']).ShouldBeFalse();
                name.AsSpan().IndexOfAny((byte)'/', (byte)0).ShouldBe(-1);
            }

            // The URL of what was found leads there again.
            context.Features.Get<IHttpRequestFeature>()!.RawTarget = RequestTarget.Write(names, isFolder: true);
            RequestTarget.TryRead(context, out IReadOnlyList<byte[]> again).ShouldBeTrue();
            again.Select(Convert.ToHexString).ShouldBe(names.Select(Convert.ToHexString));
        },
        perByte: 2048);

    [Fact]
    public void SpelledNames() => Fuzz.Run(
        [[.. "caf"u8, 0xe9], "%41%zz%"u8.ToArray(), Encoding.UTF8.GetBytes("größe ☃ 𝄞 \uFFFE\uFFFF"), "new\nline\u007f"u8.ToArray()],
        static bytes =>
        {
            string text = ViewNames.Spell(bytes);
            XmlConvert.VerifyXmlChars(text);
            ViewNames.Read(text).AsSpan().SequenceEqual(bytes).ShouldBeTrue(text);
        },
        perByte: 1024);

    [Fact]
    public void Authorizations()
    {
        using Secret token = new("a token of some length"u8);
        TokenGate gate = new(token);
        Fuzz.Run(
            ["Basic dXNlcjphIHRva2VuIG9mIHNvbWUgbGVuZ3Ro"u8.ToArray(), "Bearer a token of some length"u8.ToArray(), "Basic ====:"u8.ToArray(), "Digest a=b"u8.ToArray(), " "u8.ToArray()],
            bytes =>
            {
                string header = Encoding.Latin1.GetString(bytes);
                DefaultHttpContext context = new();
                context.Request.Headers.Authorization = header;

                // Base64 may have blanks in it.
                bool isRight = header.Contains("a token of some length", StringComparison.Ordinal)
                    || string.Concat(header.Where(static c => !char.IsWhiteSpace(c))).Contains("IHRva2VuIG9mIHNvbWUgbGVuZ3Ro", StringComparison.Ordinal);
                (gate.Admits(context) && !isRight).ShouldBeFalse(header);
            },
            perByte: 1024);
    }
}
