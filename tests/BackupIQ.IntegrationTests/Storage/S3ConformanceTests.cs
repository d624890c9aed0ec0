using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Testing.Servers;
using BackupIQ.Testing.Storage;

[assembly: Xunit.AssemblyFixture(typeof(RadosGateway))]

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Every guarantee of a storage, on S3 as Ceph speaks it; each test in a prefix of its own.</summary>
public abstract class S3Conformance(RadosGateway gateway) : StorageConformance
{
    internal static readonly RemoteLayout Layout = new(["d/"], ["d/", "s/"]);

    private static int _prefixes;

    private string _bucket = "";
    private string _prefix = "";

    protected RadosGateway Gateway => gateway;

    /// <inheritdoc/>
    public override async ValueTask InitializeAsync()
    {
        _bucket = await gateway.MakeBucketAsync();
        _prefix = $"some/prefix{Interlocked.Increment(ref _prefixes)}";
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", RadosGateway.AccessKey);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", RadosGateway.SecretKey);
    }

    /// <inheritdoc/>
    protected override async ValueTask<IStorageBackend> ConnectAsync() =>
        await S3Backend.ConnectAsync(StorageUrl.Parse(UrlOf(_bucket, _prefix)), Layout, Limits, TimeProvider.System, CancellationToken.None);

    private protected virtual S3Limits Limits => S3Limits.Default;

    private protected virtual string UrlOf(string bucket, string prefix) => gateway.Url(bucket, prefix);
}

/// <summary>Over plain HTTP, with payloads signed.</summary>
public sealed class S3ConformanceTests(RadosGateway gateway) : S3Conformance(gateway);

/// <summary>Over TLS with an authority of one's own, where payloads are not signed.</summary>
public sealed class S3OverTlsConformanceTests(RadosGateway gateway) : S3Conformance(gateway)
{
    /// <inheritdoc/>
    private protected override string UrlOf(string bucket, string prefix) => Gateway.TlsUrl(bucket, prefix, "ca=" + Gateway.AuthorityFile);
}

/// <summary>What is larger than a little goes in parts; the race for one name is won by puts in one piece.</summary>
public sealed class S3InPartsConformanceTests(RadosGateway gateway) : S3Conformance(gateway)
{
    /// <inheritdoc/>
    private protected override S3Limits Limits => new(Whole: 256 << 10, Part: 5 << 20, PartsAtOnce: 3);
}

/// <summary>Encrypted with a customer's key, over TLS, as S3 demands.</summary>
public sealed class S3CustomerKeyConformanceTests(RadosGateway gateway) : S3Conformance(gateway)
{
    private string _key = "";

    /// <inheritdoc/>
    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        _key = Path.GetTempFileName();
        await File.WriteAllTextAsync(_key, Convert.ToBase64String(Bytes(32)) + "\n");
    }

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        File.Delete(_key);
    }

    /// <inheritdoc/>
    private protected override string UrlOf(string bucket, string prefix) =>
        Gateway.TlsUrl(bucket, prefix, "ca=" + Gateway.AuthorityFile, "sse=customer", "sse-customer-file=" + _key);
}
