namespace BackupIQ.Engine.Verification;

/// <summary>
/// Shares a depth-first walk among workers: each keeps a stack of its own, so that neighbours stay together, and gives some away when
/// another has nothing to do. The walk is over when all of them wait.
/// </summary>
internal sealed class GraphQueue<T>(int workers)
    where T : struct
{
    private readonly Stack<T> _shared = new();
    private readonly object _gate = new();
    private int _waiting;
    private bool _isOver;

    /// <summary>Whether somebody waits for work.</summary>
    public bool IsHungry => Volatile.Read(ref _waiting) > 0;

    /// <summary>Adds items; the last one is taken first.</summary>
    public void Give(IEnumerable<T> items)
    {
        lock (_gate)
        {
            foreach (T item in items)
            {
                _shared.Push(item);
            }

            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Takes an item; blocks while others may still give some; false when the walk is over.</summary>
    public bool Take(out T item)
    {
        lock (_gate)
        {
            Interlocked.Increment(ref _waiting);
            while (!_isOver && _shared.Count == 0)
            {
                if (_waiting == workers)
                {
                    End();
                    break;
                }

                Monitor.Wait(_gate);
            }

            item = default;
            if (_isOver || !_shared.TryPop(out item))
            {
                return false;
            }

            Interlocked.Decrement(ref _waiting);
            return true;
        }
    }

    /// <summary>Ends the walk early: everybody stops.</summary>
    public void End()
    {
        lock (_gate)
        {
            _isOver = true;
            Monitor.PulseAll(_gate);
        }
    }
}
