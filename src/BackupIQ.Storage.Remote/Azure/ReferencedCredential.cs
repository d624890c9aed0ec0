using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>An account's key or a signature that is named by reference: read when it is needed, and again where the storage does not accept it any more.</summary>
/// <param name="secret">Owned from now on.</param>
/// <param name="make">What signs with it.</param>
internal sealed class ReferencedCredential(CachedSecret secret, Func<string, IAzureCredential> make) : IAzureCredential, IDisposable
{
    private volatile Signer? _last;

    /// <inheritdoc/>
    public int Generation => _last?.Generation ?? 0;

    /// <inheritdoc/>
    public async ValueTask SignAsync(HttpRequestMessage request, HttpClient http, CancellationToken cancellationToken) =>
        await (await CurrentAsync(cancellationToken)).SignAsync(request, http, cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<SharedKeyCredential?> FindKeyAsync(CancellationToken cancellationToken) => await CurrentAsync(cancellationToken) as SharedKeyCredential;

    /// <inheritdoc/>
    public async ValueTask<bool> RenewAsync(int generation, CancellationToken cancellationToken)
    {
        // Another request may have come first; the first of all know of no generation yet.
        if (Generation > Math.Max(generation, 1))
        {
            return true;
        }

        // Or it has got the secret again, and not signed with it yet.
        using Secret refused = await secret.GetAsync(cancellationToken);
        if (_last is { } last && last.Text != Encoding.UTF8.GetString(refused.Bytes))
        {
            return true;
        }

        using Secret? renewed = await secret.RenewAsync(refused, cancellationToken);
        return renewed is not null;
    }

    /// <inheritdoc/>
    public void Dispose() => secret.Dispose();

    private async ValueTask<IAzureCredential> CurrentAsync(CancellationToken cancellationToken)
    {
        using Secret current = await secret.GetAsync(cancellationToken);
        string text = Encoding.UTF8.GetString(current.Bytes);
        Signer? last = _last;
        if (last?.Text != text)
        {
            _last = last = new Signer(text, make(text), (last?.Generation ?? 0) + 1);
        }

        return last.Credential;
    }

    private sealed record Signer(string Text, IAzureCredential Credential, int Generation)
    {
        /// <summary>Not what it holds: records are printed.</summary>
        public override string ToString() => "***";
    }
}
