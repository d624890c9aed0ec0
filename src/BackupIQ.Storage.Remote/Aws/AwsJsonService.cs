using System.Net.Http.Headers;
using System.Text.Json;
using Amazon;
using Amazon.Runtime;
using Amazon.Runtime.CredentialManagement;
using Amazon.Runtime.Credentials;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Aws;

/// <summary>
/// A service of Amazon's that is asked by JSON: KMS, Secrets Manager. Credentials are found as Amazon's SDK finds them: variables, profile, web identity,
/// container, machine. Thread-safe.
/// </summary>
public sealed class AwsJsonService : IDisposable
{
    private const string CredentialsCure =
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/credentials (AWS_PROFILE, or profile=NAME in --kms).";

    private readonly string _name;
    private readonly string _target;
    private readonly Uri _endpoint;
    private readonly string _region;
    private readonly string? _profile;
    private readonly JsonService _service;
    private readonly TimeProvider _time;

    private AwsJsonService(string name, string target, Uri endpoint, string region, string? profile, JsonService service, TimeProvider time)
    {
        _name = name;
        _target = target;
        _endpoint = endpoint;
        _region = region;
        _profile = profile;
        _service = service;
        _time = time;
    }

    /// <summary>Sets a client up; nothing is sent yet.</summary>
    /// <param name="name">As Amazon calls it in hosts and signatures: <c>kms</c>.</param>
    /// <param name="target">As requests call it: <c>TrentService</c>.</param>
    /// <param name="arn">What may be an ARN, which tells the region.</param>
    /// <param name="url">Its options endpoint, region, profile, ca and insecure; null: what the environment says.</param>
    /// <param name="environment">Reads a variable.</param>
    /// <param name="time">For signatures.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: no region is known; plain HTTP to another machine.</exception>
    public static AwsJsonService Open(string name, string target, string arn, StorageUrl? url, Func<string, string?> environment, TimeProvider time)
    {
        string? fromArn = arn.StartsWith("arn:", StringComparison.Ordinal) && arn.Split(':') is [_, _, _, { Length: > 0 } part, ..] ? part : null;
        string region = fromArn ?? url?.Text("region") ?? NotEmpty(environment("AWS_REGION")) ?? NotEmpty(environment("AWS_DEFAULT_REGION")) ?? FallbackRegionFactory.GetRegionEndpoint()?.SystemName
            ?? throw new BackupIQException(ErrorCodes.Usage, $"The region of the key or secret '{arn}' is not known", "Name it by its ARN, say region=REGION in --kms, or set AWS_REGION.");
        if (region.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789-"))
        {
            throw new BackupIQException(ErrorCodes.Usage, "The region is none", "Such as eu-central-1.");
        }

        string variable = "AWS_ENDPOINT_URL_" + (name == "kms" ? "KMS" : "SECRETS_MANAGER");
        Uri endpoint = (url?.Text("endpoint") ?? NotEmpty(environment(variable)) ?? NotEmpty(environment("AWS_ENDPOINT_URL"))) is { } given
            ? HttpTransport.ParseEndpoint(given)
            : new Uri($"https://{name}.{region}.{RegionEndpoint.GetBySystemName(region).PartitionDnsSuffix}");
        JsonService service = new(HttpTransport.Create(endpoint, url?.Flag("insecure") ?? false, url?.Text("ca") ?? NotEmpty(environment("AWS_CA_BUNDLE"))), time);
        return new AwsJsonService(name, target, endpoint, region, url?.Text("profile"), service, time);
    }

    /// <summary>Calls an operation and returns the answer, but for what means wrong credentials or no rights. The caller disposes it.</summary>
    /// <exception cref="BackupIQException"><c>KeyServiceAuthentication</c>, <c>Authorization</c>, <c>KeyService</c>.</exception>
    public async Task<JsonAnswer> CallAsync(string operation, Action<Utf8JsonWriter> body, string what, CancellationToken cancellationToken)
    {
        JsonAnswer answer = await _service.SendAsync(
            what, (_, stop) => ComposeAsync(operation, body, what, stop), cancellationToken, static answer => ErrorOf(answer) is "ThrottlingException" or "RequestLimitExceeded").ConfigureAwait(false);
        if (Refusal(answer, operation, what) is not { } refused)
        {
            return answer;
        }

        answer.Dispose();
        throw refused;
    }

    /// <summary>Amazon's word for what went wrong, without its namespace; empty for a success.</summary>
    public static string ErrorOf(JsonAnswer answer)
    {
        string type = answer.IsSuccess ? "" : answer.Text("__type") ?? "";
        type = type[(type.LastIndexOf('#') + 1)..];
        return type.Length <= 80 && type.All(char.IsAsciiLetterOrDigit) ? type : "";
    }

    /// <inheritdoc/>
    public void Dispose() => _service.Dispose();

    private BackupIQException? Refusal(JsonAnswer answer, string operation, string what)
    {
        string said = answer.Text("message") ?? answer.Text("Message") ?? "";
        BackupIQException? refused = ErrorOf(answer) switch
        {
            "InvalidSignatureException" or "SignatureDoesNotMatch" or "RequestExpired" when said.Contains("Signature expired", StringComparison.Ordinal) || said.Contains("not yet current", StringComparison.Ordinal) =>
                new(ErrorCodes.KeyServiceAuthentication, $"{what}: this machine's clock differs from Amazon's by too much", "Set this machine's clock."),
            "UnrecognizedClientException" or "InvalidClientTokenId" or "InvalidSignatureException" or "SignatureDoesNotMatch" or "IncompleteSignature" or "MissingAuthenticationToken" =>
                new(ErrorCodes.KeyServiceAuthentication, $"{what}: Amazon does not know the credentials", "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile."),
            "ExpiredTokenException" or "ExpiredToken" => new(ErrorCodes.KeyServiceAuthentication, $"{what}: the credentials have expired", "Get new ones and run again."),
            "AccessDeniedException" or "AccessDenied" => new(
                ErrorCodes.Authorization, $"{what}: Amazon does not allow it to this account", $"It needs {(_name == "kms" ? "kms" : "secretsmanager")}:{operation}; docs/keys-kms.md has the whole policy."),
            _ => null,
        };
        return refused?.With("endpoint", _endpoint.Authority);
    }

    private async ValueTask<HttpRequestMessage> ComposeAsync(string operation, Action<Utf8JsonWriter> body, string what, CancellationToken cancellationToken)
    {
        ImmutableCredentials credentials = await FindCredentialsAsync(what).ConfigureAwait(false);
        HttpContent content = JsonService.Body(body);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-amz-json-1.1");
        HttpRequestMessage request = new(HttpMethod.Post, _endpoint) { Content = content };
        request.Headers.TryAddWithoutValidation("X-Amz-Target", $"{_target}.{operation}");
        AwsSignature.Sign(
            request, await content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false), (_region, _name), credentials.AccessKey, credentials.SecretKey, credentials.Token, _time.GetUtcNow());
        return request;
    }

    private async Task<ImmutableCredentials> FindCredentialsAsync(string what)
    {
        try
        {
            AWSCredentials? found = null;
            if (_profile is { } profile && !new CredentialProfileStoreChain().TryGetAWSCredentials(profile, out found))
            {
                throw new BackupIQException(ErrorCodes.SecretUnavailable, $"{what}: there is no profile '{profile}'", "See ~/.aws/credentials and ~/.aws/config.");
            }

            found ??= await DefaultAWSCredentialsIdentityResolver.GetCredentialsAsync(null).ConfigureAwait(false);
            return await found.GetCredentialsAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is AmazonClientException or AmazonServiceException or InvalidOperationException or HttpRequestException)
        {
            throw new BackupIQException(ErrorCodes.KeyServiceAuthentication, $"{what}: no credentials for Amazon were found", CredentialsCure, e);
        }
    }

    private static string? NotEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;
}
