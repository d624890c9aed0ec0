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

    /// <summary>
    /// One worker's part of the walk, until it is over for all: takes an item, follows it and what it leads to, and gives away what others
    /// wait for. <paramref name="follow"/> tells what an item leads to, in order. Who fails must <see cref="End"/> the walk, or the others wait for ever.
    /// </summary>
    public void Walk(Func<T, CancellationToken, List<T>> follow, CancellationToken cancellationToken)
    {
        List<T> own = [];
        while (Take(out T item))
        {
            own.Add(item);
            while (own.Count > 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                T next = own[^1];
                own.RemoveAt(own.Count - 1);
                List<T> children = follow(next, cancellationToken);
                children.Reverse();
                own.AddRange(children);
                if (own.Count > 1 && IsHungry)
                {
                    // The oldest lead to most.
                    int given = own.Count / 2;
                    Give(own.GetRange(0, given));
                    own.RemoveRange(0, given);
                }
            }
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
