using System.Globalization;
using System.Reflection;
using BackupIQ.Primitives;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Architecture;

/// <summary>docs/errors.md lists every failure that a user can meet, as the code has it.</summary>
public sealed class ErrorDocumentationTests
{
    private static readonly string[] Lines = File.ReadAllLines(Path.Combine(SourceTree.Root, "docs", "errors.md"));

    [Fact]
    public void TheListOfCodesIsWhole()
    {
        ErrorCode[] declared = typeof(ErrorCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
            .Where(field => field.FieldType == typeof(ErrorCode))
            .Select(field => (ErrorCode)field.GetValue(null)!)
            .ToArray();

        ErrorCodes.All.ShouldBe(declared, ignoreOrder: true);
        ErrorCodes.All.Select(code => code.Name).ShouldBeUnique();
        ErrorCodes.All.Count.ShouldBeGreaterThanOrEqualTo(29);
    }

    [Fact]
    public void ErrorsPageListsEveryCodeAsTheCodeHasIt()
    {
        string[] documented = [.. Lines.Where(line => line.StartsWith("| `", StringComparison.Ordinal))];

        // On a difference: the lines that are expected stand in the message, to be pasted into docs/errors.md.
        documented.ShouldBe([.. ErrorCodes.All.Select(Row)]);
    }

    [Fact]
    public void ErrorsPageExplainsEveryExitCodeInUse()
    {
        HashSet<int> explained = [.. Lines
            .Where(line => line.StartsWith("| ", StringComparison.Ordinal))
            .Select(line => line.Split('|')[1].Trim())
            .Where(cell => int.TryParse(cell, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .Select(cell => int.Parse(cell, CultureInfo.InvariantCulture))];

        ErrorCodes.All.Select(code => code.ExitCode).Distinct().ShouldBeSubsetOf(explained);
        explained.ShouldBe([0, 1, 2, 3, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 130], ignoreOrder: true);
    }

    [Theory]
    [InlineData("Configuration")]
    [InlineData("Validation")]
    [InlineData("Authentication")]
    [InlineData("Storage")]
    [InlineData("StorageAuthentication")]
    [InlineData("StorageConnection")]
    [InlineData("Resource")]
    [InlineData("CircuitBreaker")]
    [InlineData("CircuitBreakerOpen")]
    public void TheNamesPromisedAreThere(string name) => ErrorCodes.All.ShouldContain(code => code.Name == name);

    [Fact]
    public void GuidanceIsASentenceThatNamesNobodysFiles()
    {
        foreach (ErrorCode code in ErrorCodes.All)
        {
            code.Guidance.ShouldEndWith(".", customMessage: code.Name);
            code.Guidance.ShouldNotContain("|", customMessage: code.Name);
            code.Guidance.Length.ShouldBeGreaterThan(10, code.Name);
            code.HttpStatus.ShouldBeInRange(400, 599, code.Name);
        }
    }

    private static string Row(ErrorCode code) =>
        $"| `{code.Name}` | {code.HttpStatus} | {code.ExitCode} | {(code.IsTransient ? "yes" : "no")} | {code.Guidance} |";
}
