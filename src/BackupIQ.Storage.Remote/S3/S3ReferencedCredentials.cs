using System.Text;
using Amazon.Runtime;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Secrets;

namespace BackupIQ.Storage.Remote.S3;

/// <summary>Key id, secret and token that are named by reference: read when they are needed, and again where the storage does not know them any more.</summary>
internal sealed class S3ReferencedCredentials : AWSCredentials, IDisposable
{
    /// <summary>The options of the URL: key id, secret, and a session's token, which goes with no other key.</summary>
    public static readonly IReadOnlyList<string> Options = ["key-id-from", "secret-from", "session-token-from"];

    private readonly CachedSecret[] _secrets;
    private readonly SemaphoreSlim _gate = new(1);
    private volatile ImmutableCredentials? _current;

    private S3ReferencedCredentials(CachedSecret[] secrets) => _secrets = secrets;

    /// <summary>What the URL names; null: nothing.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: half of it is missing, or a reference is none.</exception>
    public static S3ReferencedCredentials? Find(StorageUrl url, Func<string, string?> environment, TimeProvider time)
    {
        string[] given = [.. Options.Where(name => url.Text(name) is not null)];
        return given.Length == 0 ? null
            : url.Text(Options[0]) is null || url.Text(Options[1]) is null
                ? throw new BackupIQException(ErrorCodes.Usage, "Only a part of the credentials is given by reference in the s3: URL", "key-id-from and secret-from belong together; session-token-from may go with them.")
            : url.Text("profile") is not null
                ? throw new BackupIQException(ErrorCodes.Usage, "The s3: URL has both a profile and credentials by reference", "Give one of them.")
            : new S3ReferencedCredentials([.. given.Select(name => new CachedSecret(SecretReference.Parse(url.Text(name)!), environment, time))]);
    }

    /// <inheritdoc/>
    public override ImmutableCredentials GetCredentials() => _current ?? throw new InvalidOperationException("The credentials were not read before they are used.");

    /// <summary>Reads them, where they have not been read for a while. The SDK asks while it signs, and does not wait: so it is asked before each request.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>, or a store of secrets refuses or cannot be reached.</exception>
    public async ValueTask<ImmutableCredentials> ReadAsync(CancellationToken cancellationToken)
    {
        // One at a time: who read before they were got again must not put the old ones in their place afterwards.
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            string[] texts = new string[_secrets.Length];
            for (int i = 0; i < texts.Length; i++)
            {
                using Secret secret = await _secrets[i].GetAsync(cancellationToken).ConfigureAwait(false);
                texts[i] = Encoding.UTF8.GetString(secret.Bytes);
            }

            ImmutableCredentials read = new(texts[0], texts[1], texts.ElementAtOrDefault(2));
            if (_current is not { } current || !current.Equals(read))
            {
                _current = current = read;
            }

            return current;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The storage refused <paramref name="used"/>: reads them again. False: they are still the same.</summary>
    public async Task<bool> RenewAsync(ImmutableCredentials used, CancellationToken cancellationToken)
    {
        // Another request may have come first.
        if (!(await ReadAsync(cancellationToken).ConfigureAwait(false)).Equals(used))
        {
            return true;
        }

        bool isNew = false;
        foreach (CachedSecret cached in _secrets)
        {
            using Secret refused = await cached.GetAsync(cancellationToken).ConfigureAwait(false);
            using Secret? renewed = await cached.RenewAsync(refused, cancellationToken).ConfigureAwait(false);
            isNew |= renewed is not null;
        }

        // Or came in between: then what was got again here is what it had got, which is not what was refused.
        return isNew || !(await ReadAsync(cancellationToken).ConfigureAwait(false)).Equals(used);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Array.ForEach(_secrets, static secret => secret.Dispose());
        _gate.Dispose();
    }
}
