using System.Text;
using BackupIQ.Engine.Reading;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Reading;

public sealed class NameSpellingTests
{
    [Theory]
    [InlineData("plain name.txt", "plain name.txt")]
    [InlineData("größe ☃ 𝄞", "größe ☃ 𝄞")]
    [InlineData("100% sure", "100% sure")]
    [InlineData("a%20b", "a%2520b")]
    [InlineData("new\nline", "new%0Aline")]
    public void ANameThatIsTextIsSpelledAsItselfWhereThatIsPlain(string name, string spelling)
    {
        NameSpelling.Spell(Encoding.UTF8.GetBytes(name)).ShouldBe(spelling);
        NameSpelling.Read(spelling).ShouldBe(Encoding.UTF8.GetBytes(name));
    }

    [Fact]
    public void EveryNameComesBackFromItsSpelling()
    {
        // Percent signs and digits often, so that what looks like a spelling is among the names.
        Gen<byte> bytes = Gen.OneOf(Gen.Choose(0, 255).Select(static b => (byte)b), Gen.Elements("%%%25FFaf"u8.ToArray()));
        Prop.ForAll(bytes.ArrayOf().ToArbitrary(), name =>
        {
            string spelling = NameSpelling.Spell(name);
            return NameSpelling.Read(spelling).AsSpan().SequenceEqual(name) && spelling.All(static c => c >= ' ' && c != '\u007f');
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
    }
}
