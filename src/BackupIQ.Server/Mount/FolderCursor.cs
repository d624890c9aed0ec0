using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Server.Mount;

/// <summary>
/// A folder that is open for listing: entries come one after the other, and from the start again where a reader goes back. Each has a place,
/// counted from 1, behind which the reader goes on.
/// </summary>
internal sealed class FolderCursor(RepositoryView view, ViewEntry folder) : IAsyncDisposable
{
    private IAsyncEnumerator<ViewEntry>? _entries;
    private ViewEntry? _ahead;
    private long _place;

    /// <summary>One reader at a time. Not disposed: it holds nothing, and the last reader may still be leaving.</summary>
    public SemaphoreSlim Gate { get; } = new(1, 1);

    /// <summary>The entry behind that place, without going on; null at the end.</summary>
    public async ValueTask<ViewEntry?> PeekAsync(long place, CancellationToken cancellationToken)
    {
        if (_entries is null || place < _place)
        {
            await RewindAsync(cancellationToken).ConfigureAwait(false);
        }

        while (_ahead is null || _place < place)
        {
            if (_ahead is not null)
            {
                _place++;
                _ahead = null;
                continue;
            }

            if (!await _entries!.MoveNextAsync().ConfigureAwait(false))
            {
                return null;
            }

            _ahead = _entries.Current;
        }

        return _ahead;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_entries is not null)
        {
            await _entries.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async ValueTask RewindAsync(CancellationToken cancellationToken)
    {
        if (_entries is not null)
        {
            await _entries.DisposeAsync().ConfigureAwait(false);
        }

        _entries = view.ListAsync(folder, cancellationToken).GetAsyncEnumerator(cancellationToken);
        _ahead = null;
        _place = 0;
    }
}
