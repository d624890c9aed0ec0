namespace BackupIQ.Storage.Remote.Azure;

/// <summary>Who asks. One instance serves all requests at once.</summary>
internal interface IAzureCredential
{
    /// <summary>Signs a request that is complete but for that. A request is signed once: a second try is a new request.</summary>
    /// <param name="request">The request, with all its headers.</param>
    /// <param name="http">For who has to fetch a token first.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="StorageException">No token is to be had.</exception>
    ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken);

    /// <summary>The account's key, which signs addresses for others, too; null: it is not in our hands.</summary>
    ValueTask<SharedKeyCredential?> FindKeyAsync(CancellationToken cancellationToken) => ValueTask.FromResult<SharedKeyCredential?>(null);

    /// <summary>Whether it is an identity, to which the service gives keys that sign addresses with its rights.</summary>
    bool IsIdentity => false;

    /// <summary>Which of several secrets signs now, one after the other; always 0 where there is but one.</summary>
    int Generation => 0;

    /// <summary>What signed was refused: looks for another. False: there is none.</summary>
    /// <param name="generation">What signed.</param>
    /// <param name="cancellationToken">Stops.</param>
    ValueTask<bool> RenewAsync(int generation, CancellationToken cancellationToken) => ValueTask.FromResult(false);
}

/// <summary>A shared access signature: it is part of every address.</summary>
internal sealed class SasCredential(string token) : IAzureCredential
{
    private readonly string _token = token.TrimStart('?');

    /// <inheritdoc/>
    public ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken)
    {
        UriBuilder address = new(request.RequestUri!);
        address.Query = address.Query.Length > 1 ? $"{address.Query[1..]}&{_token}" : _token;
        request.RequestUri = address.Uri;
        return ValueTask.CompletedTask;
    }
}
