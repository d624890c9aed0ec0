using Amazon;
using Amazon.Runtime;
using Amazon.S3;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>The SDK's client for one bucket, set up so that it does nothing behind our back: no retries, no clock correction, checksums of ours only.</summary>
internal sealed class S3Connection : IDisposable
{
    /// <summary>Nothing moved for so long: the server or the line hangs. Long enough for a store that is busy with others.</summary>
    private static readonly TimeSpan Stalled = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Of that time: given up here before the stack around cancels the whole put, what is left of one in parts can be taken up.
    /// </summary>
    private const double Earlier = 0.95;

    /// <summary>Putting many parts together takes a server its time.</summary>
    private static readonly TimeSpan StalledAssembly = TimeSpan.FromMinutes(10);

    private readonly HttpClient _http;
    private readonly S3ReferencedCredentials? _referenced;
    private readonly TimeSpan _stalled;

    private S3Connection(S3Settings settings, AmazonS3Client client, S3ReferencedCredentials? referenced, HttpClient http, Uri endpoint, TimeProvider time)
    {
        _referenced = referenced;
        Settings = settings;
        Client = client;
        _http = http;
        IsEncrypted = endpoint.Scheme == Uri.UriSchemeHttps;
        Time = time;
        _stalled = (HttpTransport.SilenceOf(settings.Url) ?? Stalled) * Earlier;
    }

    public S3Settings Settings { get; }

    public AmazonS3Client Client { get; }

    public TimeProvider Time { get; }

    /// <summary>Over TLS the payload need not be signed, too: its Content-MD5 is.</summary>
    public bool IsEncrypted { get; }

    public RequestPayer? Payer => Settings.RequesterPays ? RequestPayer.Requester : null;

    /// <summary>Sets the client up; nothing is sent yet.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: no region is known; plain HTTP to another machine; or no such profile.</exception>
    public static S3Connection Open(S3Settings settings, TimeProvider time)
    {
        AmazonS3Config config = new()
        {
            ForcePathStyle = settings.UsesPathStyle,
            MaxErrorRetry = 0,
            MaxStaleConnectionRetries = 0,
            DisableClockSkewCorrection = true,
            DisableLogging = true,
            Timeout = Timeout.InfiniteTimeSpan,

            // Not every server knows the SDK's newer checksums (Ceph refuses them); Content-MD5 is known by all, and the ETag is compared.
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        };
        if (settings.Profile is { } profile)
        {
            config.Profile = new Profile(profile);
        }

        Uri endpoint = Locate(settings, config);
        S3ReferencedCredentials? referenced = S3ReferencedCredentials.Find(settings.Url, Environment.GetEnvironmentVariable, time);
        HttpClient http = new(new ImmediateBody(HttpTransport.Create(endpoint, settings.Url))) { Timeout = Timeout.InfiniteTimeSpan };
        config.HttpClientFactory = new OwnHttp(http);
        try
        {
            AmazonS3Client client = referenced is null ? new AmazonS3Client(config) : new AmazonS3Client(referenced, config);
            return new S3Connection(settings, client, referenced, http, endpoint, time);
        }
        catch (Exception e) when (S3Failure.Of(e, "", settings, time) is not null)
        {
            http.Dispose();
            throw S3Failure.Of(e, "The storage could not be opened", settings, time)!;
        }
    }

    /// <summary>
    /// Sends one request and says what its failure means. <paramref name="send"/> gets the patience that it renews as it makes progress; it is called once
    /// more where credentials by reference were refused and are others by now.
    /// </summary>
    public async Task<T> CallAsync<T>(string what, Func<Patience, Task<T>> send, CancellationToken cancellationToken, bool isAssembly = false)
    {
        if (_referenced is null)
        {
            return await CallOnceAsync(what, send, isAssembly, cancellationToken);
        }

        ImmutableCredentials used = await _referenced.ReadAsync(cancellationToken);
        try
        {
            return await CallOnceAsync(what, send, isAssembly, cancellationToken);
        }
        catch (StorageException e) when (S3Failure.IsUnknownKey(e))
        {
            if (!await _referenced.RenewAsync(used, cancellationToken))
            {
                throw;
            }

            await _referenced.ReadAsync(cancellationToken);
            return await CallOnceAsync(what, send, isAssembly, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Client.Dispose();
        _http.Dispose();
        _referenced?.Dispose();
    }

    private async Task<T> CallOnceAsync<T>(string what, Func<Patience, Task<T>> send, bool isAssembly, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using Patience patience = new(isAssembly ? StalledAssembly : _stalled, Time, cancellationToken);
        try
        {
            return await send(patience);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && S3Failure.Of(e, what, Settings, Time) is not null)
        {
            throw S3Failure.Of(e, what, Settings, Time)!;
        }
        catch (Exception e) when (cancellationToken.IsCancellationRequested && e is not OperationCanceledException)
        {
            throw new OperationCanceledException("The request was cancelled.", e, cancellationToken);
        }
    }

    private static Uri Locate(S3Settings settings, AmazonS3Config config)
    {
        if (settings.Endpoint is { } endpoint)
        {
            config.ServiceURL = endpoint.ToString();
            config.AuthenticationRegion = settings.Region ?? FallbackRegionFactory.GetRegionEndpoint()?.SystemName ?? "us-east-1";
            return endpoint;
        }

        RegionEndpoint region = (settings.Region is { } named ? RegionEndpoint.GetBySystemName(named) : FallbackRegionFactory.GetRegionEndpoint())
            ?? throw new BackupIQException(
                ErrorCodes.Usage, "The bucket's region is not known", "Say region=REGION in the URL, or set AWS_REGION; for another provider than Amazon also endpoint=https://….");
        config.RegionEndpoint = region;
        return new Uri($"https://s3.{region.SystemName}.{region.PartitionDnsSuffix}");
    }

    /// <summary>
    /// Sends bodies without asking first: after a refusal to such a question Ceph takes the next request on the connection for the body, and answers 400.
    /// </summary>
    private sealed class ImmediateBody(HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Headers.ExpectContinue = false;
            return base.SendAsync(request, cancellationToken);
        }
    }

    /// <summary>Gives the SDK the one client of this connection.</summary>
    private sealed class OwnHttp(HttpClient client) : HttpClientFactory
    {
        public override HttpClient CreateHttpClient(IClientConfig clientConfig) => client;

        public override bool UseSDKHttpClientCaching(IClientConfig clientConfig) => false;

        public override bool DisposeHttpClientsAfterUse(IClientConfig clientConfig) => false;
    }
}
