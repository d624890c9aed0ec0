using System.Collections.Concurrent;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Mirroring;

/// <summary>One mirror of a storage while that is open: connected to when it is first needed.</summary>
internal sealed class Mirror(MirrorSource source) : IAsyncDisposable
{
    private readonly SemaphoreSlim _connecting = new(1);
    private bool _isTried;

    /// <summary>Where it is.</summary>
    public string Name => source.Name;

    /// <summary>The storage; null: it was not needed yet, or cannot be used.</summary>
    public IStorageBackend? Storage { get; private set; }

    /// <summary>Why it lacks what was put, or may lack it; null: nothing is known against it.</summary>
    public string? Problem { get; set; }

    /// <summary>Whether there is something on it, or is about to be, that can be mirrored or read.</summary>
    public bool IsKnown { get; private set; }

    /// <summary>What it holds; null: nothing that has a name.</summary>
    public string? Identity { get; private set; }

    /// <summary>Whether it was tried in vain to bring it in step since something was put that it has to have.</summary>
    public bool HasRefused { get; set; }

    /// <summary>Names that the storage has and that listings may not show yet.</summary>
    public ConcurrentDictionary<string, bool> Pending { get; } = new(StringComparer.Ordinal);

    /// <summary>The storage's index as it was when the mirror last had all of it; null: it was not compared yet.</summary>
    public HashSet<string>? Index { get; set; }

    /// <summary>One comparison at a time.</summary>
    public SemaphoreSlim Following { get; } = new(1);

    /// <summary>Connects, the first time, and looks what it holds. Null: it cannot be reached.</summary>
    /// <exception cref="BackupIQException">It cannot be a mirror: its URL is wrong, or it is to be empty and is not.</exception>
    public async Task<IStorageBackend?> ConnectAsync(MirrorOptions options, CancellationToken cancellationToken)
    {
        await _connecting.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_isTried)
            {
                return Storage;
            }

            Storage = await source.ConnectAsync(cancellationToken).ConfigureAwait(false);
            await IdentifyAsync(Storage, options, cancellationToken).ConfigureAwait(false);
            _isTried = true;
        }
        catch (BackupIQException e) when (e.Code != ErrorCodes.Usage && e.Code != ErrorCodes.Configuration && e.Code != ErrorCodes.RepositoryExists)
        {
            _isTried = true;
            Problem = $"it cannot be used: {e.Message.TrimEnd('.')}";
            if (Storage is not null)
            {
                await Storage.DisposeAsync().ConfigureAwait(false);
                Storage = null;
            }
        }
        finally
        {
            _connecting.Release();
        }

        return Storage;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _connecting.Dispose();
        Following.Dispose();
        if (Storage is not null)
        {
            await Storage.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async Task IdentifyAsync(IStorageBackend storage, MirrorOptions options, CancellationToken cancellationToken)
    {
        if (options.IsNew)
        {
            await foreach (StoredObject item in storage.ListAsync("", cancellationToken).ConfigureAwait(false))
            {
                throw new BackupIQException(ErrorCodes.RepositoryExists, $"The mirror {Name} is not empty: it has {item.Key}", "Choose an empty place.").With("mirror", Name);
            }

            IsKnown = true;
            return;
        }

        Identity = await options.Identify(storage, cancellationToken).ConfigureAwait(false);
        IsKnown = Identity is not null;
        Problem = IsKnown ? null : "it holds no repository yet";
    }
}
