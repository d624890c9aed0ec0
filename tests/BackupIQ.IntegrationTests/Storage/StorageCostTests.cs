using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Network;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>What the manuals say of the number of requests, counted: a first backup and a restore of a known size, all of it data that does not compress.</summary>
public sealed partial class StorageCostTests(RadosGateway gateway, AzuriteFixture azurite, GoogleStorageFixture google) : IDisposable
{
    private const long Size = 128L << 20;
    private const double Terabyte = 1e12;

    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData("s3", "s3.md")]
    [InlineData("azure", "azure.md")]
    [InlineData("gs", "google.md")]
    public async Task ATerabyteCostsAboutAsManyRequestsAsTheManualSays(string kind, string page)
    {
        Dictionary<string, int> seen = new(StringComparer.Ordinal);
        IPEndPoint server = kind switch
        {
            "s3" => await GatewayAsync(),
            "azure" => new IPEndPoint(IPAddress.Loopback, (await azurite.GetAsync()).Port),
            _ => new IPEndPoint(IPAddress.Loopback, (await google.GetAsync()).Address.Port),
        };
        await using HttpFaultProxy proxy = new(server, request =>
        {
            // Of packs of data alone: what else there is does not grow with the terabytes.
            if (Pack().IsMatch(request.Target))
            {
                lock (seen)
                {
                    string method = request.Method is "PUT" or "POST" ? "put" : request.Method == "HEAD" ? "look" : "get";
                    seen[method] = seen.GetValueOrDefault(method) + 1;
                }
            }

            return ProxyFault.None;
        });
        (string url, IReadOnlyDictionary<string, string> environment) = kind switch
        {
            "s3" => ($"s3://{await gateway.MakeBucketAsync()}/p?endpoint=http://{proxy.EndPoint}", RadosGateway.Environment),
            "azure" => ($"azblob://{await azurite.NewContainerAsync()}/p?account={Azurite.Account}&endpoint={Uri.EscapeDataString(Azurite.EndpointBy(proxy.EndPoint))}", AzuriteFixture.Environment),
            _ => (GoogleStorageFixture.UrlAt(proxy.EndPoint.ToString(), await google.NewBucketAsync(), "p"), google.Environment),
        };
        _user.Repository = url;
        foreach ((string name, string value) in environment)
        {
            _user.Environment[name] = value;
        }

        _user.WithNewRepository();
        string source = _user.MakeTree(large: (int)Size);
        _user.Backup(source);
        _user.Run("restore", $"latest:{source}", "--target", _user.At("target")).ShouldEndWith(0);

        (double puts, double gets) = Promised(page);
        PerTerabyte("put").ShouldBeInRange(puts * 0.75, puts * 1.15, string.Join(", ", seen));
        PerTerabyte("get").ShouldBeInRange(gets * 0.75, gets * 1.15, string.Join(", ", seen));
        seen.GetValueOrDefault("look").ShouldBeLessThanOrEqualTo((int)(Size >> 24), "nothing is looked up by the frame");

        double PerTerabyte(string method) => seen.GetValueOrDefault(method) * (Terabyte / Size);
    }

    // The row of the page's table: | 1 TB | puts | gets |
    private static (double Puts, double Gets) Promised(string page)
    {
        Match row = Row().Match(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, page)));
        row.Success.ShouldBeTrue($"{page} has a row with the requests of 1 TB");
        return (Number(row.Groups[1].Value), Number(row.Groups[2].Value));

        static double Number(string text) => double.Parse(text.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
    }

    private async Task<IPEndPoint> GatewayAsync()
    {
        await gateway.StartAsync();
        return new IPEndPoint(IPAddress.Loopback, gateway.Endpoint.Port);
    }

    // p/d/… in the path, or escaped in one segment of it; Google's resumable uploads, which only packs are large enough for.
    [GeneratedRegex("/(p/|p%2F)d(/|%2F)|uploadType=resumable", RegexOptions.IgnoreCase)]
    private static partial Regex Pack();

    [GeneratedRegex(@"\| 1 TB \| ([\d,]+) \| ([\d,]+) \|")]
    private static partial Regex Row();
}
