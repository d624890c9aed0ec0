using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using BackupIQ.IntegrationTests.Processes;

namespace BackupIQ.IntegrationTests.Library;

/// <summary>
/// The program of docs/library.md and every <c>&lt;example&gt;</c> of BackupIQ.Jobs, built as somebody else's project, in which a warning is
/// an error.
/// </summary>
public sealed partial class DocumentedProgram : IDisposable
{
    private readonly ProgramUser _builder = new();

    /// <summary>Builds both.</summary>
    public DocumentedProgram()
    {
        string project = _builder.MakeFolder("project");
        File.WriteAllText(Path.Combine(project, "Example.csproj"), ProjectText());
        File.WriteAllText(Path.Combine(project, "Program.cs"), CodeBlock().Match(Page).Groups["code"].Value);
        File.WriteAllText(Path.Combine(project, "Examples.cs"), ExamplesText());
        _builder.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        _builder.Environment["DOTNET_NOLOGO"] = "1";
        _builder.RunOther(Dotnet, "build", project, "-c", "Release", "-o", _builder.At("built"), "-v", "q", "-nodeReuse:false", "-p:UseSharedCompilation=false")
            .ShouldEndWith(0);
    }

    /// <summary>The text of the page.</summary>
    public static string Page { get; } = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "library.md"));

    /// <summary>The types with an example, and its code.</summary>
    public static IReadOnlyList<(string Type, string Code)> Examples { get; } =
    [
        .. from member in XDocument.Load(Path.Combine(AppContext.BaseDirectory, "BackupIQ.Jobs.xml")).Descendants("member")
           from code in member.Elements("example").Elements("code")
           select (member.Attribute("name")!.Value["T:".Length..], code.Value),
    ];

    internal static string Dotnet { get; } = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet"));

    internal string Assembly => _builder.At("built", "Example.dll");

    /// <inheritdoc/>
    public void Dispose() => _builder.Dispose();

    private static string ProjectText()
    {
        IEnumerable<string> references = Directory.EnumerateFiles(AppContext.BaseDirectory, "BackupIQ.*.dll")
            .Where(static file => !Path.GetFileName(file).Contains("Test", StringComparison.Ordinal) && Path.GetFileName(file) != "BackupIQ.Cli.dll")
            .Append(Path.Combine(AppContext.BaseDirectory, "YamlDotNet.dll"));
        return $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net{Environment.Version.Major}.0</TargetFramework>
                <Nullable>enable</Nullable>
                <ImplicitUsings>enable</ImplicitUsings>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <UseAppHost>false</UseAppHost>
              </PropertyGroup>
              <ItemGroup>
                {string.Join('\n', references.Select(static file => $"<Reference Include=\"{file}\" />"))}
              </ItemGroup>
            </Project>
            """;
    }

    private static string ExamplesText()
    {
        StringBuilder text = new();
        text.AppendLine("using BackupIQ.Jobs;").AppendLine("using BackupIQ.Jobs.Browsing;").AppendLine("using BackupIQ.Jobs.Postgres;").AppendLine("using BackupIQ.Primitives;");
        text.AppendLine("internal static class Examples").AppendLine("{");
        for (int i = 0; i < Examples.Count; i++)
        {
            text.AppendLine($"public static async Task Example{i}(BackupIqRepository repository, RepositorySecrets secrets, CancellationToken cancellationToken)")
                .AppendLine("{").AppendLine($"#line 1 \"{Examples[i].Type}\"").AppendLine(Examples[i].Code).AppendLine("}");
        }

        return text.AppendLine("}").ToString();
    }

    [GeneratedRegex("^```csharp\n(?<code>.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex CodeBlock();
}
