using System.Net.Http.Headers;

namespace BackupIQ.Storage.Remote.WebDav;

/// <summary>
/// What is sent with each request so that the server knows who asks. It is read again from where it comes from when the server knows it no more, so
/// that a password may be changed while a run is on. Thread-safe.
/// </summary>
/// <param name="read">Reads it: null where the server wants none.</param>
internal sealed class WebDavLogin(Func<CancellationToken, Task<AuthenticationHeaderValue?>> read) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private volatile AuthenticationHeaderValue? _authorization;

    /// <summary>What to send, or null.</summary>
    public AuthenticationHeaderValue? Authorization => _authorization;

    /// <summary>Reads it again after <paramref name="rejected"/> was refused; once for all who were. False: it is still the same.</summary>
    public async Task<bool> RenewAsync(AuthenticationHeaderValue? rejected, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (Equals(_authorization, rejected))
            {
                _authorization = await read(cancellationToken).ConfigureAwait(false);
            }

            return !Equals(_authorization, rejected);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();
}
