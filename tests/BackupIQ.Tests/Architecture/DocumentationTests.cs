using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Architecture;

/// <summary>Public types and methods say in XML documentation what they promise.</summary>
public sealed partial class DocumentationTests
{
    [Fact]
    public void EveryPublicTypeAndMethodHasASummary()
    {
        List<string> undocumented = [];
        string[] projects = [.. SourceTree.SourceProjects().Select(AssemblyName)];
        foreach (string name in projects)
        {
            string assemblyFile = Path.Combine(AppContext.BaseDirectory, name + ".dll");
            string documentationFile = Path.ChangeExtension(assemblyFile, ".xml");
            File.Exists(documentationFile).ShouldBeTrue($"{name} has no documentation file beside the tests");
            Dictionary<string, int> documented = Documented(XDocument.Load(documentationFile));
            foreach (Type type in Assembly.LoadFrom(assemblyFile).GetExportedTypes())
            {
                undocumented.AddRange(Undocumented(type, documented));
            }
        }

        projects.ShouldNotBeEmpty();
        undocumented.ShouldBeEmpty();
    }

    [Fact]
    public void AMissingSummaryIsDetected()
    {
        XDocument documentation = XDocument.Parse(
            $"""
            <doc><members>
              <member name="T:{typeof(Sample).FullName!.Replace('+', '.')}"><summary>A sample.</summary></member>
              <member name="M:{typeof(Sample).FullName!.Replace('+', '.')}.Told"><summary>Told.</summary></member>
              <member name="M:{typeof(Sample).FullName!.Replace('+', '.')}.Empty"><summary> </summary></member>
            </members></doc>
            """);

        string[] found = [.. Undocumented(typeof(Sample), Documented(documentation))];

        found.Length.ShouldBe(2);
        found.ShouldContain(name => name.EndsWith("Sample.Empty", StringComparison.Ordinal));
        found.ShouldContain(name => name.EndsWith("Sample.Untold", StringComparison.Ordinal));
    }

    [Fact]
    public void EveryTestThatThePromisesNameIsThere()
    {
        HashSet<string> there = [.. Directory.EnumerateFiles(Path.Combine(SourceTree.Root, "tests"), "*", SearchOption.AllDirectories).Select(static file => Path.GetFileName(file))];
        string[] named = [.. TestName().Matches(File.ReadAllText(Path.Combine(SourceTree.Root, "docs/promises.md"))).Select(static match => match.Value)];
        named.Length.ShouldBeGreaterThan(50);
        named.Where(name => !there.Contains(name) && !there.Contains(name + ".cs")).ShouldBeEmpty();
    }

    [GeneratedRegex(@"\b\w+Tests\b|\b[ab]\d\d\w?_\w+\.\w+", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex TestName();

    private static string AssemblyName(string projectFile) =>
        XDocument.Load(projectFile).Descendants("AssemblyName").FirstOrDefault()?.Value ?? Path.GetFileNameWithoutExtension(projectFile);

    /// <summary>How many documented members have a name; overloads share one, because their parameter lists are cut off.</summary>
    private static Dictionary<string, int> Documented(XDocument documentation)
    {
        Dictionary<string, int> documented = new(StringComparer.Ordinal);
        foreach (XElement member in documentation.Descendants("member"))
        {
            if (member.Element("inheritdoc") is null && string.IsNullOrWhiteSpace(member.Element("summary")?.Value))
            {
                continue;
            }

            string name = member.Attribute("name")!.Value;
            int end = name.IndexOf('(', StringComparison.Ordinal);
            name = end < 0 ? name : name[..end];
            int generic = name.StartsWith("M:", StringComparison.Ordinal) ? name.IndexOf("``", StringComparison.Ordinal) : -1;
            name = generic < 0 ? name : name[..generic];
            documented[name] = documented.GetValueOrDefault(name) + 1;
        }

        return documented;
    }

    private static IEnumerable<string> Undocumented(Type type, Dictionary<string, int> documented)
    {
        string typeName = type.FullName!.Replace('+', '.');
        if (!documented.ContainsKey("T:" + typeName))
        {
            yield return typeName;
        }

        if (typeof(Delegate).IsAssignableFrom(type))
        {
            yield break;
        }

        HashSet<MethodInfo> implementations = type.IsInterface
            ? []
            : [.. type.GetInterfaces().SelectMany(implemented => type.GetInterfaceMap(implemented).TargetMethods)];
        IEnumerable<IGrouping<string, MethodInfo>> overloads = type
            .GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Where(method => !method.IsSpecialName
                && !method.IsDefined(typeof(CompilerGeneratedAttribute))
                && method.GetBaseDefinition() == method
                && !implementations.Contains(method))
            .GroupBy(method => method.Name, StringComparer.Ordinal);
        foreach (IGrouping<string, MethodInfo> group in overloads)
        {
            if (documented.GetValueOrDefault($"M:{typeName}.{group.Key}") < group.Count())
            {
                yield return $"{typeName}.{group.Key}";
            }
        }
    }

#pragma warning disable CA1034, CA1822, MA0038 // A public nested type with instance methods is what the detector is shown.
    public sealed class Sample
    {
        public int Told() => 1;

        public int Empty() => 2;

        public int Untold() => 3;

        public override string ToString() => "sample";
    }
#pragma warning restore CA1034, CA1822, MA0038
}
