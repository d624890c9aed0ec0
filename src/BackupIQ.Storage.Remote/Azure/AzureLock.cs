using System.Globalization;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>A blob's immutability policy, in the headers of requests and answers (Microsoft's reference of the Blob service: Set Blob Immutability Policy).</summary>
/// <param name="Until">Before this nobody deletes or changes the blob.</param>
/// <param name="Mode">Whether the time may be shortened.</param>
internal sealed record AzureLock(DateTimeOffset Until, AzureImmutability Mode)
{
    private const string UntilHeader = "x-ms-immutability-policy-until-date";
    private const string ModeHeader = "x-ms-immutability-policy-mode";

    /// <summary>What an answer says; null: there is no lock.</summary>
    public static AzureLock? Read(HttpResponseMessage answer) =>
        answer.Headers.TryGetValues(UntilHeader, out IEnumerable<string>? dates)
        && DateTimeOffset.TryParseExact(dates.FirstOrDefault(), "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset until)
            ? new AzureLock(until, answer.Headers.TryGetValues(ModeHeader, out IEnumerable<string>? modes) && "locked".Equals(modes.FirstOrDefault(), StringComparison.OrdinalIgnoreCase)
                ? AzureImmutability.Locked
                : AzureImmutability.Unlocked)
            : null;

    /// <summary>Asks for a lock.</summary>
    public static void Ask(HttpRequestMessage request, DateTimeOffset until, AzureImmutability mode)
    {
        request.Headers.Add(UntilHeader, until.ToString("r", CultureInfo.InvariantCulture));
        request.Headers.Add(ModeHeader, mode == AzureImmutability.Locked ? "locked" : "unlocked");
    }
}
