using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Patterns;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources;

public sealed class PatternTests
{
    [Theory]
    [InlineData("*.o", "/a/b.o", true)]
    [InlineData("*.o", "/a.o/b", true)]
    [InlineData("*.o", "/a/b.oo", false)]
    [InlineData("/a", "/a/b/c", true)]
    [InlineData("/b", "/a/b", false)]
    [InlineData("a/b", "/x/a/b/y", true)]
    [InlineData("a/c", "/x/a/b/c", false)]
    [InlineData("a/**/c", "/x/a/b/b/c", true)]
    [InlineData("a/**/c", "/x/a/c", true)]
    [InlineData("/a/**/b/**", "/a/b", false)]
    [InlineData("/a/**/b/**", "/a/b/c", true)]
    [InlineData("**", "/a", true)]
    [InlineData("**/**/**", "/a", true)]
    [InlineData("**/**/**/**", "/a", false)]
    [InlineData("/**/a/**/b", "/a/x/a/y/b/z", true)]
    [InlineData("/**/a/**/b", "/a/x/c/y/d/z", false)]
    [InlineData("/", "/a", true)]
    [InlineData("/x/../a/./b//", "/a/b", true)]
    [InlineData("f?o", "/fäo", true)]
    [InlineData("f[a-z]o", "/fao", true)]
    [InlineData("f[^a-z]o", "/fao", false)]
    [InlineData("\\*", "/*", true)]
    [InlineData("\\*", "/a", false)]
    [InlineData("*a*b*", "/xxaxxbxx", true)]
    [InlineData("*a*b", "/xxbxxa", false)]
    public void PatternsMatchAsThoseOfRestic(string pattern, string path, bool expected) =>
        new PatternList([Utf8(pattern)]).Matches(Utf8(path)).ShouldBe(expected);

    [Fact]
    public void ManyDoubleStarsOnADeepPathTakeNoTime()
    {
        byte[] path = Utf8(string.Concat(Enumerable.Repeat("/a", 200)));
        PatternList list = new([Utf8(string.Join('/', Enumerable.Repeat("**/a", 20)) + "/b"), Utf8(string.Join('/', Enumerable.Repeat("*a*", 1)) + "/**/c")]);
        System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
        list.Matches(path).ShouldBeFalse();
        watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(5));
    }

    [Fact]
    public void ALaterPatternWithABangTakesBackWhatMatchedBefore()
    {
        PatternList list = new([Utf8("*.txt"), Utf8("!keep*"), Utf8("keep2.txt")]);
        list.Matches(Utf8("/a.txt")).ShouldBeTrue();
        list.Matches(Utf8("/keep.txt")).ShouldBeFalse();
        list.Matches(Utf8("/keep2.txt")).ShouldBeTrue();
    }

    [Fact]
    public void CaseCountsForNothingWhenAskedSo()
    {
        PatternList list = new([Utf8("*.JPG"), Utf8("GRÖSSE")], ignoreCase: true);
        list.Matches(Utf8("/a.jpg")).ShouldBeTrue();
        list.Matches(Utf8("/A.JpG")).ShouldBeTrue();
        list.Matches(Utf8("/größe")).ShouldBeFalse();
        list.Matches(Utf8("/grösse")).ShouldBeTrue();
    }

    [Fact]
    public void NamesThatAreNoTextMatchByteByByte()
    {
        PatternList list = new([[(byte)'a', (byte)'?', (byte)'c']]);
        list.Matches([(byte)'/', (byte)'a', 0xff, (byte)'c']).ShouldBeTrue();
        new PatternList([[0xff]]).Matches([(byte)'/', 0xff]).ShouldBeTrue();
        new PatternList([[0xff]]).Matches([(byte)'/', 0xfe]).ShouldBeFalse();
    }

    [Fact]
    public void FoldersThatLeadToAnAnchoredPatternMayHoldMatches()
    {
        PatternList list = new([Utf8("/a/b/*.txt")]);
        list.Matches(Utf8("/a"), out bool below).ShouldBeFalse();
        below.ShouldBeTrue();
        list.Matches(Utf8("/a/c"), out below).ShouldBeFalse();
        below.ShouldBeFalse();
        new PatternList([Utf8("x")]).Matches(Utf8("/a/c"), out below).ShouldBeFalse();
        below.ShouldBeTrue();
    }

    [Theory]
    [InlineData("[")]
    [InlineData("[]a]")]
    [InlineData("[a-]")]
    [InlineData("a/[b/c]")]
    [InlineData("\\")]
    public void AMalformedPatternIsRefused(string pattern) =>
        Should.Throw<BackupIQException>(() => new PatternList([Utf8(pattern)])).Code.ShouldBe(ErrorCodes.Usage);

    [Fact]
    public void LinesOfAnExcludeFileAreTrimmedExpandedAndFreeOfComments()
    {
        string text = "\uFEFF  *.o \r\n\n# comment\n$HOME/x\n${HOME}y$$z\n$MISSING.\na$\n${\n  #x\n\u00a0nbsp\u00a0";
        ListFiles.Patterns(Utf8(text), static name => name == "HOME" ? "/home/me" : null)
            .Select(static line => Encoding.UTF8.GetString(line))
            .ShouldBe(["*.o", "/home/me/x", "/home/mey$z", ".", "a$", "", "nbsp"]);
    }

    [Fact]
    public void ARawListEndsEachPathWithAZero()
    {
        ListFiles.Raw("a\0b\n\0"u8).Select(static line => Encoding.UTF8.GetString(line)).ShouldBe(["a", "b\n"]);
        Should.Throw<BackupIQException>(static () => ListFiles.Raw("a\0b"u8)).Code.ShouldBe(ErrorCodes.Usage);
        Should.Throw<BackupIQException>(static () => ListFiles.Raw("a\0\0"u8)).Code.ShouldBe(ErrorCodes.Usage);
    }

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);
}
