using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>A storage could not do what was asked.</summary>
public sealed class StorageException(ErrorCode code, string message, string? guidance = null, Exception? inner = null)
    : BackupIQException(code, message, guidance, inner)
{
    /// <summary>How long the storage asks to be left alone (HTTP's Retry-After), or null where it said nothing. What retries waits at least so long.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>
    /// Of a read that broke: so many bytes at the beginning of its destination are the object's. Whoever retries goes on behind them.
    /// </summary>
    public int BytesRead { get; init; }

    /// <summary>The same failure, of a read that broke after so many bytes.</summary>
    public StorageException Broken(int bytesRead)
    {
        StorageException failure = new(Code, Message, Guidance, InnerException) { RetryAfter = RetryAfter, BytesRead = bytesRead };
        foreach ((string name, string value) in Details)
        {
            failure.With(name, value);
        }

        return failure;
    }
}
