using System.Text.RegularExpressions;
using System.Xml.Linq;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Architecture;

/// <summary>The project's text speaks of the product: no machine's own paths, no private package registries, no secrets in addresses.</summary>
public sealed partial class TextHygieneTests
{
    [Fact]
    public void NoFileNamesAPathOrRegistryOfTheMachineItWasMadeOn()
    {
        List<string> found = [];
        int files = 0;
        foreach (string file in SourceTree.TextFiles())
        {
            files++;
            int number = 0;
            foreach (string line in File.ReadLines(file))
            {
                number++;
                if (Offence(line) is { } offence)
                {
                    found.Add($"{Path.GetRelativePath(SourceTree.Root, file)}:{number}: {offence}");
                }
            }
        }

        files.ShouldBeGreaterThan(20);
        found.ShouldBeEmpty();
    }

    [Fact]
    public void PackageSourcesAreLeftToTheMachine()
    {
        string[] configurations = [.. SourceTree.TextFiles().Where(file => Path.GetFileName(file).Equals("nuget.config", StringComparison.OrdinalIgnoreCase))];

        configurations.SelectMany(file => XDocument.Load(file).Descendants("packageSources")).ShouldBeEmpty();
    }

    // The samples are put together here, so that this file itself stays clean.
    [Theory]
    [InlineData("see /wor" + "k/main/x")]
    [InlineData("'/wor" + "k/'")]
    [InlineData("https://artif" + "actory.example/api/nuget")]
    [InlineData("http://pack" + "ages.corp.internal:8081/nuget")]
    [InlineData("https://us" + "er:secret@example.org/x")]
    public void AnOffenceIsDetected(string line) => Offence(line).ShouldNotBeNull();

    [Theory]
    [InlineData("bench/work/corpus")]
    [InlineData("$HERE/work/corpus")]
    [InlineData("https://registry.npmjs.org/react/-/react-1.0.0.tgz")]
    [InlineData("https://learn.microsoft.com/dotnet")]
    public void WhatIsAllowedPasses(string line) => Offence(line).ShouldBeNull();

    private static string? Offence(string line)
    {
        Match match = MachinePath().Match(line);
        if (!match.Success)
        {
            match = PrivateRegistry().Match(line);
        }

        if (!match.Success)
        {
            match = SecretInAddress().Match(line);
        }

        return match.Success ? match.Value : null;
    }

    [GeneratedRegex(@"(?<![\w.})])/work/", RegexOptions.CultureInvariant)]
    private static partial Regex MachinePath();

    [GeneratedRegex(@"https?://(?!registry\.npmjs\.org)(?:[\w.-]*\.)?(?:artifactory|nexus|registry|packages|proxy|mirror)[\w-]*\.[\w.-]+(?::\d+)?/", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase)]
    private static partial Regex PrivateRegistry();

    [GeneratedRegex(@"https?://[^\s/:@""'{}<>$]+:[^\s/:@""'{}<>$]+@", RegexOptions.CultureInvariant)]
    private static partial Regex SecretInAddress();
}
