using System.Xml.Linq;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Architecture;

/// <summary>The arrows between the rooms (docs/architecture.md): the one structural gate of the project.</summary>
public sealed class LayeringTests
{
    private const string Primitives = "BackupIQ.Primitives";

    /// <summary>Which project may reference which; everyone sees Primitives. A project that is not named here fails.</summary>
    private static readonly Dictionary<string, string[]> Arrows = new(StringComparer.Ordinal)
    {
        [Primitives] = [],
        ["BackupIQ.Storage"] = [],
        ["BackupIQ.Storage.Remote"] = ["BackupIQ.Storage"],
        ["BackupIQ.Repository"] = ["BackupIQ.Storage"],
        ["BackupIQ.Keys.Remote"] = ["BackupIQ.Storage", "BackupIQ.Storage.Remote", "BackupIQ.Repository"],
        ["BackupIQ.Engine"] = ["BackupIQ.Repository"],
        ["BackupIQ.Sources"] = ["BackupIQ.Engine"],
        ["BackupIQ.Insights"] = ["BackupIQ.Engine"],
        ["BackupIQ.Jobs"] =
        [
            "BackupIQ.Storage", "BackupIQ.Storage.Remote", "BackupIQ.Repository", "BackupIQ.Keys.Remote", "BackupIQ.Engine",
            "BackupIQ.Sources", "BackupIQ.Insights",
        ],
        ["BackupIQ.Server"] = ["BackupIQ.Jobs"],
        ["BackupIQ.Cli"] = ["BackupIQ.Server", "BackupIQ.Jobs"],
    };

    [Fact]
    public void ProjectsReferenceOnlyWhatTheArrowsAllow()
    {
        Dictionary<string, string[]> projects = SourceTree.ProjectReferences();

        projects.ShouldContainKey(Primitives);
        projects.Count.ShouldBeGreaterThan(5);
        Violations(projects).ShouldBeEmpty();
    }

    [Theory]
    [InlineData("BackupIQ.Storage", "BackupIQ.Repository")]
    [InlineData("BackupIQ.Engine", "BackupIQ.Storage")]
    [InlineData("BackupIQ.Engine", "BackupIQ.Sources")]
    [InlineData("BackupIQ.Primitives", "BackupIQ.Storage")]
    [InlineData("BackupIQ.Cli", "BackupIQ.Engine")]
    [InlineData("BackupIQ.Common", "BackupIQ.Primitives")]
    public void APlantedEdgeIsDetected(string from, string to)
    {
        Dictionary<string, string[]> projects = SourceTree.ProjectReferences();
        projects[from] = [.. projects.GetValueOrDefault(from, []), to];

        Violations(projects).ShouldHaveSingleItem().ShouldContain(from);
    }

    [Fact]
    public void InternalsAreOpenToTestsAndBenchmarksOnly()
    {
        // A friend assembly under src/ would be an arrow that no ProjectReference shows.
        string[] friends = SourceTree.SourceProjects()
            .SelectMany(file => XDocument.Load(file).Descendants("InternalsVisibleTo"))
            .Select(element => element.Attribute("Include")?.Value ?? "")
            .Distinct(StringComparer.Ordinal)
            .ToArray();

        friends.ShouldBeSubsetOf(["BackupIQ.Tests", "BackupIQ.IntegrationTests", "BackupIQ.Testing", "BackupIQ.Benchmarks"]);
    }

    [Fact]
    public void ReferencesAreNotTransitive()
    {
        // Without this property a project would see what its references reference, and the arrows would say nothing.
        XDocument properties = XDocument.Load(Path.Combine(SourceTree.Root, "Directory.Build.props"));

        properties.Descendants("DisableTransitiveProjectReferences").ShouldHaveSingleItem().Value.ShouldBe("true");
    }

    private static List<string> Violations(Dictionary<string, string[]> projects)
    {
        List<string> found = [];
        foreach ((string project, string[] references) in projects)
        {
            if (!Arrows.TryGetValue(project, out string[]? allowed))
            {
                found.Add($"{project} is in no room of docs/architecture.md.");
                continue;
            }

            found.AddRange(references
                .Where(reference => reference != Primitives && !allowed.Contains(reference, StringComparer.Ordinal))
                .Select(reference => $"{project} must not reference {reference}."));
        }

        return found;
    }
}
