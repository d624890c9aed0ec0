using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Local;

/// <summary>
/// The files that were read last, kept open so that many ranged reads of one cost one open. A handle is used for at most
/// <see cref="MaxAge"/>, so that what another process deleted is noticed and its space is freed.
/// </summary>
internal sealed class HandleCache(int capacity, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, LinkedListNode<Entry>> _byKey = new(StringComparer.Ordinal);
    private readonly LinkedList<Entry> _byUse = new();
    private bool _isDisposed;

    /// <summary>The open file of a key, held until <see cref="Release"/>; null when there is none.</summary>
    internal SafeFileHandle? Borrow(string key)
    {
        lock (_gate)
        {
            if (!_byKey.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                return null;
            }

            if (time.GetElapsedTime(node.Value.OpenedAt) > MaxAge)
            {
                Remove(node);
                return null;
            }

            _byUse.Remove(node);
            _byUse.AddFirst(node);
            Hold(node.Value.Handle);
            return node.Value.Handle;
        }
    }

    /// <summary>Takes a newly opened file over and lends it to the caller, until <see cref="Release"/>.</summary>
    internal void Add(string key, SafeFileHandle handle)
    {
        lock (_gate)
        {
            Hold(handle);
            if (_isDisposed)
            {
                handle.Dispose();
                return;
            }

            if (_byKey.TryGetValue(key, out LinkedListNode<Entry>? older))
            {
                Remove(older);
            }

            _byKey.Add(key, _byUse.AddFirst(new Entry(key, handle, time.GetTimestamp())));
            if (_byKey.Count > capacity)
            {
                Remove(_byUse.Last!);
            }
        }
    }

    /// <summary>Gives back what <see cref="Borrow"/> or <see cref="Add"/> lent. The file is closed when nobody else needs it.</summary>
    internal static void Release(SafeFileHandle handle) => handle.DangerousRelease();

    /// <summary>Forgets a key, because its object was deleted.</summary>
    internal void Forget(string key)
    {
        lock (_gate)
        {
            if (_byKey.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                Remove(node);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            while (_byUse.First is { } node)
            {
                Remove(node);
            }
        }
    }

    private static void Hold(SafeFileHandle handle)
    {
        bool held = false;
        handle.DangerousAddRef(ref held);
    }

    private void Remove(LinkedListNode<Entry> node)
    {
        _byUse.Remove(node);
        _byKey.Remove(node.Value.Key);
        node.Value.Handle.Dispose();
    }

    private readonly record struct Entry(string Key, SafeFileHandle Handle, long OpenedAt);
}
