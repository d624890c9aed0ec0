using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys.Services;

/// <summary>
/// A key of a service whose own log is elsewhere: each use gets a line in a file here, too, durable before anybody has what came of it. Without
/// a log that can be written no key is used. Disposing it disposes the key.
/// </summary>
public sealed class LoggedKeyProvider : IKeyProvider
{
    private readonly IKeyProvider _inner;
    private readonly KeystoreLog _log;
    private readonly TimeProvider _time;

    /// <summary>Logs to the file; it and its folder are made for their owner alone where they are not there.</summary>
    public LoggedKeyProvider(IKeyProvider inner, string path, TimeProvider time)
    {
        _inner = inner;
        _log = new KeystoreLog(path, time);
        _time = time;
    }

    /// <inheritdoc/>
    public string Service => _inner.Service;

    /// <inheritdoc/>
    public string Key => _inner.Key;

    /// <inheritdoc/>
    public Task<KeyState> DescribeAsync(CancellationToken cancellationToken) => _inner.DescribeAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<GeneratedKey> GenerateAsync(KeyContext context, CancellationToken cancellationToken) =>
        UseAsync("generate", context, () => _inner.GenerateAsync(context, cancellationToken), cancellationToken);

    /// <inheritdoc/>
    public Task<byte[]> WrapAsync(Secret plain, KeyContext context, CancellationToken cancellationToken) =>
        UseAsync("wrap", context, () => _inner.WrapAsync(plain, context, cancellationToken), cancellationToken);

    /// <inheritdoc/>
    public Task<Secret> UnwrapAsync(byte[] wrapped, KeyContext context, CancellationToken cancellationToken) =>
        UseAsync("unwrap", context, () => _inner.UnwrapAsync(wrapped, context, cancellationToken), cancellationToken);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _inner.DisposeAsync();

    private async Task<T> UseAsync<T>(string operation, KeyContext context, Func<Task<T>> use, CancellationToken cancellationToken)
    {
        T result;
        try
        {
            result = await use().ConfigureAwait(false);
        }
        catch (BackupIQException e)
        {
            await AddAsync(operation, e.Code.Name, context, CancellationToken.None).ConfigureAwait(false);
            throw;
        }

        try
        {
            await AddAsync(operation, null, context, cancellationToken).ConfigureAwait(false);
            return result;
        }
        catch
        {
            (result as IDisposable)?.Dispose();
            throw;
        }
    }

    private async Task AddAsync(string operation, string? reason, KeyContext context, CancellationToken cancellationToken)
    {
        try
        {
            string folder = Path.GetDirectoryName(_log.Path) ?? "/";
            if (OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(folder);
            }
            else
            {
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            await using FileStream held = await KeystoreLock.TakeAsync(_log.Path, _time, cancellationToken).ConfigureAwait(false);
            _log.Add(operation, reason, Key, null, context, Service);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.KeyService, "The log of key uses cannot be written, and no key is used without a line in it", "Check the file and the folder around it.", e)
                .With("file", _log.Path).With("problem", e.Message);
        }
    }
}
