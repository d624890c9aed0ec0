using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Secrets;

/// <summary>A secret that may become another while a program runs. Thread-safe.</summary>
public interface IRenewedSecret : IDisposable
{
    /// <summary>Where it comes from, for messages.</summary>
    string Origin { get; }

    /// <summary>The secret; the caller disposes its copy.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>, or who gives it out refuses or cannot be reached.</exception>
    Task<Secret> GetAsync(CancellationToken cancellationToken);

    /// <summary>Gets it again after <paramref name="rejected"/> was refused. Null: it is still the same, and to show it again would change nothing.</summary>
    /// <exception cref="BackupIQException">As <see cref="GetAsync"/>.</exception>
    Task<Secret?> RenewAsync(Secret rejected, CancellationToken cancellationToken);
}
